"""``snnfer convert --method sigma-delta`` and ``snnfer simulate`` on the file that it writes."""

import json
from typing import Any

import h5py
import pytest
import torch

from snnfer import create_model, load_model
from snnfer.cli import main as cli
from snnfer.cli._export_input import load_clips, load_exported
from snnfer.converters.lava.sigma_delta_file import read_sigma_delta, read_sigma_delta_certificate
from snnfer.converters.loihi.sigma_delta_report import SigmaDeltaEncoder
from snnfer.converters.loihi.sigma_delta_twin import run_sigma_delta
from snnfer.datasets import ClipInput
from snnfer.training.checkpoint import TrainedModel, save_model


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A model folder as if trained on anna and ben."""
    return save_toy_model(tmp_path_factory.mktemp("source"), "evtransfer", hidden=8)


def save_toy_model(folder, name, **settings):
    torch.manual_seed(0)
    model = create_model(name, n_classes=3, size=(16, 16), width=2, **settings).eval()
    clip_input = ClipInput(window_us=30_000, n_steps=8, size=(16, 16), representation="tie")
    training = {"data": "toy", "train_subjects": ["anna", "ben"], "validation_subjects": [], "crop": "none"}
    moments = ((127.5,) * 3, (127.5,) * 3)
    save_model(folder, TrainedModel(model, clip_input, ("AU2", "AU12", "AU45"), *moments, training))
    return folder


@pytest.fixture(scope="module")
def converted(source, module_toy_manifest, tmp_path_factory):
    """The folder that the command wrote, and what it said."""
    out = tmp_path_factory.mktemp("converted") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SNNFER_CACHE", str(tmp_path_factory.mktemp("cache")))
        assert (
            run("convert", source, "--method", "sigma-delta", "--calibration", module_toy_manifest, "--out", out) == 0
        )
    return out


def run(*arguments):
    return cli.main([str(argument) for argument in arguments])


def test_the_folder_is_a_model_that_computes_nearly_what_the_float_one_does(converted, source, module_toy_manifest):
    snn, ann = load_model(converted), load_model(source)
    networks: Any = (ann.model, snn.model)
    clips = load_clips(load_exported(str(source)), str(module_toy_manifest))
    with torch.no_grad():
        wanted, found = (network.forward_steps(clips.x) for network in networks)
    assert torch.linalg.norm(found - wanted) < 0.1 * torch.linalg.norm(wanted)
    assert snn.class_names == ann.class_names
    recording = next(module_toy_manifest.glob("cleo*.h5"))
    assert run("predict", converted, recording, "--box", "0,0,32,32") == 0


def test_file_report_and_folder_hold_the_same(converted):
    graph, trained = read_sigma_delta(converted / "network.net"), load_model(converted)
    model: Any = trained.model
    for layer, own in zip(graph.layers, model.graph.layers, strict=True):
        assert (layer.weight == own.weight).all()
        assert (layer.bias == own.bias).all()
        assert {**vars(layer), "weight": 0, "bias": 0} == {**vars(own), "weight": 0, "bias": 0}
    report = json.loads((converted / "report.json").read_text())
    assert read_sigma_delta_certificate(converted / "network.net") == report == trained.training["conversion"]
    assert [layer["name"] for layer in report["layers"]] == [layer.name for layer in graph.layers]
    assert "cleo" in report["measured_on"]


def test_the_twin_of_the_file(converted, module_toy_manifest, tmp_path, capsys):
    path, report = converted / "network.net", tmp_path / "r.json"
    assert run("simulate", path, "--data", module_toy_manifest, "--json", report) == 0
    out, values = capsys.readouterr().out, json.loads(report.read_text())
    clips = load_clips(load_exported(str(converted)), str(module_toy_manifest))
    held = clips.x.clone()
    for sample, length in enumerate(clips.lengths.tolist()):
        held[length:, sample] = held[length - 1, sample]
    wanted = run_sigma_delta(read_sigma_delta(path), held, mode="free_running", record=True)
    assert [layer["messages"] for layer in values["layers"]] == [int(m.count_nonzero()) for m in wanted.messages]
    assert values["layers"][0]["neurons"] == 3 * 16 * 16
    assert values["layers"][1]["synaptic_operations"] > 0
    means = torch.stack([wanted.output[:n, i].mean(0) for i, n in enumerate(clips.lengths.tolist())])
    assert values["accuracy"] == pytest.approx(float((means.argmax(1) == clips.labels).double().mean()))
    certificate = read_sigma_delta_certificate(path)
    assert certificate is not None
    assert f"certificate of {certificate['n_evaluation']} images: float {certificate['ann_accuracy']:.1%}" in out
    assert "6 clips of cleo, 8 steps each" in out
    assert run("simulate", path, "--data", module_toy_manifest, "--clips", 2, "--steps", 3) == 0
    assert "2 clips of cleo, 3 steps each" in capsys.readouterr().out


@pytest.mark.usefixtures("lava")
def test_lava_and_the_twin_send_the_same_messages(converted, module_toy_manifest, tmp_path, capsys):
    command = ("simulate", converted / "network.net", "--data", module_toy_manifest, "--engine", "lava")
    assert run(*command, "--clips", 1, "--steps", 2, "--json", tmp_path / "r.json") == 0
    out, values = capsys.readouterr().out, json.loads((tmp_path / "r.json").read_text())
    assert "lava and the twin agree in every message of every layer" in out
    assert (values["mismatches"], values["frames"]) == (0, 2)
    assert all(layer["messages"] for layer in values["layers"])
    assert values["accuracy_lava"] == values["accuracy_twin"]


def test_bad_files_are_one_sentence(converted, module_toy_manifest, tmp_path, capsys):
    whole = (converted / "network.net").read_bytes()
    (tmp_path / "half.net").write_bytes(whole[: len(whole) // 2])
    with_other_names = tmp_path / "renamed.net"
    with_other_names.write_bytes(whole)
    file: Any
    with h5py.File(with_other_names, "r+") as file:
        own = json.loads(file["snnfer"][()])
        del file["snnfer"], own["metadata"]["class_names"]
        file["snnfer"] = json.dumps(own)
    for arguments, words in (
        ((tmp_path / "half.net", "--data", module_toy_manifest), "cannot be read as HDF5"),
        ((with_other_names, "--data", module_toy_manifest), "does not say how clips become its input"),
        ((converted / "network.net", "--data", module_toy_manifest, "--steps", 0), "--steps 0"),
        ((converted / "network.net", "--data", module_toy_manifest, "--clips", 0), "0 clips"),
    ):
        assert run("simulate", *arguments) == 2
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1


def test_the_encoder_alone_with_an_lstm_outside(module_toy_manifest, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SNNFER_CACHE", str(tmp_path / "cache"))
    save_toy_model(tmp_path / "lstm", "evtransfer_lstm", n_windows=2)
    command = ("convert", tmp_path / "lstm", "--method", "sigma-delta", "--calibration", module_toy_manifest)
    assert run(*command, "--out", tmp_path / "whole") == 2
    assert "LSTM" in capsys.readouterr().err
    assert run(*command, "--part", "encoder", "--out", tmp_path / "out") == 0
    assert "the classifier in floats on top: accuracy" in capsys.readouterr().out
    assert run("simulate", tmp_path / "out" / "network.net", "--data", module_toy_manifest, "--clips", 1) == 0
    assert "no accuracy, because the file ends in maps" in capsys.readouterr().out

    model: Any = load_model(tmp_path / "lstm").model
    clips = load_clips(load_exported(str(tmp_path / "lstm")), str(module_toy_manifest))
    images = clips.x[torch.arange(len(clips.x))[:, None] < clips.lengths]
    with torch.no_grad():
        own = model(images[None])
        graph = read_sigma_delta(tmp_path / "out" / "network.net")
        model.encoder = SigmaDeltaEncoder(graph, config=model.encoder.config)
        integer = model(images[None])
    certificate = read_sigma_delta_certificate(tmp_path / "out" / "network.net")
    assert certificate is not None
    assert certificate["agreement"] == pytest.approx(float((own.argmax(1) == integer.argmax(1)).double().mean()))
    assert certificate["part"] == "encoder"
    assert torch.linalg.norm(integer - own) < 0.1 * torch.linalg.norm(own)


def test_parts_that_do_not_exist(source, module_toy_manifest, tmp_path, make_trained, capsys):
    save_model(tmp_path / "au_snn", make_trained())
    for folder, method, words in ((source, "rate", "--part encoder with --method rate"),
                                  (tmp_path / "au_snn", "sigma-delta", "--part encoder of 'au_snn'")):  # fmt: skip
        command = ("convert", folder, "--method", method, "--calibration", module_toy_manifest, "--part", "encoder")
        assert run(*command, "--out", tmp_path / "out") == 2
        assert words in capsys.readouterr().err


def test_profile_says_what_counts_instead(converted, capsys):
    assert run("profile", converted) == 2
    assert "/network.net --data DIR" in capsys.readouterr().err


def test_pictures_are_refused(source, module_toy_manifest, tmp_path, capsys):
    command = ("convert", source, "--method", "sigma-delta", "--calibration", module_toy_manifest)
    assert run(*command, "--out", tmp_path / "out", "--plot", tmp_path / "curve.png") == 2
    assert "--plot with sigma-delta" in capsys.readouterr().err
