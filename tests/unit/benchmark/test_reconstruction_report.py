"""The report of reconstruction runs: the page against metrics.json, published columns, labels and guards."""

import itertools
import json

import numpy as np
import pytest

pd = pytest.importorskip("pandas", reason="reports need pandas; it comes with snnfer[bench]")
pytest.importorskip("matplotlib", reason="reports need matplotlib; it comes with snnfer[plot]")

from snnfer.benchmark import write_report  # noqa: E402
from snnfer.benchmark._format import DASH  # noqa: E402
from snnfer.benchmark.reconstruction.summary import COLUMNS  # noqa: E402
from snnfer.benchmark.table import result_table  # noqa: E402
from snnfer.errors import DatasetError  # noqa: E402

METRICS = {"mse": ("MSE ↓", 4), "rmse": ("RMSE ↓", 4), "mae": ("MAE ↓", 4), "psnr": ("PSNR (dB) ↑", 2),
           "ssim": ("SSIM ↑", 4), "ncc": ("NCC ↑", 4)}  # fmt: skip
CONDITIONS = {"events": "events only", "posterior": "encoder saw the frame"}
PUBLISHED = {"reconstruction": {"Table 6": {"DAVIS346": {"mse": 0.0034, "psnr": 25.31}, "EVK4": {"ssim": 0.8513}}}}


