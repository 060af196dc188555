"""The report of transfer runs: the page against metrics.json, published figures, gaps, labels and guards."""

import itertools
import json

import numpy as np
import pytest

pd = pytest.importorskip("pandas", reason="reports need pandas; it comes with snnfer[bench]")
pytest.importorskip("matplotlib", reason="reports need matplotlib; it comes with snnfer[plot]")

from snnfer.benchmark import write_report  # noqa: E402
from snnfer.benchmark._format import DASH  # noqa: E402
from snnfer.benchmark.reconstruction.summary import COLUMNS as SCORE_COLUMNS  # noqa: E402
from snnfer.benchmark.table import result_table  # noqa: E402
from snnfer.benchmark.transfer.summary import COLUMNS  # noqa: E402
from snnfer.cli.main import main  # noqa: E402
from snnfer.errors import ConfigError, DatasetError  # noqa: E402

CLASSES = ["AU1", "AU4", "AU12", "AU25"]
VARIANTS = ("t_t", "t_t0", "t0_t", "t0_t0")
TRAININGS = {"scratch": "trained from scratch", "transferred": "transferred", "fine_tuned": "transferred & fine-tuned"}
SYSTEMS = {"evtransfer": "without LSTM", "evtransfer_lstm": "with LSTM"}
METRICS = {"mse": ("MSE ↓", 4), "rmse": ("RMSE ↓", 4), "mae": ("MAE ↓", 4), "psnr": ("PSNR (dB) ↑", 2),
           "ssim": ("SSIM ↑", 4), "ncc": ("NCC ↑", 4)}  # fmt: skip
PUBLISHED = {
    "reconstruction": {"e-CK+ (Table 4)": {"t_t0": {"mse": 0.0010, "psnr": 30.0284, "ssim": 0.8826}}},
    "recognition": {
        "e-CK+ (Tables 6 and 9)": {
            "evtransfer": {"scratch": {"t_t": 72.5}, "fine_tuned": {"t_t": 91.9, "t0_t": 92.4}},
            "evtransfer_lstm": {"fine_tuned": {"t0_t": 93.6}},
        },
        "NEFER (Tables 7 and 10)": {"evtransfer": {"fine_tuned": {"t0_t": 72.0}}},
    },
    "comparison": {"e-CK+ (Table 8)": {"asynet_vgg13": 67.2, "est_resnet34": 70.9, "evtransfer": 92.4}},
}


def predictions(*, systems=tuple(SYSTEMS), variants=VARIANTS, trainings=tuple(TRAININGS), subjects=4, others=True):
    """Plausible predictions of evTransFER, one other system, a shuffled run and two controls."""
    rng = np.random.default_rng(0)
    names = [(s, v, t, "standard", 0.3 + 0.2 * i) for s, v, (i, t) in
             itertools.product(systems, variants, enumerate(trainings))]  # fmt: skip
    if others:
        names += [("est_resnet34", "est", "scratch", "standard", 0.4), ("my_system", "est", "scratch", "standard", 0.4),
                  ("evtransfer", variants[0], "fine_tuned", "label_permuted", 0.0),
                  ("majority", variants[0], "", "control", 0.0),
                  ("linear_probe", variants[0], "", "control", 0.2)]  # fmt: skip
    rows = []
    for (*name, ability), s, y in itertools.product(names, range(subjects), range(len(CLASSES))):
        windows = np.where(rng.random(8) < ability, y, rng.integers(0, len(CLASSES), 8))
        scores = (np.bincount(windows, minlength=len(CLASSES)) / 8).tolist()
        rows.append((*name, 0, f"s{s}", f"s{s}", f"s{s}-{CLASSES[y]}", y, scores, windows.tolist()))
    return pd.DataFrame(rows, columns=COLUMNS)


def reconstructions(variants=VARIANTS):
    rng = np.random.default_rng(1)
    rows = []
    for variant, s, window in itertools.product(variants, range(4), range(3)):
        mse = rng.uniform(0.001, 0.004)
        scores = (mse, mse**0.5, 0.7 * mse**0.5, -10 * np.log10(mse), rng.uniform(0.7, 0.9), rng.uniform(0.9, 0.99))
        rows.append(("pix2pix", variant, "sensor", "events", 0, f"s{s}", f"s{s}", f"s{s}-AU1", window, *scores))
    return pd.DataFrame(rows, columns=SCORE_COLUMNS)


