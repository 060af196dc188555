"""``snnfer train``, ``predict``, ``data verify`` and ``benchmark`` as a user types them."""

import csv
import json

import pytest

from snnfer.cli.main import main

SMALL = ["data.size=[16,16]", "data.n_steps=10", "data.crop=none", "train.epochs=2", "train.batch_size=4"]
SMALL += ["model.channels=4", "model.hidden=16"]
SETTINGS = [part for setting in SMALL for part in ("--set", setting)]


@pytest.fixture
def model_dir(toy_manifest, tmp_path, monkeypatch):
    """A model trained on the toy recordings."""
    monkeypatch.setenv("SNNFER_CACHE", str(tmp_path / "cache"))
    assert main(["train", str(toy_manifest), "--out", str(tmp_path / "model"), *SETTINGS]) == 0
    return tmp_path / "model"


def test_train_writes_a_model_folder_and_tests_who_is_held_out(toy_manifest, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SNNFER_CACHE", str(tmp_path / "cache"))
    command = ["train", str(toy_manifest), "--out", str(tmp_path / "m"), "--hold-out", "cleo", *SETTINGS]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "12 clips of 2 subjects" in out
    assert "held out cleo: top-1" in out
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["config.json", "model.safetensors"]
    training = json.loads((tmp_path / "m" / "config.json").read_text())["training"]
    assert training["train_subjects"] == ["anna", "ben"]
    assert training["held_out_subjects"] == ["cleo"]


def test_every_setting_of_a_recipe_can_be_set(toy_manifest, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SNNFER_CACHE", str(tmp_path / "cache"))
    recipe = ["optimizer=adamw", "weight_decay=1e-4", "schedule=onecycle", "gradient_clip=1.0", "sam_rho=0.05"]
    recipe += ["loss=cross_entropy", "class_weights=balanced", "label_smoothing=0.1", "precision=bf16-mixed"]
    recipe += ["color_jitter=0.1", "hue_jitter=0.1", "erasing=0.5", "erasing_scale=[0.02,0.1]"]
    options = [part for setting in recipe for part in ("--set", f"train.{setting}")]
    command = ["train", str(toy_manifest), "--out", str(tmp_path / "m"), "--modality", "rgb", *SETTINGS, *options]
    assert main(command) == 0
    assert "trained au_snn on 18 clips" in capsys.readouterr().out


def test_predict_prints_scores_per_window_and_writes_csv_and_picture(model_dir, toy_manifest, tmp_path, capsys):
    recording = str(toy_manifest / "anna-au2-0.h5")
    files = ["--csv", str(tmp_path / "s.csv"), "--plot", str(tmp_path / "s.png")]
    windows = ["--window-ms", "99", "--hop-ms", "66", "--box", "0,0,32,32"]
    assert main(["predict", str(model_dir), recording, *windows, *files]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if " - " in line]
    with (tmp_path / "s.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(lines) == len(rows) == 5  # windows begin at 0, 66, ... 264 ms in a recording of 300 ms
    assert [row["t_start_us"] for row in rows][:2] == ["0", "66000"]
    assert set(rows[0]) == {"t_start_us", "t_end_us", "AU2", "AU12", "AU45"}
    assert (tmp_path / "s.png").stat().st_size > 5_000


def test_predict_shows_where_the_network_looks(model_dir, toy_manifest, tmp_path, capsys):
    command = ["predict", str(model_dir), str(toy_manifest / "anna-au2-0.h5"), "--box", "0,0,32,32"]
    assert main([*command, "--window-ms", "99", "--hop-ms", "20", "--grad-cam", str(tmp_path / "g.png")]) == 0
    assert "Grad-CAM: " in (out := capsys.readouterr().out)
    assert out.strip().endswith("(6 windows)")  # at most six, whatever the hop
    assert (tmp_path / "g.png").stat().st_size > 20_000
    for option in ("--grad-cam", "--plot"):
        assert main([*command, option, str(tmp_path / "g.mp4")]) == 2
        assert "g.mp4'; expected a name that ends in .png, .pdf, .svg" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir() if path.suffix] == ["g.png"]


def test_predict_says_clearly_when_there_is_no_face(model_dir, toy_manifest, capsys):
    pytest.importorskip("onnxruntime")
    recording = str(toy_manifest / "anna-au2-0.h5")
    assert main(["predict", str(model_dir), recording]) == 2
    assert "no face" in capsys.readouterr().err.lower()
    assert main(["predict", str(model_dir), recording, "--no-face", "whole"]) == 0
    assert "scoring the whole sensor image" in capsys.readouterr().out


@pytest.mark.parametrize("modality", ["depth", "rgbd"])
def test_depth_is_trained_on_and_predicted_from(toy_manifest, tmp_path, monkeypatch, capsys, modality):
    monkeypatch.setenv("SNNFER_CACHE", str(tmp_path / "cache"))
    command = ["train", str(toy_manifest), "--out", str(tmp_path / "m"), "--modality", modality, *SETTINGS]
    assert main(command) == 0
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    assert config["input"]["modality"] == modality
    assert len(config["mean"]) == {"depth": 1, "rgbd": 4}[modality]
    assert 900 < config["mean"][-1] < 1000  # millimetres, of the training clips
    assert main(["predict", str(tmp_path / "m"), str(toy_manifest / "anna-au2-0.h5"), "--box", "0,0,32,32"]) == 0
    assert len([line for line in capsys.readouterr().out.splitlines() if " - " in line]) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 99}, "format version 99"),
        ({"format": "other"}, "does not describe a snnfer model"),
        ({"model": {"name": "au_snnn"}}, "cannot be built"),
        ({"model": {"name": "au_snn", "hidden": 99}}, "cannot be built"),
    ],
)
def test_a_model_folder_that_does_not_fit_is_one_clear_sentence(model_dir, toy_manifest, capsys, change, message):
    config = json.loads((model_dir / "config.json").read_text()) | change
    (model_dir / "config.json").write_text(json.dumps(config))
    assert main(["predict", str(model_dir), str(toy_manifest / "anna-au2-0.h5"), "--box", "0,0,32,32"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "config.json").unlink(), "no model in"),
        (lambda d: (d / "config.json").write_text("{"), "not valid JSON"),
        (lambda d: (d / "model.safetensors").unlink(), "no model.safetensors"),
        (lambda d: (d / "model.safetensors").write_bytes(b"\x00" * 100), "cannot be built"),
    ],
)
def test_a_damaged_model_folder_is_one_clear_sentence(model_dir, toy_manifest, capsys, damage, message):
    damage(model_dir)
    assert main(["predict", str(model_dir), str(toy_manifest / "anna-au2-0.h5"), "--box", "0,0,32,32"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--box", "1,2,3"], "four whole numbers"),
        (["--box", "0,0,0,5"], "width and height above 0"),
        (["--box", "0,0,32,32", "--hop-ms", "0"], "hop"),
    ],
)
def test_wrong_options_of_predict(model_dir, toy_manifest, capsys, arguments, message):
    assert main(["predict", str(model_dir), str(toy_manifest / "anna-au2-0.h5"), *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hold-out", "nobody"], "unknown subject 'nobody'"),
        (["--hold-out", "anna", "ben", "cleo"], "0 of 3 subjects are left"),
        (["--set", "train.epoch=1"], "did you mean 'train.epochs'"),
        (["--set", "train.hue_jitter=0.1"], "train.hue_jitter = 0.1 for the modality 'events'"),
        (["--set", "train.class_weights=balanced"], "set train.loss=cross_entropy"),
        (["--set", "data.crop=none", "--set", "train.kl=gaussian"], "au_snn, which gives nothing but"),
        (["--model", "au_snnn", "--set", "data.crop=none"], "use 'au_snn'"),
        (["--set", "data.crop=none", "--set", "model.chanels=4"], "unknown argument 'chanels'"),
        ([], "no face box"),
    ],
)
def test_wrong_options_of_train_leave_nothing_behind(toy_manifest, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.setenv("SNNFER_CACHE", str(tmp_path / "cache"))
    assert main(["train", str(toy_manifest), "--out", str(tmp_path / "m"), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "m").exists()


def test_data_verify_counts_what_is_there_and_names_an_empty_clip(toy_manifest, capsys):
    assert main(["data", "verify", str(toy_manifest)]) == 0
    assert "18 clips, 3 subjects, 32,400 events" in capsys.readouterr().out
    with (toy_manifest / "manifest.csv").open("a") as file:
        file.write("anna,2,davis346,anna-au2-0.h5,5000000,6000000\n")
    assert main(["data", "verify", str(toy_manifest)]) == 2
    assert "holds no events between 5000000 and 6000000 us" in capsys.readouterr().err


def test_benchmark_list_names_the_demo(capsys):
    assert main(["benchmark", "list"]) == 0
    assert "demo.yaml: Demo" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["benchmark", "run", "nowhere.yaml"], "no config file at 'nowhere.yaml'"),
        (["benchmark", "report", "nowhere"], "there is no folder 'nowhere'"),
        (["benchmark", "run", "nowhere.yaml", "--jobs", "x"], "invalid int value"),
    ],
)
def test_wrong_benchmark_commands(capsys, arguments, message):
    with pytest.raises(SystemExit) if "x" in arguments else _nothing() as stop:
        assert main(arguments) == 2
    assert stop is None or stop.value.code == 2
    assert message in capsys.readouterr().err


