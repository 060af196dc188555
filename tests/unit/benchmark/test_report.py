"""The report of stored runs: numbers against direct recomputation, the page against its files, and its guards."""

import base64
import json
import re

import numpy as np
import pytest

pd = pytest.importorskip("pandas", reason="reports need pandas; it comes with snnfer[bench]")
pytest.importorskip("matplotlib", reason="reports need matplotlib; it comes with snnfer[plot]")

from snnfer.benchmark import write_report  # noqa: E402
from snnfer.benchmark.jobs import predictions_schema  # noqa: E402
from snnfer.benchmark.store import write_table  # noqa: E402
from snnfer.benchmark.summary import summarise  # noqa: E402
from snnfer.benchmark.table import result_table  # noqa: E402
from snnfer.datasets import PAPER_AUS  # noqa: E402
from snnfer.errors import ConfigError, DatasetError  # noqa: E402
from snnfer.metrics import paired_permutation_test, subject_bootstrap  # noqa: E402

CLASSES = [f"AU{code}" for code in PAPER_AUS]
SUBJECTS = [f"s{i:02d}" for i in range(1, 8)]
ABILITY = {("au_snn", "events"): 0.52, ("au_snn", "rgb"): 0.30, ("au_cnn3d", "events"): 0.45, ("au_cnn3d", "rgb"): 0.24}
N_STEPS = 76


def rows_of(model, modality, ability, *, variant="standard", seed=0, steps=True, subjects=SUBJECTS):
    """Plausible predictions: subjects and classes differ in difficulty, scores are graded, votes settle over time."""
    rng = np.random.default_rng([len(model), len(modality), len(variant), seed])
    rows = []
    for subject in subjects:
        skill = np.clip(ability + rng.normal(0, 0.08), 0.01, 0.95)
        for y in range(len(CLASSES)):
            scores = rng.normal(0, 0.1, len(CLASSES))
            if variant == "standard" or model == "linear_probe":
                scores[y] += 0.28 if rng.random() < skill * (1.3 if y % 3 else 0.4) else 0.05
            scores[(y + 1) % len(CLASSES)] += 0.08
            length = int(rng.integers(60, N_STEPS + 1))
            settled = np.arange(length) > rng.integers(10, 40)
            votes = np.where(settled, scores.argmax(), rng.integers(len(CLASSES), size=length)).tolist()
            rows.append(
                {"model": model, "modality": modality, "variant": variant, "seed": seed, "fold": subject,
                 "subject": subject, "clip": f"{subject}-{CLASSES[y]}", "y_true": y, "scores": scores.tolist(),
                 "prediction_over_time": votes if steps else None}
            )  # fmt: skip
    return rows


def all_rows():
    """Four networks, one with shuffled labels, and two controls per modality."""
    rows = []
    for (model, modality), ability in ABILITY.items():
        rows += rows_of(model, modality, ability, steps=model == "au_snn")
    rows += rows_of("au_snn", "events", 0.0, variant="label_permuted")
    for modality, ability in (("events", 0.35), ("rgb", 0.2)):
        rows += rows_of("linear_probe", modality, ability, variant="control", steps=False)
        majority = rows_of("majority", modality, 0, variant="control", steps=False)
        rows += [row | {"scores": np.eye(len(CLASSES))[0].tolist()} for row in majority]
    return rows


def few_rows(seeds=(0,)):
    """One network on both modalities; enough where the text matters."""
    return [row for s in seeds for m in ("events", "rgb") for row in rows_of("au_snn", m, ABILITY["au_snn", m], seed=s)]