def examples(columns=VARIANTS, n=2):
    rng = np.random.default_rng(2)
    arrays = {"n": np.array(n), "columns": np.array(columns)}
    for i, column in itertools.product(range(n), columns):
        arrays[f"label_{i}"] = np.array(f"s{i}-AU12\n0.43 s")
        arrays[f"events_{i}_{column}"] = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        for part in ("reconstruction", "truth"):
            arrays[f"{part}_{i}_{column}"] = rng.integers(0, 256, (32, 32), dtype=np.uint8)
    return arrays


def manifest_of(**changes):
    """A manifest as the runner writes it."""
    return {
        "kind": "transfer", "run_id": "evtransfer-0123456789ab", "title": "Transfer", "class_names": CLASSES,
        "config": {"name": "evtransfer", "data": {"window_us": 33_333}}, "published": PUBLISHED, "missing_jobs": [],
        "data": {"name": "SynthAU", "kind": "synthetic", "text": "Simulated faces."},
        "protocol": {"name": "leave-one-subject-out", "comparable": True, "text": "Nobody tested was seen before."},
        **changes,
    }  # fmt: skip


def store(folder, *, table=None, scores=None, pictures=None, **changes):
    """Write the stored files of a run; each of the three that is given."""
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps(manifest_of(**changes)))
    if table is not None:
        table.to_parquet(folder / "predictions.parquet")
    if scores is not None:
        scores.to_parquet(folder / "reconstructions.parquet")
    if pictures is not None:
        np.savez_compressed(folder / "examples.npz", **pictures)
    return folder


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A complete run with its report."""
    folder = tmp_path_factory.mktemp("runs") / "evtransfer-0123456789ab"
    store(folder, table=predictions(), scores=reconstructions(), pictures=examples())
    assert write_report(folder) == folder / "report.html"
    return folder


@pytest.fixture(scope="module")
def metrics(run_dir):
    return json.loads((run_dir / "metrics.json").read_text())


@pytest.fixture(scope="module")
def page(run_dir, parse_page):
    return parse_page(run_dir / "report.html")


def with_interval(score, factor=100, decimals=1):
    estimate, low, high = (f"{factor * score[name]:.{decimals}f}" for name in ("estimate", "low", "high"))
    return f"{estimate} [{low}, {high}]"


def network(metrics, system, variant, training, kind="standard"):
    key = (system, variant, training, kind)
    [found] = [n for n in metrics["networks"]
               if (n["system"], n["representation"], n["encoder_training"], n["variant"]) == key]  # fmt: skip
    return found


def test_our_figures_are_those_of_metrics_json(page, metrics):
    for variant, (name, (label, decimals)) in itertools.product(VARIANTS, METRICS.items()):
        [ours] = [n for n in metrics["reconstructions"]["networks"] if n["representation"] == variant]
        row = page.row("Reconstruction by TIE variant", label, "this run")
        assert row[variant] == with_interval(ours[name], 1, decimals)
    for system, text in SYSTEMS.items():
        for variant, (training, label) in itertools.product(VARIANTS, TRAININGS.items()):
            expected = with_interval(network(metrics, system, variant, training)["window_top1"])
            assert page.row(f"Encoder training {text}", label, "this run")[variant] == expected
            if training == "fine_tuned":
                row = page.row("evTransFER with and without LSTM", f"evTransFER {text}", "this run")
                assert row[variant] == expected


def test_published_figures_stand_below_ours_and_gaps_are_dashes(page):
    row = page.row("Reconstruction by TIE variant", "PSNR (dB) ↑", "published, e-CK+ (Table 4)")
    assert [row[variant] for variant in VARIANTS] == [DASH, "30.03", DASH, DASH]
    row = page.row("Encoder training without LSTM", "trained from scratch", "published, e-CK+ (Tables 6 and 9)")
    assert [row[variant] for variant in VARIANTS] == ["72.5", DASH, DASH, DASH]
    row = page.row("evTransFER with and without LSTM", "evTransFER with LSTM", "published, NEFER (Tables 7 and 10)")
    assert [row[variant] for variant in VARIANTS] == [DASH] * 4
    assert "The order of the published columns is inferred" in page.text


def test_the_comparison_of_systems_keeps_the_published_rows_and_adds_ours(page, metrics):
    header, *rows = page.tables["Comparison of systems"]
    assert [(row[0], row[3]) for row in rows] == [
        ("Asynet, CNN", "no"), ("EST", "no"), ("evTransFER", "no"), ("evTransFER", "yes"), ("my_system", "no"),
    ]  # fmt: skip
    asynet, est, ours, lstm, mine = (dict(zip(header, row, strict=True)) for row in rows)
    published = "top-1 (%), published, e-CK+ (Table 8)"
    assert (asynet["top-1 (%), this run"], asynet[published]) == (DASH, "67.2")
    found = network(metrics, "est_resnet34", "est", "scratch")["window_top1"]
    assert est["top-1 (%), this run"] == with_interval(found)
    assert (ours["representation"], ours["encoder training"]) == ("t0_t", "transferred & fine-tuned")
    assert (ours["time window (ms)"], lstm["time window (ms)"]) == ("33.3", "3 x 33.3")
    assert (lstm[published], mine[published], mine["architecture"]) == (DASH, DASH, DASH)


def test_tests_controls_clips_and_subjects_are_those_of_metrics_json(page, metrics):
    rows = page.tables["Paired tests"][1:]
    assert len(rows) == len(metrics["comparisons"]) == 2 * 3 * 5 + 5
    for row, test in zip(rows, metrics["comparisons"], strict=True):
        difference, low, high = (f"{100 * test[name]:+.1f}" for name in ("difference", "low", "high"))
        assert row[2] == (test["representations"][0] if len(test["representations"]) == 1 else "mean of 4")
        assert row[3] == f"{difference} [{low}, {high}]"
        assert row[5:8] == [f"{test[name]:.3f}" for name in ("p_value", "p_holm", "smallest_p_holm")]
    shuffled = network(metrics, "evtransfer", "t_t", "fine_tuned", "label_permuted")
    row = page.row("Controls", "evtransfer, transferred & fine-tuned, shuffled labels", "t_t")
    assert row["window top-1 (%) [95 % interval]"] == with_interval(shuffled["window_top1"])
    assert page.row("Controls", "chance", "any")["window top-1 (%) [95 % interval]"] == "25.0"
    assert {row[0] for row in page.tables["Controls"][1:]} >= {"majority class", "linear probe"}
    ours = network(metrics, "evtransfer_lstm", "t0_t", "transferred")
    row = page.row("Scores of windows and clips", "evtransfer_lstm", "t0_t", "transferred")
    for name, key in (("clip top-1", "clip_top1"), ("clip top-3", "clip_top3"), ("clip UAR", "clip_uar")):
        assert row[f"{name} (%) [95 % interval]"] == with_interval(ours[key])
    assert (row["windows"], row["clips"], row["subjects"], row["seeds"]) == ("128", "16", "4", "1")
    share = f"{100 * ours['per_subject']['s2']['window_top1']:.1f}"
    row = page.row("Window top-1 of each subject", "s2")
    assert row["evtransfer_lstm, t0_t, transferred (%)"] == share


def test_the_finding_says_what_four_subjects_cannot_decide(page, metrics):
    best = max(n["window_top1"]["estimate"] for n in metrics["networks"] if n["variant"] == "standard")
    text = page.text.replace("\u00a0", " ")
    assert f"names the right one of 4 Action Units in {100 * best:.1f} % of windows" in text
    [probe] = [n["window_top1"]["estimate"] for n in metrics["networks"] if n["system"] == "linear_probe"]
    assert f"A linear probe on coarse images of the events reaches {100 * probe:.1f} %." in text
    assert text.count("cannot be decided with 4 subjects") == 4  # two systems, in the finding and beside the tests
    assert "the smallest possible p is 0.250" in text
    assert "synthetic (simulated faces and cameras)" in text
    assert "ot comparable" not in text


def test_a_probe_that_wins_and_shuffled_labels_that_are_learnt_are_pointed_out(tmp_path, parse_page):
    table = predictions(systems=("evtransfer",), variants=("t0_t",), trainings=("scratch",), others=False)
    perfect = table.assign(window_predictions=[[y] for y in table["y_true"]])
    frames = [table, perfect.assign(system="linear_probe", variant="control", encoder_training="")]
    frames += [perfect.assign(variant="label_permuted")]
    frames += [table.assign(system="majority", variant="control", window_predictions=[[1, 1, 0]] * len(table))]
    folder = store(tmp_path / "run", table=pd.concat(frames))
    text = parse_page(write_report(folder)).text.replace("\u00a0", " ")
    assert "reaches 100.0 %, so here the networks add nothing to it" in text
    assert "look for test clips that leak into training" in text
    frames[-1]["window_predictions"] = [[y, y, 3 - y] for y in table["y_true"]]
    pd.concat(frames).to_parquet(folder / "predictions.parquet")
    text = parse_page(write_report(folder)).text.replace("\u00a0", " ")
    assert "naming the most frequent class would reach 66.7 %, which lies inside that interval" in text


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (("scratch", "transferred", "fine_tuned"), "holds: transferred is"),
        (("transferred", "scratch", "fine_tuned"), "does not hold: transferred is"),
    ],
)
def test_eight_subjects_can_decide_the_ordering(tmp_path, parse_page, order, expected):
    table = predictions(systems=("evtransfer",), variants=("t0_t",), trainings=order, subjects=8, others=False)
    y, right = table["y_true"], table["encoder_training"].map({name: 2 + 2 * i for i, name in enumerate(order)})
    table["window_predictions"] = [[a] * n + [(a + 1) % 4] * (8 - n) for a, n in zip(y, right, strict=True)]
    text = parse_page(write_report(store(tmp_path / "run", table=table))).text
    assert f"For evtransfer (without LSTM) the ordering scratch < transferred < fine-tuned {expected}" in text
    gain = 100 * (order.index("fine_tuned") - order.index("scratch")) * 2 / 8
    sentence = f"Transferred & fine-tuned is {gain:.1f} points above trained from scratch, better for 8 of 8 subjects"
    assert sentence in text.replace("\u00a0", " ")


def test_figures_and_sheets_are_files_and_on_the_page(run_dir, page):
    names = {path.stem for path in run_dir.glob("figures/*.png")}
    assert names == {"trainings", *(f"reconstructions_{i}" for i in range(1, 5))}
    assert page.pictures == {path.read_bytes() for path in run_dir.glob("figures/*.png")}
    assert not page.tags & {"script", "link", "iframe"}
    assert {link.removeprefix("#") for link in page.links if link.startswith("#")} <= page.ids


def test_a_rebuilt_report_is_the_same_to_the_last_bit(run_dir):
    before = {path: path.read_bytes() for path in [*run_dir.glob("figures/*"), *run_dir.glob("*.*")]}
    (run_dir / "report.html").unlink()
    write_report(run_dir)
    assert {path: path.read_bytes() for path in before} == before


def test_the_table_for_the_terminal_has_every_network(run_dir, metrics):
    text = result_table(run_dir)
    rows = [line.split() for line in text.splitlines()]
    ours = network(metrics, "evtransfer", "t0_t", "scratch")["window_top1"]
    [row] = [row for row in rows if row[:4] == ["evtransfer", "t0_t", "scratch", "standard"]]
    assert " ".join(row[4:7]) == with_interval(ours)
    assert sum(row[:2] == ["pix2pix", "t_t"] for row in rows) == 1
    assert "chance: top-1 25.0%" in text
    assert "ot comparable" not in text


def test_the_command_rebuilds_a_report_of_any_kind(tmp_path, capsys):
    folder = store(tmp_path / "run", scores=reconstructions(("t0_t",)))
    assert main(["benchmark", "report", str(folder)]) == 0
    assert (folder / "report.html").is_file()
    assert "pix2pix" in capsys.readouterr().out


def test_a_legacy_run_is_labelled_at_the_top_and_below_every_table(tmp_path, parse_page):
    protocol = {"name": "legacy sequence split", "comparable": False, "text": "Drawn at random."}
    table = predictions(systems=("evtransfer",), variants=("t0_t",))
    folder = store(tmp_path / "run", table=table, scores=reconstructions(("t0_t",)), protocol=protocol)
    page = parse_page(write_report(folder))
    top = page.text[: page.text.index("Faces that the generator")]
    assert "not comparable" in top
    assert "Not comparable with scores of people who were not seen in training." in top
    assert len(page.notes) == len(page.tables) == 9
    assert all("Not comparable" in note for note in page.notes.values())
    assert result_table(folder).endswith("Not comparable with scores of people who were not seen in training.")


def test_an_unfinished_run_has_dashes_and_says_what_is_missing(tmp_path, parse_page):
    scores = reconstructions(("t_t", "t0_t"))
    folder = store(tmp_path / "run", scores=scores, missing_jobs=["evtransfer-t_t-scratch-seed0-s1"])
    page = parse_page(write_report(folder))
    assert "1 job is missing" in page.text
    assert "evtransfer-t_t-scratch-seed0-s1" in page.text
    assert "No network of this run has been tested yet" in page.text
    assert page.tables["Encoder training with LSTM"][0] == ["encoder training", "figures", "t_t", "t0_t"]
    row = page.row("Encoder training with LSTM", "transferred & fine-tuned", "this run")
    assert (row["t_t"], row["t0_t"]) == (DASH, DASH)
    assert "cannot be tested" in page.text
    assert "pix2pix" in result_table(folder)


def test_classifiers_without_reconstructions_or_published_figures(tmp_path, parse_page):
    table = predictions(systems=("evtransfer_lstm",), variants=("t0_t",), trainings=("transferred",), others=False)
    page = parse_page(write_report(store(tmp_path / "run", table=table, published={}, config={"name": "x"})))
    assert page.tables["Reconstruction by TIE variant"][1] == ["MSE ↓", "this run", DASH]
    assert [row[1] for row in page.tables["Encoder training without LSTM"][1:]] == ["this run"] * 3
    assert len(page.tables["Comparison of systems"]) == 1
    assert "ublished" not in page.text
    assert "Paired tests" not in page.tables


def test_one_subject_gives_scores_without_intervals(tmp_path, parse_page):
    folder = store(tmp_path / "run", table=predictions(subjects=1, variants=("t0_t",)))
    page = parse_page(write_report(folder))
    assert "there are no intervals" in page.text
    assert "cannot be decided with 1 subject:" in page.text
    assert "[" not in page.row("Encoder training with LSTM", "transferred", "this run")["t0_t"]
    assert "[" not in page.tables["Paired tests"][1][3]


def test_names_are_escaped(tmp_path, parse_page):
    table = predictions(systems=("evtransfer",), variants=("t0_t",), trainings=("scratch",))
    table = table.assign(system=table["system"].replace("my_system", "<b>mine</b>"), subject="<i>" + table["subject"])
    pictures = examples(columns=("<u>t0_t",))
    folder = store(tmp_path / "run", table=table, pictures=pictures, title="<script>alert(1)</script>",
                   published={"recognition": {"<s>paper": {}}})  # fmt: skip
    text = write_report(folder).read_text()
    assert not any(tag in text for tag in ("<script>", "<b>mine", "<i>s", "<u>t0_t", "<s>paper"))
    page = parse_page(folder / "report.html")
    assert page.row("Comparison of systems", "<b>mine</b>")["architecture"] == DASH
    assert page.row("Window top-1 of each subject", "<i>s0")


@pytest.mark.parametrize(
    ("name", "content", "error", "match"),
    [
        ("predictions.parquet", None, DatasetError, "no fold is complete"),
        ("predictions.parquet", b"PAR1 no", DatasetError, "predictions.parquet' is not a readable Parquet file"),
        ("reconstructions.parquet", b"PAR1 no", DatasetError, "reconstructions.parquet' is not a readable"),
        ("examples.npz", b"PK damaged", DatasetError, "examples.npz' is damaged"),
        ("manifest.json", json.dumps(manifest_of(kind="other")).encode(), ConfigError, "kind 'other'"),
        ("manifest.json", json.dumps(manifest_of(class_names=["a"])).encode(), DatasetError, "class outside 0 to 0"),
    ],
)
def test_damaged_files_end_in_one_clear_sentence(tmp_path, name, content, error, match):
    folder = store(tmp_path / "run", table=predictions(systems=("evtransfer",), variants=("t_t",)))
    (folder / name).unlink(missing_ok=True)
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(error, match=match) as caught:
        write_report(folder)
    assert "\n" not in str(caught.value)
    assert not (folder / "report.html").exists()


def test_examples_of_another_kind_of_run_are_named(tmp_path):
    folder = store(tmp_path / "run", scores=reconstructions(), pictures={"event_frames": np.zeros(3)})
    with pytest.raises(DatasetError, match="the examples lack 'n'"):
        write_report(folder)
