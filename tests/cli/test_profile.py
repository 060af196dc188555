"""``snnfer profile``."""

import json

import numpy as np
import pytest
import torch

from snnfer import create_model
from snnfer.cli import main as cli
from snnfer.events import EventStream
from snnfer.events.hdf5 import write_hdf5


@pytest.fixture(autouse=True)
def only_profile(monkeypatch):
    monkeypatch.setattr(cli, "COMMAND_MODULES", ("profile",))


SMALL = ["--size", "16", "--steps", "8"]


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


def test_the_same_seed_gives_the_same_report(tmp_path):
    reports = []
    for seed in ("1", "1", "2"):
        path = tmp_path / "report.json"
        assert cli.main(["profile", "au_snn", *SMALL, "--seed", seed, "--json", str(path)]) == 0
        reports.append(json.loads(path.read_text()))
    assert reports[0] == reports[1] != reports[2]


def test_a_model_without_neurons(capsys):
    assert cli.main(["profile", "au_cnn3d", *SMALL, "--in-channels", "3"]) == 0
    out = capsys.readouterr().out
    assert "G ACs" in out
    assert "spikes / neuron / step" not in out


def test_a_recording_as_input(tmp_path, capsys):
    generator = np.random.default_rng(0)
    t = np.sort(generator.integers(0, 300_000, 2000))
    x, y = generator.integers(0, 32, (2, 2000))
    stream = EventStream.from_arrays(t, x, y, generator.integers(0, 2, 2000), 32, 32)
    write_hdf5(tmp_path / "clip.h5", stream)
    assert cli.main(["profile", "au_snn", *SMALL, "--recording", str(tmp_path / "clip.h5")]) == 0
    out = capsys.readouterr().out
    assert "[8, 1, 2, 16, 16]" in out
    assert "random event counts" not in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["au_snm"], "unknown model 'au_snm'"),
        (["au_snn", "--size", "2"], "size = (2, 2); expected at least 4 x 4 pixels"),
        (["au_snn", "--steps", "0"], "--steps 0; expected a number above 0"),
        (["au_snn", "--density", "2"], "--density 2.0; expected a share between 0 and 1"),
        (["au_cnn3d", "--size", "16", "--steps", "7"], "a clip of 7 time steps; expected at least 8"),
        (["au_snn", "--recording", "missing.h5"], "missing.h5"),
    ],
)
def test_bad_input_ends_in_one_sentence(arguments, sentence, capsys):
    assert cli.main(["profile", *arguments]) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err


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