def manifest_of(**changes):
    """A manifest as the runner writes it."""
    return {
        "run_id": "au_loso-0123456789ab",
        "name": "au_loso",
        "title": "Action Units, leave-one-subject-out: spiking against non-spiking, events against RGB",
        "notes": "",
        "command": "snnfer benchmark run benchmarks/configs/au_loso.yaml --jobs 2",
        "created_utc": "2025-06-01T12:00:00+00:00",
        "config": {"name": "au_loso", "data": {"dataset": "synthau", "window_us": 33_000, "size": [64, 64]}},
        "class_names": CLASSES,
        "subjects": SUBJECTS,
        "n_clips": 147,
        "protocol": {
            "name": "leave-one-subject-out",
            "held_out": SUBJECTS,
            "selection": "the network after 100 epochs, fixed beforehand",
            "comparable": True,
            "text": "Each subject is tested by networks that never saw that subject.",
        },
        "published": [
            {"model": "au_snn", "modality": "events", "top1": 51.23, "top3": 63.57, "source": "A paper, 2025"},
            {"model": "au_cnn3d", "modality": "rgb", "top1": 17.06, "top3": None, "source": "A paper, 2025"},
        ],
        "data": {
            "name": "SynthAU", "kind": "synthetic", "fingerprint": "f" * 16, "n_subjects": 7, "n_clips": 147,
            "text": "SynthAU: procedurally generated faces seen by a simulated event camera.",
        },
        "split_hash": "5b1d0c1f9a2e4c77",
        "versions": {"python": "3.11.2", "snnfer": "0.1.0", "torch": "2.9.0"},
        "hardware": {"processor": "A processor", "cores": 2, "gpus": [], "system": "Linux"},
        "git": {"revision": "0" * 40, "dirty": True},
        "seeds": [0],
        "complete": True,
        "missing_jobs": [],
    } | changes  # fmt: skip


def operations():
    """Operation counts of the four networks; the RGB ones were not counted in full."""
    snn = [("conv1", "Conv2d", 4.7e7, 0, None, None), ("plif1", "PLIF", None, None, 61_000, 0.0062),
           ("fc1", "Linear", 0, 2.1e7, None, None), ("plif2", "PLIF", None, None, 1_900, 0.049)]  # fmt: skip
    keys = ("name", "kind", "macs", "acs", "spikes", "firing_rate")
    layers = [dict(zip(keys, layer, strict=True)) for layer in snn]
    costs = {("au_snn", "events"): (4_312_470, 2.39e8, 6.31e7), ("au_snn", "rgb"): (4_312_758, 5.4e8, 8.8e7),
             ("au_cnn3d", "events"): (13_060_437, 2.29e10, 0),
             ("au_cnn3d", "rgb"): (13_062_165, None, None)}  # fmt: skip
    return [
        {"model": model, "modality": modality, "parameters": parameters, "macs": macs, "acs": acs,
         "neuron_updates": None, "n_steps": N_STEPS, "layers": layers if model == "au_snn" else [], "firing_rate": None}
        for (model, modality), (parameters, macs, acs) in costs.items()
    ]  # fmt: skip