def reconstructions(*, resolutions=("DAVIS346", "EVK4"), conditions=tuple(CONDITIONS), subjects=3):
    rng = np.random.default_rng(0)
    rows = []
    for resolution, condition, s, window in itertools.product(resolutions, conditions, range(subjects), range(4)):
        mse = rng.uniform(0.001, 0.004)
        scores = (mse, mse**0.5, 0.7 * mse**0.5, -10 * np.log10(mse), rng.uniform(0.7, 0.9), rng.uniform(0.9, 0.99))
        rows.append(
            ("cvae", "polarity_image", resolution, condition, 0, f"s{s}", f"s{s}", f"s{s}-AU1", window, *scores)
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def store(folder, table, *, pictures=None, **changes):
    """Write the stored files of a run."""
    manifest = {
        "kind": "reconstruction", "run_id": "cvae-0123456789ab", "title": "Frames from events", "class_names": ["AU1"],
        "config": {"name": "cvae"}, "published": PUBLISHED,
        "data": {"name": "SynthAU", "kind": "synthetic", "text": "Simulated faces."},
        "protocol": {"name": "leave-one-subject-out", "comparable": True, "text": "Nobody tested was seen before."},
    }  # fmt: skip
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps(manifest | changes))
    if table is not None:
        table.to_parquet(folder / "reconstructions.parquet")
    if pictures is not None:
        np.savez_compressed(folder / "examples.npz", **pictures)
    return folder


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A run with its report; the second column of pictures lacks the second example."""
    rng = np.random.default_rng(1)
    pictures = {"n": np.array(2), "columns": np.array(["DAVIS346", "EVK4"])}
    for i, (column, size) in itertools.product(range(2), (("DAVIS346", (26, 34)), ("EVK4", (36, 64)))):
        pictures[f"label_{i}"] = np.array(f"s{i}-AU1\n0.20 s")
        for part in ("events", "reconstruction", "truth") if (i, column) != (1, "EVK4") else ():
            shape = (*size, 3) if part == "events" else size
            pictures[f"{part}_{i}_{column}"] = rng.integers(0, 256, shape, dtype=np.uint8)
    folder = store(tmp_path_factory.mktemp("runs") / "cvae-0123456789ab", reconstructions(), pictures=pictures)
    assert write_report(folder) == folder / "report.html"
    return folder


@pytest.fixture(scope="module")
def page(run_dir, parse_page):
    return parse_page(run_dir / "report.html")


def test_every_score_is_that_of_metrics_json_with_published_columns_beside(run_dir, page):
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert len(metrics["networks"]) == 4
    for network, (name, (label, decimals)) in itertools.product(metrics["networks"], METRICS.items()):
        column = f"cvae, polarity_image, {network['resolution']}, {CONDITIONS[network['condition']]}"
        estimate, low, high = (f"{network[name][key]:.{decimals}f}" for key in ("estimate", "low", "high"))
        cell = page.row("Scores of each network", label)[column].replace("\u00a0", " ")
        assert cell == f"{estimate} [{low}, {high}]"
        subject = page.row("Scores of each subject", "s1")[f"{column}: PSNR (dB) / SSIM"]
        mean = network["per_subject"]["s1"]
        assert subject == f"{mean['psnr']:.2f} / {mean['ssim']:.4f}"
    psnr, ssim = (page.row("Scores of each network", METRICS[name][0]) for name in ("psnr", "ssim"))
    assert (psnr["published, Table 6: DAVIS346"], psnr["published, Table 6: EVK4"]) == ("25.31", DASH)
    assert (ssim["published, Table 6: DAVIS346"], ssim["published, Table 6: EVK4"]) == (DASH, "0.8513")
    assert page.row("Scores of each network", "windows")["cvae, polarity_image, EVK4, events only"] == "12"


def test_the_finding_is_of_what_sees_events_only_and_the_other_condition_is_explained(run_dir, page):
    networks = json.loads((run_dir / "metrics.json").read_text())["networks"]
    best = max((n for n in networks if n["condition"] == "events"), key=lambda n: n["ssim"]["estimate"])
    text = (
        f"(cvae, polarity_image, {best['resolution']}, events only) reaches an SSIM of {best['ssim']['estimate']:.3f}"
    )
    assert text in page.text
    assert "not how well it reads events" in page.text


def test_sheets_may_differ_in_size_and_lack_an_example(run_dir, page):
    image = pytest.importorskip("PIL.Image")
    sizes = []
    for number in (1, 2):
        with image.open(run_dir / "figures" / f"reconstructions_{number}.png") as sheet:
            sizes.append(sheet.size)
    assert sizes[0][1] > sizes[1][1]  # two rows against one
    assert page.pictures == {path.read_bytes() for path in run_dir.glob("figures/*.png")}


def test_the_table_for_the_terminal(run_dir):
    rows = [line.split() for line in result_table(run_dir).splitlines()]
    assert [row[:4] for row in rows[2:]] == [
        ["cvae", "polarity_image", resolution, condition]
        for resolution in ("DAVIS346", "EVK4")
        for condition in ("events", "posterior")
    ]


def test_a_legacy_run_of_one_subject(tmp_path, parse_page):
    protocol = {"name": "legacy sequence split", "comparable": False, "text": "Drawn at random."}
    folder = store(
        tmp_path / "run", reconstructions(subjects=1, conditions=("events",)), protocol=protocol, published={}
    )
    page = parse_page(write_report(folder))
    assert len(page.notes) == len(page.tables) == 2
    assert all("Not comparable" in note for note in page.notes.values())
    assert "there are no intervals" in page.text
    assert "[" not in page.row("Scores of each network", "SSIM ↑")["cvae, polarity_image, EVK4, events only"]
    assert "ublished" not in page.text
    assert "saw the frame" not in page.text
    assert "pictures" not in page.ids


def test_perfect_images_are_told(tmp_path, parse_page):
    table = reconstructions()
    table.loc[:1, "psnr"] = np.inf
    page = parse_page(write_report(store(tmp_path / "run", table)))
    assert "2 perfect images have no finite PSNR" in page.text


def test_names_are_escaped(tmp_path):
    text = write_report(
        store(tmp_path / "run", reconstructions(resolutions=("<b>EVK4",)), title="a <i> & b")
    ).read_text()
    assert "<b>EVK4" not in text
    assert "a &lt;i&gt; &amp; b" in text


def test_a_run_without_its_table_says_so(tmp_path):
    with pytest.raises(DatasetError, match=r"there is no '.*reconstructions.parquet'.*no fold is complete"):
        write_report(store(tmp_path / "run", None))
