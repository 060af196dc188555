"""Transfer and reconstruction benchmarks on toy recordings, from a config to the tables of predictions."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from snnfer.benchmark import ReconstructionBenchmarkConfig, TransferConfig, load_config, run
from snnfer.benchmark.protocol import SplitConfig, check_subjects, clip_folds
from snnfer.benchmark.transfer.tasks import prediction_rows
from snnfer.datasets import ManifestDataset, crop_resize
from snnfer.errors import ConfigError, ProtocolError
from snnfer.events import read
from snnfer.models import create_model
from snnfer.training import load_model

CONFIGS = Path(__file__).parents[3] / "benchmarks" / "configs"
DATA = {"dataset": "manifest", "window_us": 30_000, "n_steps": 10, "size": [16, 16], "crop": "none"}
WINDOWS = {"within": "clip", "min_events": 10, "stride": 4, "pair_stride": 4}


def config_file(folder, root, **changes):
    values = {
        "kind": "transfer",
        "variants": ["t0_t0"],
        "encoder": {"width": 4},
        "classifier": {"hidden": 8},
        "encoder_training": ["scratch", "transferred", "fine_tuned"],
        "lstm": [False, True],
        "frames": "rgb",
        "data": {**DATA, "root": str(root)},
        "windows": WINDOWS,
        "protocol": {"name": "subject_folds", "n_folds": 3, "folds": ["anna"]},
        "reconstruction": {"epochs": 1, "batch_size": 8, "adversarial": False},
        "train": {"epochs": 1, "batch_size": 16, "loss": "cross_entropy", "schedule": "constant"},
        "n_examples": 2,
        **changes,
    }
    path = folder / "toy.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture(scope="module")
def transfer_run(tmp_path_factory, module_toy_manifest):
    folder = tmp_path_factory.mktemp("transfer")
    path = config_file(folder, module_toy_manifest)
    return run(path, out=folder / "runs"), path


class TestTransfer:
    def test_every_row_of_the_ablation_is_there(self, transfer_run):
        run_dir, _ = transfer_run
        table = pd.read_parquet(run_dir / "predictions.parquet")
        networks = table[table.variant == "standard"]
        trained = {(row.system, row.encoder_training) for row in networks.itertuples()}
        trainings = ("scratch", "transferred", "fine_tuned")
        assert trained == {(system, t) for system in ("evtransfer", "evtransfer_lstm") for t in trainings}
        assert set(table[table.variant != "standard"].system) == {"evtransfer", "majority", "linear_probe"}
        assert set(table.subject) == {"anna"}
        assert set(networks.representation) == {"t0_t0"}
        one = networks[(networks.system == "evtransfer") & (networks.encoder_training == "scratch")]
        assert len(one) == 6
        assert {len(windows) for windows in one.window_predictions} == {3}  # windows 0, 4 and 8 of 10
        assert one.scores.map(sum).round(4).eq(1).all()
        assert json.loads((run_dir / "manifest.json").read_text())["complete"]
        assert (run_dir / "report.html").stat().st_size > 1000

    def test_the_frozen_encoder_is_that_of_the_generator(self, transfer_run):
        run_dir, _ = transfer_run
        generator = load_model(run_dir / "jobs" / "reconstruction-t0_t0-seed0-anna" / "model").model.encoder
        jobs = {t: run_dir / "jobs" / f"evtransfer-t0_t0-{t}-seed0-anna" / "model" for t in ("transferred", "scratch")}
        encoders = {training: load_model(folder).model.encoder for training, folder in jobs.items()}
        for name, weight in generator.named_parameters():
            assert weight.equal(encoders["transferred"].get_parameter(name)), name
        assert not generator.bottleneck.weight.equal(encoders["scratch"].bottleneck.weight)
        assert load_model(jobs["transferred"] / "generator").model.config["name"] == "pix2pix"
        assert not (jobs["scratch"] / "generator").exists()

    def test_complete_work_is_not_done_again(self, transfer_run):
        run_dir, path = transfer_run
        folders = sorted((run_dir / "jobs").iterdir())
        before = {folder: (folder / "model" / "model.safetensors").stat().st_mtime_ns for folder in folders}
        table = pd.read_parquet(run_dir / "predictions.parquet")
        lost = run_dir / "jobs" / "evtransfer-t0_t0-fine_tuned-seed0-anna"
        (lost / "predictions.parquet").unlink()
        assert run(path, out=run_dir.parent) == run_dir
        after = {folder: (folder / "model" / "model.safetensors").stat().st_mtime_ns for folder in folders}
        assert [folder for folder in folders if before[folder] != after[folder]] == [lost]
        pd.testing.assert_frame_equal(pd.read_parquet(run_dir / "predictions.parquet"), table)

    def test_shards_together_are_the_whole(self, module_toy_manifest, tmp_path):
        changes = {"protocol": {"name": "subject_folds", "n_folds": 3, "folds": ["anna", "ben"]}, "lstm": [False],
                   "encoder_training": ["scratch"]}  # fmt: skip
        path = config_file(tmp_path, module_toy_manifest, **changes)
        half = run(path, out=tmp_path / "runs", shard=(1, 2))
        manifest = json.loads((half / "manifest.json").read_text())
        assert manifest["missing_jobs"] == [
            "evtransfer-t0_t0-scratch-seed0-ben",
            "evtransfer-t0_t0-scratch-label_permuted-seed0-ben",
        ]
        assert run(path, out=tmp_path / "runs", shard=(2, 2)) == half
        assert json.loads((half / "manifest.json").read_text())["complete"]

    def test_the_legacy_split_is_labelled(self, module_toy_manifest, tmp_path):
        changes = {"protocol": {"name": "legacy", "test_share": 0.3}, "encoder_training": ["scratch"], "lstm": [False],
                   "controls": {"label_permuted": False}}  # fmt: skip
        run_dir = run(config_file(tmp_path, module_toy_manifest, **changes), out=tmp_path / "runs")
        manifest = json.loads((run_dir / "manifest.json").read_text())
        assert manifest["protocol"]["name"] == "legacy sequence split"
        assert not manifest["protocol"]["comparable"]
        assert "not comparable" in (run_dir / "report.html").read_text()
        assert len(set(pd.read_parquet(run_dir / "predictions.parquet").subject)) > 1


def mean_frame_mse(root):
    """Error of the mean of all training frames at the end of window 4 of the first clip of cleo, by hand."""

    def shown(path):
        images = read(path).frames["rgb"].images[[0, 4, 8]]  # frame k began with window k and is on show at its end
        return crop_resize(images, None, (16, 16)).double() / 255

    train = [shown(path) for path in sorted(root.glob("*.h5")) if not path.name.startswith("cleo")]
    mean = torch.cat(train).mean(0)
    return float((shown(root / "cleo-au2-0.h5")[1] - mean).square().mean())


class TestReconstruction:
    def test_both_networks_at_two_resolutions(self, module_toy_manifest, tmp_path):
        values = {
            "kind": "reconstruction",
            "models": [
                {"name": "pix2pix", "args": {"width": 4}},
                {"name": "cvae", "args": {"widths": [2, 4], "hidden": 8, "latent": 4},
                 "representation": "polarity_image"},
            ],
            "resolutions": [{"label": "16"}, {"label": "24", "data": {"size": [32, 32]}}],
            "frames": "rgb",
            "data": {**DATA, "root": str(module_toy_manifest)},
            "windows": WINDOWS,
            "protocol": {"name": "loso", "folds": ["cleo"]},
            "train": {"epochs": 1, "batch_size": 8, "adversarial": False},
            "n_examples": 2,
        }  # fmt: skip
        path = tmp_path / "both.yaml"
        path.write_text(yaml.safe_dump(values))
        run_dir = run(path, out=tmp_path / "runs", jobs=1)
        table = pd.read_parquet(run_dir / "reconstructions.parquet")
        found = table.groupby(["model", "condition", "resolution"]).size()
        conditions = {"pix2pix": {"events", "mean_frame"}, "cvae": {"events", "posterior", "mean_frame"}}
        assert {key[:2] for key in found.index} == {(m, c) for m, of_m in conditions.items() for c in of_m}
        assert set(found) == {18}  # 6 clips of cleo, 3 windows each
        assert set(table.subject) == {"cleo"}
        assert (abs(table.rmse - table.mse**0.5) < 1e-5).all()
        control = (
            table[(table.condition == "mean_frame") & (table.resolution == "16")]
            .set_index(["clip", "window"])
            .sort_index()
        )
        assert control.mse.loc["cleo-AU2-cleo-au2-0-0", 4].iloc[0] == pytest.approx(mean_frame_mse(module_toy_manifest))
        assert (run_dir / "report.html").is_file()

    def test_an_empty_benchmark_is_refused(self):
        with pytest.raises(ConfigError, match="the benchmark is empty"):
            ReconstructionBenchmarkConfig("x", models=())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variants": ["t0"]}, "variants"),
        ({"lstm": [True, True]}, r"lstm = \[True, True\]; expected at least one value, each once"),
        ({"recipes": {"finetuned": {}}}, "unknown encoder training 'finetuned'.*fine_tuned"),
        ({"windows": {"stride": 0}}, "windows.stride = 0; expected 1 or more"),
        ({"systems": [{"name": "x", "model": "pix2pix", "representation": "tie"}]}, "unknown model 'pix2pix'"),
        ({"train": {"selection": "inner_subjects"}}, "expected last_epoch"),
        ({"kind": "transfers"}, "unknown kind of benchmark 'transfers'.*use 'transfer'"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_settings_that_do_not_fit_are_one_sentence(changes, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        load_config(config_file(tmp_path, tmp_path, **changes))


def test_the_kind_decides_the_config(tmp_path):
    assert isinstance(load_config(config_file(tmp_path, tmp_path)), TransferConfig)


class TestFolds:
    def test_no_subject_on_both_sides(self, toy_manifest):
        data = ManifestDataset.read(toy_manifest)
        for config in (SplitConfig(), SplitConfig("subject_folds", n_folds=2)):
            folds = clip_folds(config, data)
            assert sorted(i for fold in folds for i in fold.test) == list(range(18))
            for fold in folds:
                check_subjects(fold, data)
                assert len(fold.train) + len(fold.test) == 18

    def test_a_leak_is_refused(self, toy_manifest):
        data = ManifestDataset.read(toy_manifest)
        (legacy,) = clip_folds(SplitConfig("legacy"), data)
        with pytest.raises(ProtocolError, match="fold 'legacy' would train on its test subject"):
            check_subjects(legacy, data)

    def test_an_unknown_fold_is_named(self, toy_manifest):
        with pytest.raises(ConfigError, match="unknown fold 'zoe'; expected some of anna, ben, cleo"):
            clip_folds(SplitConfig(folds=("zoe",)), ManifestDataset.read(toy_manifest))


def test_a_clip_is_scored_by_the_mean_of_its_windows(toy_manifest):
    data = ManifestDataset.read(toy_manifest)
    samples = SimpleNamespace(data=data, samples=((0, 0), (0, 1), (3, 0)), clips=SimpleNamespace(labels=data.labels))
    scores = np.array([[0.6, 0.4, 0.0], [0.0, 0.9, 0.1], [0.2, 0.3, 0.5]])
    first, second = prediction_rows(samples, [0, 1, 2], scores, {"seed": 0})  # type: ignore[arg-type]
    assert first["scores"] == pytest.approx([0.3, 0.65, 0.05])
    assert (first["window_predictions"], first["y_true"], first["subject"]) == ([0, 1], 0, "anna")
    assert (second["window_predictions"], second["y_true"]) == ([2], 1)


class TestExtends:
    def test_groups_are_merged_and_lists_replaced(self, tmp_path):
        config_file(tmp_path, tmp_path, variants=["t_t", "t0_t"])
        path = tmp_path / "small.yaml"
        path.write_text("extends: toy.yaml\nvariants: [t0_t0]\ntrain: {epochs: 7}\n")
        small, toy = load_config(path), load_config(tmp_path / "toy.yaml")
        assert (small.name, small.variants, small.train.epochs) == ("small", ("t0_t0",), 7)
        assert small.train.batch_size == toy.train.batch_size
        assert small.reconstruction == toy.reconstruction

    def test_a_circle_is_refused(self, tmp_path):
        (tmp_path / "a.yaml").write_text("extends: b.yaml\n")
        (tmp_path / "b.yaml").write_text("extends: a.yaml\n")
        with pytest.raises(ConfigError, match="extends itself"):
            load_config(tmp_path / "a.yaml")

    def test_a_missing_base_is_named(self, tmp_path):
        (tmp_path / "a.yaml").write_text("extends: nowhere.yaml\n")
        with pytest.raises(ConfigError, match=r"no config file at '.*nowhere\.yaml'"):
            load_config(tmp_path / "a.yaml")


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_of_the_repository_fits(path):
    config = load_config(path)
    assert config.name == path.stem
    assert config.title != config.name
    if isinstance(config, TransferConfig):
        for system in config.systems:
            with torch.device("meta"):
                create_model(system.model, **{**system.args, "size": system.size or config.data.size})
