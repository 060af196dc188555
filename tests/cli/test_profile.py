"""``snnfer profile``."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from snnfer import create_model
from snnfer.cli import main as cli
from snnfer.events import EventStream
from snnfer.events.hdf5 import write_hdf5
from snnfer.models import list_models
from snnfer.training import save_model

CONTRACT = Path(__file__).parents[1] / "contract" / "test_models.py"


@pytest.fixture(autouse=True)
def only_profile(monkeypatch):
    monkeypatch.setattr(cli, "COMMAND_MODULES", ("profile",))


SMALL = ["--size", "16", "--steps", "8"]
NARROW = ["--set", "channels=4", "--set", "hidden=16"]


def make_stream(seed, duration_us=300_000, n=2000):
    generator = np.random.default_rng(seed)
    t = np.sort(generator.integers(0, duration_us, n))
    t[0], t[-1] = 0, duration_us - 1
    x, y = generator.integers(0, 32, (2, n))
    return EventStream.from_arrays(t, x, y, generator.integers(0, 2, n), 32, 32)


@pytest.fixture
def recordings(tmp_path):
    """A data set of three clips that differ in length and activity."""
    rows = ["subject,au,sensor,path,t_start_us,t_end_us"]
    for i in range(3):
        write_hdf5(tmp_path / f"{i}.h5", make_stream(i, duration_us=200_000 + 50_000 * i, n=1000 * (i + 1)))
        rows.append(f"s{i},12,davis,{i}.h5,0,{200_000 + 50_000 * i}")
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_table_and_json_agree_with_the_library(tmp_path, capsys):
    assert cli.main(["profile", "au_snn", *SMALL, "--json", str(tmp_path / "report.json")]) == 0
    out = capsys.readouterr().out
    values = json.loads((tmp_path / "report.json").read_text())
    model = create_model("au_snn", size=(16, 16))
    assert values["parameters"] == sum(p.numel() for p in model.parameters())
    assert values["dense_macs"] == 8 * (256 * 32 * 2 * 9 + 64 * 32 * 32 * 9 + 512 * 512 + 512 * 210)
    assert values["spikes"] > 0
    assert f"{values['acs']:,.0f}" in out
    assert "the model is untrained" in out
    assert "random event counts, 3.0% nonzero" in out
    assert "estimates, not measurements" in out
    energy = values["energy"][0]
    assert energy["event_driven_pj"] == pytest.approx(4.6 * values["macs"] + 0.9 * values["acs"])
    assert energy["note"] == "estimates, not measurements"


def test_the_same_seed_gives_the_same_report(tmp_path):
    reports = []
    for seed in ("1", "1", "2"):
        path = tmp_path / "report.json"
        assert cli.main(["profile", "au_snn", *SMALL, *NARROW, "--seed", seed, "--json", str(path)]) == 0
        reports.append(json.loads(path.read_text()))
    assert reports[0] == reports[1] != reports[2]


def test_a_model_without_neurons(capsys):
    assert cli.main(["profile", "au_cnn3d", *SMALL, "--in-channels", "3"]) == 0
    out = capsys.readouterr().out
    assert "G ACs" in out
    assert "spikes / neuron / step" not in out


@pytest.fixture(scope="module")
def small():
    return runpy.run_path(str(CONTRACT))["SMALL"]


@pytest.mark.parametrize("name", list_models())
def test_every_registered_model_has_an_input_of_its_own(name, small, tmp_path):
    if name in ("est_resnet34", "vit_b16", "poster_v2", "poster_var", "rgbd_fer"):
        pytest.importorskip("timm")
    settings = [f"{key}={json.dumps(value)}" for key, value in small[name].items()]
    steps = ["--steps", "8"] if name.startswith("au_") else []
    options = [part for setting in settings for part in ("--set", setting)]
    path = tmp_path / "report.json"
    assert cli.main(["profile", name, *options, *steps, "--json", str(path)]) == 0
    values = json.loads(path.read_text())
    assert values["parameters"] == sum(p.numel() for p in create_model(name, **small[name]).parameters())
    assert values["macs"] + values["acs"] > 0


@pytest.mark.parametrize("crop", ["none", "manifest"])
def test_a_trained_model_is_profiled_on_the_crop_of_its_training(crop, make_trained, tmp_path, monkeypatch):
    """All events lie in one corner: a box around another one leaves nothing to see."""
    monkeypatch.setenv("SNNFER_CACHE", str(tmp_path / "cache"))
    events = make_stream(0).events
    stream = EventStream.from_arrays(events["t"], events["x"], events["y"], events["p"], 64, 64)
    write_hdf5(tmp_path / "0.h5", stream)
    row = "anna,2,davis,0.h5,0,300000,40,40,16,16"
    (tmp_path / "manifest.csv").write_text(
        f"subject,au,sensor,path,t_start_us,t_end_us,box_x,box_y,box_w,box_h\n{row}\n"
    )
    save_model(tmp_path / "model", make_trained(training={"crop": crop}))
    report = tmp_path / "report.json"
    assert cli.main(["profile", str(tmp_path / "model"), "--data", str(tmp_path), "--json", str(report)]) == 0
    assert (json.loads(report.read_text())["acs"] > 0) == (crop == "none")


def test_all_scenarios_and_the_precision(capsys, tmp_path):
    path = tmp_path / "report.json"
    arguments = ["--scenario", "all", "--precision", "int8", "--json", str(path)]
    assert cli.main(["profile", "au_snn", *SMALL, *NARROW, *arguments]) == 0
    out = capsys.readouterr().out
    for part in ("45nm_int8", "loihi", "Davies", "Horowitz", "not published", "MiB int8", "traffic (int8)"):
        assert part in out
    assert len(json.loads(path.read_text())["energy"]) == 11


def test_break_even_picture(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    picture, report = tmp_path / "line.png", tmp_path / "report.json"
    arguments = ["--break-even", str(picture), "--against", "au_cnn3d", "--json", str(report)]
    assert cli.main(["profile", "au_snn", *SMALL, *NARROW, *arguments]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    out = capsys.readouterr().out
    assert "break-even (45nm_fp32, estimates, not measurements): au_snn costs less than au_cnn3d" in out
    line = json.loads(report.read_text())["break_even"]
    assert line["rate"] == pytest.approx((line["reference_pj"] - line["fixed_pj"]) / line["slope_pj"])


def test_a_recording_as_input(tmp_path, capsys):
    write_hdf5(tmp_path / "clip.h5", make_stream(0))
    assert cli.main(["profile", "au_snn", *SMALL, *NARROW, "--recording", str(tmp_path / "clip.h5")]) == 0
    out = capsys.readouterr().out
    assert "[8, 1, 2, 16, 16]" in out
    assert "random event counts" not in out


def test_clips_of_a_data_set_with_their_range(recordings, capsys, tmp_path, monkeypatch):
    pytest.importorskip("pandas")
    monkeypatch.setenv("SNNFER_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "report.json"
    arguments = ["--size", "16", *NARROW, "--data", str(recordings), "--json", str(path)]
    assert cli.main(["profile", "au_snn", *arguments]) == 0
    out = capsys.readouterr().out
    assert "[7 to 10, 1, 2, 16, 16] [T, N, C, H, W]; mean of 3 clips" in out
    values = json.loads(path.read_text())
    assert values["n_samples"] == len(values["samples"]) == 3
    macs = [sample["macs"] for sample in values["samples"]]
    assert values["macs"] == pytest.approx(sum(macs) / 3)
    assert len(set(macs)) == 3
    assert f"[{min(macs) / 1e9:.3g} to {max(macs) / 1e9:.3g}]" in out


def test_a_model_of_single_windows_reads_one_from_the_middle_of_a_clip(recordings, capsys, tmp_path, monkeypatch):
    pytest.importorskip("pandas")
    monkeypatch.setenv("SNNFER_CACHE", str(tmp_path / "cache"))
    arguments = ["--set", "width=4", "--size", "16", "--data", str(recordings), "--clips", "2"]
    assert cli.main(["profile", "evtransfer_lstm", *arguments]) == 0
    out = capsys.readouterr().out
    assert "[3, 1, 3, 16, 16] [T, N, C, H, W]; mean of 2 clips" in out
    assert "outside layers" in out  # the LSTM


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["au_snm"], "unknown model 'au_snm'"),
        (["au_snn", "--size", "2"], "size = (2, 2); expected at least 4 x 4 pixels"),
        (["au_snn", "--steps", "0"], "--steps 0; expected a number above 0"),
        (["au_snn", "--clips", "0"], "--clips 0; expected a number above 0"),
        (["au_snn", "--density", "2"], "--density 2.0; expected a share between 0 and 1"),
        (["au_snn", "--precision", "int3"], "precision 'int3'; expected one of float32, float16, int8"),
        (["au_snn", "--scenario", "7nm"], "unknown energy scenario '7nm'"),
        (["au_snn", "--against", "au_cnn3d"], "--against without --break-even"),
        (["au_snn", "--clips", "3"], "--clips without --data; fix: add --data DIR, or leave --clips out"),
        (["au_snn", "--set", "chanels=8"], "unknown argument 'chanels' of model 'au_snn'"),
        (
            ["au_snn", *SMALL, "--break-even", "x.png", "--scenario", "loihi2"],
            "no break-even under the scenario 'loihi2'",
        ),
        (["au_snn", *SMALL, "--measure", "mps"], "no energy counter for the device 'mps'"),
        (["au_cnn3d", "--size", "16", "--steps", "7"], "a clip of 7 time steps; expected at least 8"),
        (["au_snn", "--recording", "missing.h5"], "missing.h5"),
        (["au_snn", "--data", "missing"], "no manifest at 'missing"),
    ],
)
def test_bad_input_ends_in_one_sentence(arguments, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["profile", *arguments]) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--break-even", "x.txt"], "a picture named 'x.txt'; expected a name that ends in .png"),
        (["--break-even", "x.png", "--against", "au_cnn"], "unknown model 'au_cnn'"),
        (["--neurobench"], "the Python package 'neurobench' is not installed"),
    ],
)
def test_what_cannot_be_written_or_compared_is_refused_before_the_work(arguments, sentence, capsys, monkeypatch):
    from snnfer.cli import _profile_input

    monkeypatch.setattr(_profile_input, "load_profiled", lambda args: pytest.fail("the work has begun"))
    monkeypatch.setitem(sys.modules, "neurobench", None)
    assert cli.main(["profile", "au_snn", *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_a_recording_of_other_channels_or_too_short_is_one_sentence(tmp_path, capsys):
    path = tmp_path / "clip.h5"
    write_hdf5(path, make_stream(0, duration_us=20_000))
    for arguments, sentence in (
        (["--in-channels", "3"], "'au_snn' reads 3 channels and this data gives 2; fix: --in-channels 2"),
        ([], "the recording lasts 20.0 ms; expected at least one step of 33 ms"),
    ):
        assert cli.main(["profile", "au_snn", *SMALL, *arguments, "--recording", str(path)]) == 2
        assert sentence in capsys.readouterr().err


def test_measured_energy_is_printed_beside_the_estimates(tmp_path, capsys, monkeypatch):
    from snnfer.cli import profile
    from snnfer.profiling import measured

    reading = iter(range(100))
    meter = measured.Meter("RAPL package-0", lambda: (float(next(reading)),), (1e6,))
    monkeypatch.setattr(measured, "find_meter", lambda device, **options: meter)
    monkeypatch.setattr(profile, "MEASURED_S", 0.0)
    path = tmp_path / "report.json"
    assert cli.main(["profile", "au_snn", *SMALL, *NARROW, "--measure", "--json", str(path)]) == 0
    out = capsys.readouterr().out
    assert "measured: 1000 mJ per clip on the whole device (RAPL package-0" in out
    assert json.loads(path.read_text())["measured"]["joules"] == 1.0


def test_neurobench_stands_beside_ours(capsys):
    pytest.importorskip("neurobench")
    assert cli.main(["profile", "au_snn", *SMALL, *NARROW, "--neurobench"]) == 0
    assert "NeuroBench" in capsys.readouterr().out


def test_a_model_folder(tmp_path, capsys):
    pytest.importorskip("safetensors", reason="needs snnfer[train]")
    from snnfer.datasets import ClipInput
    from snnfer.training.checkpoint import TrainedModel, save_model

    torch.manual_seed(0)
    model = create_model("au_snn", n_classes=3, size=(16, 16), channels=4, hidden=8)
    trained = TrainedModel(model, ClipInput(size=(16, 16)), ("a", "b", "c"), (0.0, 0.0), (1.0, 1.0), {})
    save_model(tmp_path / "model", trained)
    assert cli.main(["profile", str(tmp_path / "model"), "--steps", "5"]) == 0
    out = capsys.readouterr().out
    assert "[5, 1, 2, 16, 16]" in out
    assert "untrained" not in out
    assert cli.main(["profile", str(tmp_path / "model"), "--size", "8"]) == 2
    assert "--size with a model folder; expected the model as it was trained" in capsys.readouterr().err
