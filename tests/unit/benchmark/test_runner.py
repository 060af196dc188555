"""The benchmark from config to report on toy recordings, its resumption, and its guards."""

import json
import os
import signal
import subprocess
import sys
import time

import filelock
import numpy as np
import pandas as pd
import pytest
import yaml

from snnfer.benchmark import load_config, run
from snnfer.benchmark.jobs import list_jobs
from snnfer.cli.benchmark import parse_shard
from snnfer.datasets import ManifestDataset
from snnfer.errors import ConfigError, DatasetError, SnnferError

PARTS = ("manifest.json", "predictions.parquet", "metrics.json", "ops.json", "report.html", "examples.npz")


def scores(run_dir):
    """The predictions table in a fixed order, and its scores as one array."""
    table = pd.read_parquet(run_dir / "predictions.parquet")
    table = table.sort_values(["model", "modality", "variant", "seed", "clip"]).reset_index(drop=True)
    return table, np.stack(table["scores"].tolist())


def test_a_run_leaves_every_part_and_one_row_per_clip_and_network(config_file, tmp_path):
    run_dir = run(config_file, out=tmp_path / "runs")
    assert all((run_dir / part).is_file() for part in PARTS)
    table, values = scores(run_dir)
    manifest = json.loads((run_dir / "manifest.json").read_text())
    n_clips = manifest["n_clips"]
    counts = table.groupby(["model", "modality", "variant"]).size().to_dict()
    networks = {("au_snn", "events", "standard"), ("au_snn", "rgb", "standard"), ("au_snn", "events", "label_permuted")}
    controls = {(name, m, "control") for name in ("majority", "linear_probe") for m in ("events", "rgb")}
    assert counts == dict.fromkeys(networks | controls, n_clips)
    assert (table["fold"] == table["subject"]).all()
    assert np.isfinite(values).all()
    assert manifest["complete"]
    assert not list(run_dir.glob("jobs/*/checkpoint"))


def test_the_linear_probe_learns_the_toy_classes(config_file, tmp_path):
    table, values = scores(run(config_file, out=tmp_path / "runs", overrides=["train.epochs=1"]))
    probe = ((table["model"] == "linear_probe") & (table["modality"] == "events")).to_numpy()
    assert (values.argmax(1) == table["y_true"])[probe].mean() > 0.9


def test_a_second_run_trains_nothing_and_keeps_every_number(config_file, tmp_path):
    run_dir = run(config_file, out=tmp_path / "runs")
    stamps = {path: path.stat().st_mtime_ns for path in run_dir.glob("jobs/*/*.parquet")}
    before = scores(run_dir)[1]
    assert run(config_file, out=tmp_path / "runs") == run_dir
    assert {path: path.stat().st_mtime_ns for path in run_dir.glob("jobs/*/*.parquet")} == stamps
    assert np.array_equal(scores(run_dir)[1], before)


def test_several_processes_give_the_numbers_of_one(config_file, tmp_path):
    one = scores(run(config_file, out=tmp_path / "one"))[1]
    two = scores(run(config_file, out=tmp_path / "two", jobs=2))[1]
    assert np.array_equal(one, two)


def test_killed_in_the_middle_of_a_fold_it_ends_with_the_same_predictions(config_file, tmp_path):
    options = ["train.epochs=12", "modalities=[events]", "controls.label_permuted=[]"]
    whole = scores(run(config_file, out=tmp_path / "whole", overrides=options))[1]
    command = [sys.executable, "-m", "snnfer.cli.main", "benchmark", "run", str(config_file)]
    command += ["--out", str(tmp_path / "killed"), *(part for option in options for part in ("--set", option))]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
    kill_in_second_fold(process, tmp_path / "killed")
    run_dir = next((tmp_path / "killed").iterdir())
    assert list(run_dir.glob("jobs/*/checkpoint/last.safetensors"))
    assert not (run_dir / "report.html").exists()
    subprocess.run(command, check=True, capture_output=True)
    assert np.array_equal(scores(run_dir)[1], whole)