def _nothing():
    import contextlib

    return contextlib.nullcontext()


def test_predict_reads_damaged_and_bare_files_with_the_options_it_names(model_dir, tmp_path, capsys):
    rows = "\n".join(f"{0.0005 * i:.4f} {i % 32} {i % 32} {i % 2}" for i in range(600))
    (tmp_path / "bare.txt").write_text(rows + "\n")
    command = ["predict", str(model_dir), str(tmp_path / "bare.txt"), "--box", "0,0,32,32"]
    assert main([*command, "--width", "32", "--height", "32"]) == 2
    assert "--time-unit" in capsys.readouterr().err
    assert main([*command, "--width", "32", "--height", "32", "--time-unit", "s"]) == 0
    (tmp_path / "bare.txt").write_text("\n".join(reversed(rows.split("\n"))) + "\n")
    capsys.readouterr()
    assert main([*command, "--width", "32", "--height", "32", "--time-unit", "s"]) == 2
    assert "--sort on the command line" in capsys.readouterr().err
    assert main([*command, "--width", "32", "--height", "32", "--time-unit", "s", "--sort"]) == 0


def test_predict_looks_at_its_outputs_before_the_work(model_dir, toy_manifest, tmp_path, capsys):
    (tmp_path / "s.csv").mkdir()
    command = ["predict", str(model_dir), str(toy_manifest / "anna-au2-0.h5"), "--box", "0,0,32,32"]
    capsys.readouterr()
    for option in ("--csv", "--plot"):
        assert main([*command, option, str(tmp_path / "s.csv")]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert f"'{tmp_path / 's.csv'}' is a folder" in captured.err


def test_help_of_predict_says_from_when_times_count(capsys):
    with pytest.raises(SystemExit):
        main(["predict", "--help"])
    assert "Times count from the first event" in " ".join(capsys.readouterr().out.split())


def test_without_a_face_there_is_one_way_out(model_dir, toy_manifest, capsys):
    pytest.importorskip("onnxruntime")
    assert main(["predict", str(model_dir), str(toy_manifest / "anna-au2-0.h5")]) == 2
    error = capsys.readouterr().err
    assert error.count("fix:") == 1
    assert "--no-face whole" in error
