"""``snnfer train`` for evTransFER: first a generator, then a classifier with its encoder."""

import json
import subprocess
import sys

import pytest
import torch

from snnfer.cli.main import main
from snnfer.training import load_model


def settings(*changes):
    small = ["data.size=[32,32]", "data.n_steps=6", "data.crop=none", "train.epochs=1", *changes]
    return [part for setting in small for part in ("--set", setting)]


GENERATOR = settings("model.width=4", "train.discriminator_layers=3", "train.discriminator_width=4")


@pytest.fixture
def train(toy_manifest, tmp_path, monkeypatch):
    """Runs ``snnfer train`` on the toy recordings into a folder of this name."""
    monkeypatch.setenv("SNNFER_CACHE", str(tmp_path / "cache"))

    def run(name, *arguments):
        return main(["train", str(toy_manifest), "--out", str(tmp_path / name), *arguments])

    return run


def test_a_generator_then_a_classifier_with_its_encoder(train, tmp_path, capsys):
    assert train("generator", "--model", "pix2pix", "--hold-out", "cleo", *GENERATOR) == 0
    out = capsys.readouterr().out
    assert "trained pix2pix on 72 windows of 2 subjects" in out  # 2 subjects x 6 clips x 6 windows
    assert "held out cleo: PSNR " in out
    generator = load_model(tmp_path / "generator")
    assert (generator.input.representation, generator.input.window_us) == ("tie", 33_333)
    assert generator.training["train_subjects"] == ["anna", "ben"]

    frozen = ["--set", "train.encoder_learning_rate=0", "--set", "train.freeze_norm=true"]
    options = ["--encoder", str(tmp_path / "generator"), "--hold-out", "cleo", *frozen, *settings("model.hidden=8")]
    assert train("classifier", "--model", "evtransfer_lstm", *options) == 0
    out = capsys.readouterr().out
    assert "trained evtransfer_lstm on 48 windows of 2 subjects" in out  # 4 triples in 6 windows
    assert "of 24 windows" in out
    classifier, copy = load_model(tmp_path / "classifier"), load_model(tmp_path / "classifier" / "generator")
    for name, value in generator.model.encoder.state_dict().items():
        assert torch.equal(classifier.model.encoder.state_dict()[name], value), name
    for name, value in generator.model.state_dict().items():
        assert torch.equal(copy.model.state_dict()[name], value), name
    assert classifier.input == generator.input
    assert sorted(path.name for path in (tmp_path / "classifier").iterdir()) == [
        "config.json",
        "generator",
        "model.safetensors",
    ]


def test_the_autoencoder_learns_grey_frames(train, tmp_path):
    small = settings("model.widths=[4,8]", "model.hidden=8", "model.latent=4")
    assert train("cvae", "--model", "cvae", "--target", "gray", *small) == 0
    config = json.loads((tmp_path / "cvae" / "config.json").read_text())
    assert config["model"]["out_channels"] == 1
    assert config["input"]["representation"] == "polarity_image"


def test_what_does_not_fit_is_refused_in_one_line(train, tmp_path, capsys):
    def error(*arguments):
        assert train("x", *arguments) == 2
        text = capsys.readouterr().err
        assert text.count("\n") == 1
        return text

    assert train("generator", "--model", "pix2pix", *GENERATOR) == 0
    assert train("other", "--set", "train.epochs=1", *settings("model.channels=4", "model.hidden=8")) == 0
    capsys.readouterr()
    folder = ["--encoder", str(tmp_path / "generator")]
    assert "expected evtransfer or evtransfer_lstm" in error("--model", "au_snn", *folder)
    assert "no U-Net encoder" in error("--model", "evtransfer", "--encoder", str(tmp_path / "other"))
    assert "as in the generator" in error("--model", "evtransfer", *folder, *settings("data.window_us=20000"))
    assert "trained on the held-out subjects ben, cleo" in error(
        "--model", "evtransfer", *folder, "--hold-out", "cleo", "ben"
    )
    wrong = settings("model.width=8")
    assert "an encoder with" in error("--model", "evtransfer", *folder, *wrong)
    assert "unknown key 'train.loss'" in error("--model", "pix2pix", "--set", "train.loss=mse")


@pytest.mark.slow  # starts Python three times
@pytest.mark.parametrize("how", ["-m", "-c"])
def test_two_devices_train_from_the_command_line(train, toy_manifest, tmp_path, how):
    model = ["--model", "pix2pix", *GENERATOR]
    assert train("one", *model, "--set", "train.batch_size=8") == 0
    arguments = ["train", str(toy_manifest), "--out", str(tmp_path / "two"), *model]
    arguments += ["--set", "train.devices=2", "--set", "train.batch_size=4"]
    program = "snnfer.cli.main" if how == "-m" else "from snnfer.cli.main import main; raise SystemExit(main())"
    done = subprocess.run([sys.executable, how, program, *arguments], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == f"model: {tmp_path / 'two'}"
    assert "distributed" not in done.stderr
    one, two = (load_model(tmp_path / name).model.state_dict() for name in ("one", "two"))
    names = [name for name in one if name.endswith("weight")]
    # batch statistics differ between the processes; each of 14 steps of Adam moves a weight by at most its rate, 2e-4
    assert all((one[name] - two[name]).abs().max() < 14 * 4e-4 for name in names)
    assert not any(torch.equal(one[name], two[name]) for name in names if "conv" in name)