def kill_in_second_fold(process, out):
    """SIGKILL once the first fold is complete and the second has a checkpoint."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        complete = {path.parent for path in out.glob("*/jobs/*/predictions.parquet")}
        begun = {path.parents[1] for path in out.glob("*/jobs/*/checkpoint/last.safetensors")}
        if complete and begun - complete:  # a complete fold may not have removed its checkpoint yet
            process.send_signal(signal.SIGKILL)
            process.wait()
            return
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.005)
    pytest.fail("no checkpoint within two minutes")


def test_inner_subjects_select_the_epoch_without_the_test_subject(config_file, tmp_path):
    run_dir = run(config_file, out=tmp_path / "runs", overrides=["train.selection=inner_subjects"])
    for path in run_dir.glob("jobs/*/model/config.json"):
        training = json.loads(path.read_text())["training"]
        groups = [training[name] for name in ("train_subjects", "validation_subjects", "held_out_subjects")]
        assert [len(group) for group in groups] == [1, 1, 1]
        assert len({subject for group in groups for subject in group}) == 3


def test_changed_data_are_not_mixed_into_a_run(config_file, toy_manifest, tmp_path):
    run(config_file, out=tmp_path / "runs", overrides=["train.epochs=1"])
    text = (toy_manifest / "manifest.csv").read_text().splitlines()
    (toy_manifest / "manifest.csv").write_text("\n".join(text[:-1]) + "\n")
    with pytest.raises(ConfigError, match="begun with other data"):
        run(config_file, out=tmp_path / "runs", overrides=["train.epochs=1"])


def test_shards_divide_the_jobs_and_together_complete_the_run(config_file, tmp_path):
    for i in (1, 2):
        run_dir = run(config_file, out=tmp_path / "runs", overrides=["train.epochs=1"], shard=(i, 2))
        assert json.loads((run_dir / "manifest.json").read_text())["complete"] == (i == 2)


def test_two_shards_that_end_at_once_leave_a_complete_run(config_file, tmp_path, monkeypatch):
    """The first one has gathered what was complete when the second completes the rest: neither result is lost."""
    from snnfer.benchmark import runner
    from snnfer.benchmark.run_folder import one_report_at_a_time

    options = {"out": tmp_path / "runs", "overrides": ["train.epochs=1", "modalities=[events]", "controls={}"]}
    run(config_file, shard=(1, 2), **options)
    held, gather = [], runner._finish

    def gather_under_lock(run_dir, *arguments):
        with pytest.raises(filelock.Timeout):
            one_report_at_a_time(run_dir).acquire(timeout=0)
        held.append(run_dir)
        gather(run_dir, *arguments)

    monkeypatch.setattr(runner, "_finish", gather_under_lock)
    run_dir = run(config_file, shard=(2, 2), **options)
    assert held == [run_dir]
    assert json.loads((run_dir / "manifest.json").read_text())["complete"]


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "a/b", "-1/2", "1/2/3"])
def test_an_impossible_shard_is_refused(text):
    with pytest.raises(ConfigError, match=f"--shard {text}; expected I/N with I from 1 to N"):
        parse_shard(text)


def test_the_run_id_follows_the_effective_config(config_file):
    first = load_config(config_file)
    assert load_config(config_file, ["train.epochs=3"]).run_id == first.run_id
    assert load_config(config_file, ["train.epochs=4"]).run_id != first.run_id


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epohcs=3", "did you mean 'train.epochs'"),
        ("train.epochs=many", "train.epochs"),
        ("train.epochs=0", "a value above 0"),
        ("modalities=[sound]", "unknown modality 'sound'"),
        ("models=[{name: au_snnn}]", "use 'au_snn'"),
        ("controls.label_permuted=[au_snn/gray]", "label_permuted names 'au_snn/gray'"),
        ("protocol.folds=[nobody]", "unknown fold 'nobody'; expected some of anna, ben, cleo"),
        (
            "published=[{model: au_snnn, modality: events, top1: 51.2}]",
            "published names the model 'au_snnn'.*one of au_snn",
        ),
        ("models=[{name: au_snn}, {name: au_snn, args: {hidden: 8}}]", "models names 'au_snn/events' twice.*own label"),
        ("data.slicing=count", "slicing 'count' for the modality 'rgb'"),
        ("data.slicing=evenly", "data.slicing"),
        ("models=[{name: au_snn, label: a/b}]", "the label 'a/b' of model 'au_snn'"),
    ],
)
def test_a_wrong_setting_is_one_clear_sentence(config_file, tmp_path, override, message):
    with pytest.raises(SnnferError, match=message):
        run(config_file, out=tmp_path / "runs", overrides=[override])


def test_a_missing_box_column_says_what_to_do(config_file, tmp_path):
    with pytest.raises(DatasetError, match="no face box.*data.crop=face"):
        run(config_file, out=tmp_path / "runs", overrides=["data.crop=manifest"])


def test_jobs_cover_models_modalities_seeds_and_folds(config_file, toy_manifest):
    config = load_config(config_file, ["seeds=[0,1]"])
    jobs = list_jobs(config, ManifestDataset.read(toy_manifest))
    assert len({job.name for job in jobs}) == len(jobs) == 2 * 3 * 3  # seeds, folds, networks with the control


def test_one_model_stands_under_several_labels(config_file, tmp_path):
    """The steps of an ablation: one architecture, other arguments, each with its own rows, folders and costs."""
    small, plain = {"channels": 4, "hidden": 16}, {"channels": 4, "hidden": 8}
    models = [{"name": "au_snn", "label": "wide hidden", "args": small}, {"name": "au_snn", "args": plain}]
    values = yaml.safe_load(config_file.read_text()) | {"models": models, "modalities": ["events"]}
    values["controls"] = {"label_permuted": ["wide hidden/events"]}
    values["published"] = [{"model": "wide hidden", "modality": "events", "top1": 51.2, "source": "a paper"}]
    config_file.write_text(yaml.safe_dump(values))
    run_dir = run(config_file, out=tmp_path / "runs", overrides=["train.epochs=1"])
    table = pd.read_parquet(run_dir / "predictions.parquet")
    networks = table[table["variant"] != "control"].groupby(["model", "variant"]).size().index.tolist()
    assert networks == [("au_snn", "standard"), ("wide hidden", "label_permuted"), ("wide hidden", "standard")]
    costs = {entry["model"]: entry["parameters"] for entry in json.loads((run_dir / "ops.json").read_text())}
    assert costs["wide hidden"] > costs["au_snn"]
    assert {path.name.split("-")[0] for path in (run_dir / "jobs").iterdir()} == {"au_snn", "wide hidden"}
    assert "51.2" in (run_dir / "report.html").read_text()


def test_a_label_changes_the_run_id_and_none_does_not(config_file):
    model = {"name": "au_snn", "args": {"channels": 4, "hidden": 16}}
    ids = [load_config(config_file, [f"models=[{json.dumps(m)}]"]).run_id for m in (model, model | {"label": ""})]
    assert ids[0] == ids[1] == load_config(config_file).run_id
    plain, labelled = ([f"models=[{json.dumps(model | m)}]", "controls={}"] for m in ({}, {"label": "x"}))
    assert load_config(config_file, plain).run_id != load_config(config_file, labelled).run_id


@pytest.mark.parametrize("setting", ["data={slicing: uniform}", "data={slicing: count, slice_events: 200}"])
def test_clips_can_be_divided_into_slices(config_file, tmp_path, setting):
    values = yaml.safe_load(config_file.read_text())
    values["data"] |= yaml.safe_load(setting.partition("=")[2])
    config_file.write_text(yaml.safe_dump(values | {"modalities": ["events"], "controls": {}}))
    run_dir = run(config_file, out=tmp_path / "runs", overrides=["train.epochs=1", "data.n_steps=3"])
    with np.load(run_dir / "examples.npz") as stored:
        assert "steps_us" not in stored.files
        assert stored["event_frames"].shape == (3, 2, 16, 16)


@pytest.mark.parametrize("representation", ["gray_frames", "est"])
def test_the_example_shows_representations_of_other_channels_as_pictures(config_file, tmp_path, representation):
    values = yaml.safe_load(config_file.read_text())
    values["data"] |= {"representation": representation, "n_steps": 4}
    config_file.write_text(yaml.safe_dump(values | {"modalities": ["events", "rgbd"], "controls": {}}))
    run_dir = run(config_file, out=tmp_path / "runs", overrides=["train.epochs=1", "protocol.folds=[anna]"])
    with np.load(run_dir / "examples.npz") as stored:
        shown, rgb = stored["event_frames"], stored["rgb_frames"]
    assert (shown.shape, shown.dtype) == ((4, 16, 16, 3), np.uint8)
    assert len(np.unique(shown)) > 3
    assert (rgb.shape, rgb.dtype) == ((4, 3, 16, 16), np.uint8)
    assert (run_dir / "figures" / "event_frames.png").stat().st_size > 5000
