"""``snnfer train --quantize loihi`` and ``--init``: what is trained, said and refused."""

import json

import pytest
import torch

from snnfer.cli.main import main
from snnfer.training import load_model

SMALL = ["data.size=[16,16]", "data.n_steps=6", "data.window_us=50000", "data.crop=none", "train.epochs=2"]
SMALL += ["train.batch_size=4", "data.representation=binary_frames", "model.channels=4", "model.hidden=16"]
SETTINGS = [part for setting in SMALL for part in ("--set", setting)]


@pytest.fixture
def float_dir(toy_manifest, tmp_path, monkeypatch):
    """A network trained on anna and ben."""
    monkeypatch.setenv("SNNFER_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "float"
    assert main(["train", str(toy_manifest), "--hold-out", "cleo", "--out", str(folder), *SETTINGS]) == 0
    return folder


def test_the_last_epoch_with_integers_and_their_accuracy(toy_manifest, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SNNFER_CACHE", str(tmp_path / "cache"))
    command = ["train", str(toy_manifest), "--hold-out", "cleo", "--out", str(tmp_path / "m"), *SETTINGS]
    assert main([*command, "--quantize", "loihi"]) == 0
    out = capsys.readouterr().out
    assert "held out cleo: top-1" in out
    assert "the same as integers: top-1" in out
    assert json.loads((tmp_path / "m" / "config.json").read_text())["training"]["quantize"] == "loihi"


def test_fine_tuning_starts_from_the_weights_input_and_architecture(float_dir, toy_manifest, tmp_path, capsys):
    command = ["train", str(toy_manifest), "--init", str(float_dir), "--hold-out", "cleo", "--quantize", "loihi"]
    options = ["--set", "train.epochs=1", "--set", "train.learning_rate=1e-9", "--set", "train.batch_size=4"]
    assert main([*command, "--out", str(tmp_path / "fine"), *options]) == 0
    assert "trained au_snn on 12 clips" in capsys.readouterr().out
    before, after = load_model(float_dir), load_model(tmp_path / "fine")
    assert after.input == before.input
    assert after.model.config == before.model.config
    for name, value in after.model.state_dict().items():
        torch.testing.assert_close(value, before.model.state_dict()[name], atol=1e-6, rtol=0)
    statistics = [name for name in after.model.state_dict() if "running" in name]
    assert all(torch.equal(after.model.state_dict()[n], before.model.state_dict()[n]) for n in statistics)


def test_without_quantisation_too(float_dir, toy_manifest, tmp_path):
    command = ["train", str(toy_manifest), "--init", str(float_dir), "--hold-out", "cleo"]
    assert main([*command, "--out", str(tmp_path / "more"), "--set", "train.epochs=1"]) == 0
    assert load_model(tmp_path / "more").training["train_subjects"] == ["anna", "ben"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "au_cnn3d"], "--model au_cnn3d with --init, a folder of au_snn"),
        (["--modality", "rgb"], "--modality rgb with --init, a folder of events"),
        (["--set", "model.hidden=8"], "hidden = 8 with --init; expected 16"),
        (["--set", "data.n_steps=5"], "n_steps = 5 with --init; expected 6"),
        (["--hold-out", "anna"], "the model of --init was trained on the held-out subjects anna"),
        (["--encoder", "elsewhere"], "leave --encoder out"),
    ],
)
def test_what_does_not_fit_the_network_to_start_from(float_dir, toy_manifest, tmp_path, capsys, arguments, message):
    out = tmp_path / "m"
    capsys.readouterr()
    assert main(["train", str(toy_manifest), "--init", str(float_dir), "--out", str(out), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--init", "nowhere"], "no model in 'nowhere'"),
        (["--quantize", "loihi", "--modality", "rgb"], "expected spikes or event counts"),
        (["--quantize", "loihi", "--set", "data.representation=tie"], "which a chip can take"),
        (["--quantize", "loihi", "--model", "au_cnn3d"], "convolution"),
        (["--quantize", "loihi", "--model", "pix2pix"], "unknown key 'train.quantize'"),
    ],
)
def test_what_no_chip_can_have(toy_manifest, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.setenv("SNNFER_CACHE", str(tmp_path / "cache"))
    sizes = ["--set", "data.size=[32,32]", "--set", "data.crop=none"]
    assert main(["train", str(toy_manifest), "--out", str(tmp_path / "m"), *sizes, *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "m").exists()