def example():
    """One clip: a moving blob as events and RGB, and spikes of two layers."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64]
    blobs = np.stack([np.exp(-((x - 32 - 14 * np.sin(t / 9)) ** 2 + (y - 34) ** 2) / 90) for t in range(N_STEPS + 1)])
    change = np.diff(blobs, axis=0)
    events = rng.poisson(np.stack([np.clip(-change, 0, None), np.clip(change, 0, None)], axis=1) * 22 + 0.01)
    rgb = (60 + 150 * blobs[1:, None] * np.array([1.0, 0.8, 0.7])[:, None, None]).astype(np.uint8)
    rasters = {f"raster_plif{i}": rng.random((N_STEPS, 100)) < rate for i, rate in ((1, 0.03), (2, 0.08))}
    return {"event_frames": events.astype(np.float32), "rgb_frames": rgb, "event_clip": np.array("s01-AU2"),
            "steps_us": np.array(33_000), **rasters}  # fmt: skip


def store_run(folder, *, rows=None, manifest=None, with_extras=True):
    """Write the stored files of a run, none of the computed ones."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps(manifest or manifest_of()))
    write_table(folder / "predictions.parquet", rows or few_rows(), predictions_schema())
    if with_extras:
        (folder / "ops.json").write_text(json.dumps(operations()))
        np.savez_compressed(folder / "examples.npz", **example())
    return folder


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A stored run with its report."""
    folder = store_run(tmp_path_factory.mktemp("runs") / "au_loso-0123456789ab", rows=all_rows())
    assert write_report(folder) == folder / "report.html"
    return folder


@pytest.fixture(scope="module")
def metrics(run_dir):
    """Its ``metrics.json``."""
    return json.loads((run_dir / "metrics.json").read_text())


@pytest.fixture(scope="module")
def page(run_dir, parse_page):
    """Its page, parsed."""
    return parse_page(run_dir / "report.html")


def network(metrics, model, modality, variant="standard"):
    [found] = [
        n for n in metrics["networks"] if (n["model"], n["modality"], n["variant"]) == (model, modality, variant)
    ]
    return found


def test_scores_equal_those_computed_directly_from_the_rows(metrics):
    sk = pytest.importorskip("sklearn.metrics")
    for (model, modality), ability in ABILITY.items():
        rows = rows_of(model, modality, ability, steps=model == "au_snn")
        scores = np.array([row["scores"] for row in rows], dtype=np.float32)
        y, predicted = np.array([row["y_true"] for row in rows]), scores.argmax(1)
        found = network(metrics, model, modality)
        assert found["top1"]["estimate"] == pytest.approx(sk.accuracy_score(y, predicted), abs=1e-12)
        assert found["top3"]["estimate"] == pytest.approx(sk.top_k_accuracy_score(y, scores, k=3), abs=1e-12)
        assert found["uf1"]["estimate"] == pytest.approx(sk.f1_score(y, predicted, average="macro"), abs=1e-12)
        assert found["uar"]["estimate"] == pytest.approx(sk.balanced_accuracy_score(y, predicted), abs=1e-12)
        assert found["confusion"] == sk.confusion_matrix(y, predicted).tolist()
        hits = (predicted == y).reshape(7, 21).mean(1)
        assert found["subject_top1"]["mean"] == pytest.approx(hits.mean())
        assert found["subject_top1"]["sd"] == pytest.approx(hits.std(ddof=1))
        interval = subject_bootstrap(predicted == y, np.repeat(SUBJECTS, 21))
        assert (found["top1"]["low"], found["top1"]["high"]) == (interval.low, interval.high)
    assert metrics["chance"] == {"top1": 1 / 21, "top3": 3 / 21}
    assert network(metrics, "majority", "rgb", "control")["top1"]["estimate"] == pytest.approx(1 / 21)


def test_accuracy_over_time_keeps_the_last_prediction_of_ended_clips(metrics):
    rows = rows_of("au_snn", "events", ABILITY["au_snn", "events"])
    curves = [(row["prediction_over_time"], row["y_true"]) for row in rows]
    n_steps = max(len(votes) for votes, _ in curves)
    expected = [np.mean([votes[min(t, len(votes) - 1)] == y for votes, y in curves]) for t in range(n_steps)]
    assert network(metrics, "au_snn", "events")["top1_over_time"] == pytest.approx(expected)
    assert network(metrics, "au_cnn3d", "events")["top1_over_time"] is None


def test_comparisons_share_model_or_modality_and_are_corrected_together(metrics):
    pairs = {(t["a"]["model"], t["a"]["modality"], t["b"]["model"], t["b"]["modality"]) for t in metrics["comparisons"]}
    assert pairs == {
        ("au_cnn3d", "events", "au_cnn3d", "rgb"),
        ("au_snn", "events", "au_snn", "rgb"),
        ("au_cnn3d", "events", "au_snn", "events"),
        ("au_cnn3d", "rgb", "au_snn", "rgb"),
    }
    hits = {}
    for modality in ("events", "rgb"):
        rows = rows_of("au_snn", modality, ABILITY["au_snn", modality])
        hits[modality] = [np.argmax(np.float32(row["scores"])) == row["y_true"] for row in rows]
    expected = paired_permutation_test(np.array(hits["events"]), np.array(hits["rgb"]), np.repeat(SUBJECTS, 21))
    [test] = [t for t in metrics["comparisons"] if t["a"]["model"] == t["b"]["model"] == "au_snn"]
    assert test["p_value"] == expected.p_value
    assert test["difference"] == pytest.approx(expected.difference)
    assert test["p_holm"] >= test["p_value"]
    assert test["smallest_p_holm"] == 4 * 2 / 2**7
    assert not any(test["significant"] for test in metrics["comparisons"])  # 0.0625 is the best that 7 subjects allow


def test_several_seeds_are_pooled_and_listed(tmp_path, parse_page):
    folder = store_run(tmp_path / "run", rows=few_rows(seeds=(0, 1, 2)), with_extras=False)
    page = parse_page(write_report(folder))
    found = network(json.loads((folder / "metrics.json").read_text()), "au_snn", "events")
    assert found["seeds"] == [0, 1, 2]
    assert found["n_clips"] == 147
    per_seed = [entry["top1"] for entry in found["per_seed"]]
    assert found["top1"]["estimate"] == pytest.approx(np.mean(per_seed))
    row = page.row("Top-1 of each seed", "au_snn, events")
    assert row["seed 1"] == f"{100 * per_seed[1]:.1f}"
    assert row["SD (points)"] == f"{100 * np.std(per_seed, ddof=1):.1f}"


def test_the_numbers_on_the_page_are_those_of_metrics_json(page, metrics):
    for model, modality in ABILITY:
        found, row = network(metrics, model, modality), page.row("Scores and cost of each network", model, modality)
        top1 = found["top1"]
        assert row["top-1 (%) [95 % interval]"] == (
            f"{100 * top1['estimate']:.1f} [{100 * top1['low']:.1f}, {100 * top1['high']:.1f}]"
        )
        for name, key in (("top-3 (%)", "top3"), ("UF1 (%)", "uf1"), ("UAR (%)", "uar")):
            assert row[name] == f"{100 * found[key]['estimate']:.1f}"
        recall = page.row("Recall of each class", "AU12")
        assert recall[f"{model}, {modality} (%)"] == f"{100 * found['recall'][CLASSES.index('AU12')]:.1f}"
    for test in metrics["comparisons"]:
        names = [f"{test[side]['model']}, {test[side]['modality']}" for side in "ab"]
        row = page.row("Paired tests", *names)
        difference, low, high = (100 * test[name] for name in ("difference", "low", "high"))
        assert row["a - b, top-1 (points) [95 % interval]"] == f"{difference:+.1f} [{low:+.1f}, {high:+.1f}]"
        assert (row["p"], row["p, Holm"]) == (f"{test['p_value']:.3f}", f"{test['p_holm']:.3f}")
    assert page.row("Controls", "chance")["top-1 (%) [95 % interval]"] == "4.8"
    assert len(page.tables["Controls"]) == 1 + 1 + 3 + 1


def test_costs_and_published_figures_stand_beside_ours(page):
    snn = page.row("Scores and cost of each network", "au_snn", "events")
    assert (snn["parameters"], snn["MACs per clip"], snn["ACs per clip"]) == ("4.31 M", "239 M", "63.1 M")
    assert snn["published top-1 / top-3 (%)"] == "51.2 / 63.6"
    cnn = page.row("Scores and cost of each network", "au_cnn3d", "rgb")
    assert (cnn["MACs per clip"], cnn["published top-1 / top-3 (%)"]) == ("n/a", "17.1 / n/a")
    assert "Published figures: A paper, 2025." in page.text
    assert page.row("Layers of au_snn, events", "plif2")["spikes per neuron and step"] == "0.0490"


def test_a_rebuilt_report_is_the_same_to_the_last_bit(run_dir):
    before = {path: path.read_bytes() for path in [*run_dir.glob("figures/*"), *run_dir.glob("*.*")]}
    for name in ("metrics.json", "report.html"):
        (run_dir / name).unlink()
    write_report(run_dir)
    assert {path: path.read_bytes() for path in before} == before


def test_row_order_in_the_file_changes_nothing(run_dir, metrics):
    table = pd.read_parquet(run_dir / "predictions.parquet").sample(frac=1, random_state=0)
    found = summarise(table, CLASSES)
    assert all(found[name] == metrics[name] for name in found if name != "networks")
    assert sorted(found["networks"], key=str) == sorted(metrics["networks"], key=str)


def test_networks_stand_in_the_order_of_the_config(page):
    """The stored costs are in the order of the config: au_snn before au_cnn3d, which no alphabet would give."""
    names = [tuple(row[:2]) for row in page.tables["Scores and cost of each network"][1:]]
    assert names == [(entry["model"], entry["modality"]) for entry in operations()]


def test_bars_of_operations_stand_in_the_order_of_the_config_from_top_to_bottom(monkeypatch):
    from snnfer.benchmark import _figures

    figures = []
    monkeypatch.setattr(_figures, "drawn", lambda figure, *rest: figures.append(figure))
    _figures._operations(operations())
    for axes in figures[0].axes:
        heights = [axes.transData.transform((1, tick))[1] for tick in axes.get_yticks()]
        assert heights == sorted(heights, reverse=True)
        names = [label.get_text() for label in axes.get_yticklabels()]
        assert names == [_figures.network_name(entry) for entry in operations()]


def test_metrics_are_strict_json(run_dir):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    json.loads((run_dir / "metrics.json").read_text(), parse_constant=refuse)


def test_the_page_needs_nothing_from_outside(run_dir, page):
    assert not page.tags & {"script", "link", "iframe", "object", "embed"}
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)
    assert {link.removeprefix("#") for link in page.links if link.startswith("#")} <= page.ids
    text = (run_dir / "report.html").read_text()
    assert not re.search(r"url\(|@import|https?://", text)


def test_every_figure_is_a_file_and_on_the_page(run_dir, page):
    files = {path.read_bytes() for path in run_dir.glob("figures/*.png")}
    shown = {base64.b64decode(image["src"].partition(",")[2]) for image in page.images}
    assert files == shown
    assert all(image["alt"] for image in page.images)
    names = {path.stem for path in run_dir.glob("figures/*.png")}
    assert names == {
        "subjects", "accuracy_over_time", "recall", "operations", "event_frames", "spikes",
        *(f"confusion_{model}_{modality}" for model, modality in ABILITY),
    }  # fmt: skip


def test_the_finding_says_what_is_not_significant_and_that_data_are_synthetic(page, metrics):
    best = network(metrics, "au_snn", "events")["top1"]["estimate"]
    assert f"in {100 * best:.1f} % of clips" in page.text.replace("\u00a0", " ")
    assert "None of the 4 paired differences between networks is significant" in page.text
    assert "cannot fall below 0.062" in page.text
    assert "synthetic (simulated faces and cameras)" in page.text
    assert "incomplete" not in page.text
    assert "Not comparable" not in page.text


def test_significant_differences_are_named_with_enough_subjects(tmp_path, parse_page):
    many = [f"s{i:02d}" for i in range(12)]
    rows = rows_of("au_snn", "events", 0.7, subjects=many) + rows_of("au_snn", "rgb", 0.1, subjects=many)
    data = manifest_of()["data"] | {"kind": "recorded", "name": "Our recordings"}
    folder = store_run(tmp_path / "run", rows=rows, manifest=manifest_of(data=data, published=[]), with_extras=False)
    page = parse_page(write_report(folder))
    assert "Significant after Holm's correction: au_snn, events above au_snn, rgb" in page.text
    assert "synthetic" not in page.text
    assert "published" not in page.text


def test_shuffled_labels_above_chance_and_a_probe_that_wins_are_pointed_out(tmp_path, page, parse_page):
    assert "not above chance (4.8 %), as it should" in page.text.replace("\u00a0", " ")
    rows = few_rows() + [row | {"variant": "label_permuted"} for row in few_rows()]
    rows += [row | {"model": "linear_probe", "variant": "control"} for row in few_rows()]
    text = parse_page(write_report(store_run(tmp_path / "run", rows=rows, with_extras=False))).text
    assert "look for test clips that leak into training" in text
    assert "so here the network adds nothing to it" in text


def test_a_network_at_chance_is_called_so(tmp_path, parse_page):
    rows = rows_of("au_snn", "events", 0.0, variant="label_permuted")
    rows = [row | {"variant": "standard"} for row in rows]
    text = parse_page(write_report(store_run(tmp_path / "run", rows=rows, with_extras=False))).text
    assert "not evidence that the network has learnt anything" in text


def test_a_run_without_extras_lacks_those_sections(tmp_path, parse_page):
    page = parse_page(write_report(store_run(tmp_path / "run", with_extras=False)))
    assert not page.ids & {"cost", "example"}
    assert page.row("Scores and cost of each network", "au_snn", "rgb")["parameters"] == "n/a"


def test_an_incomplete_or_legacy_run_says_so_at_the_top(tmp_path, parse_page):
    protocol = manifest_of()["protocol"] | {"comparable": False, "name": "legacy"}
    manifest = manifest_of(
        missing_jobs=["au_snn-rgb-seed0-s07"], complete=False, protocol=protocol, notes="A short run."
    )
    page = parse_page(write_report(store_run(tmp_path / "run", manifest=manifest, with_extras=False)))
    before_contents = page.text[: page.text.index("Scores and cost")]
    assert "This run is incomplete. 1 job is missing" in before_contents
    assert "au_snn-rgb-seed0-s07" in before_contents
    assert "Not comparable" in before_contents
    assert "A short run." in before_contents
    assert all("Not comparable" in note for note in page.notes.values())
    assert all("Not comparable" in image["alt"] for image in page.images)
    assert result_table(tmp_path / "run").endswith(
        "Not comparable with scores of people who were not seen in training."
    )
    assert "never seen" not in before_contents


def test_controls_alone_and_a_single_subject_still_give_a_report(tmp_path, parse_page):
    controls = [row for row in all_rows() if row["variant"] == "control"]
    page = parse_page(write_report(store_run(tmp_path / "controls", rows=controls, with_extras=False)))
    assert "No network of this run has been tested yet" in page.text
    one = parse_page(write_report(store_run(tmp_path / "one", rows=rows_of("au_snn", "events", 0.5, subjects=["s01"]))))
    assert "there are no intervals" in one.text
    assert "[" not in one.row("Scores and cost of each network", "au_snn", "events")["top-1 (%) [95 % interval]"]


def test_text_of_the_manifest_is_escaped(tmp_path):
    manifest = manifest_of(title="<script>alert(1)</script>", command="a && b <c>")
    text = write_report(store_run(tmp_path / "run", manifest=manifest, with_extras=False)).read_text()
    assert "<script>" not in text
    assert "a &amp;&amp; b &lt;c&gt;" in text


def damage(name, content=None, **changes):
    """A function that spoils one stored file of a run."""

    def spoil(folder):
        path = folder / name
        if content is not None:
            path.write_bytes(content)
        elif not changes:
            path.unlink()
        else:
            table = pd.read_parquet(path).assign(**changes)
            table.to_parquet(path)

    return spoil


def drop_column(folder):
    path = folder / "predictions.parquet"
    pd.read_parquet(path).drop(columns="scores").to_parquet(path)


def repeat_rows(folder):
    path = folder / "predictions.parquet"
    table = pd.read_parquet(path)
    pd.concat([table, table.head(1)]).to_parquet(path)


def diverge(folder):
    path = folder / "predictions.parquet"
    table = pd.read_parquet(path)
    table.at[0, "scores"] = np.full(21, np.nan, dtype=np.float32)
    table.to_parquet(path)


@pytest.mark.parametrize(
    ("spoil", "error", "match"),
    [
        (damage("manifest.json"), ConfigError, "holds no manifest.json"),
        (damage("manifest.json", b"{"), ConfigError, "not readable JSON"),
        (damage("manifest.json", b"[]"), ConfigError, "lacks 'run_id'"),
        (
            damage("manifest.json", json.dumps(manifest_of(data={"name": "x"})).encode()),
            ConfigError,
            "lacks 'data.kind'",
        ),
        (damage("manifest.json", json.dumps(manifest_of(class_names=["a", "b"])).encode()), DatasetError, "0 to 1"),
        (damage("predictions.parquet"), DatasetError, "no fold is complete"),
        (damage("predictions.parquet", b"PAR1 no"), DatasetError, "not a readable Parquet file"),
        (damage("predictions.parquet", b""), DatasetError, "not a readable Parquet file"),
        (damage("predictions.parquet", y_true=99), DatasetError, "class outside 0 to 20"),
        (damage("predictions.parquet", scores=[[0.0]] * len(few_rows())), DatasetError, "21 scores"),
        (damage("predictions.parquet", subject=None), DatasetError, "empty cells"),
        (drop_column, DatasetError, "lacks the column 'scores'"),
        (repeat_rows, DatasetError, "two rows for au_snn, events, standard, 0, s01"),
        (diverge, DatasetError, "NaN or infinite"),
        (damage("ops.json", b"oh"), ConfigError, "ops.json.* is not readable JSON"),
        (damage("ops.json", b'{"a": 1}'), ConfigError, "ops.json' is damaged"),
        (damage("examples.npz", b"PK damaged"), DatasetError, "examples.npz' is damaged"),
    ],
)
def test_damaged_files_end_in_one_clear_sentence(tmp_path, spoil, error, match):
    folder = store_run(tmp_path / "run")
    spoil(folder)
    with pytest.raises(error, match=match) as caught:
        write_report(folder)
    assert "\n" not in str(caught.value)
    assert not (folder / "report.html").exists()


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match="there is no folder"):
        write_report(tmp_path / "nothing")


def test_summarise_refuses_an_empty_table():
    with pytest.raises(DatasetError, match="holds no rows"):
        summarise(pd.DataFrame(all_rows()).head(0), CLASSES)
