"""``snnfer export lava``: from a model folder to a file and its certificate."""

import json

import pytest
import torch

import snnfer
from snnfer.cli import _export_input
from snnfer.cli import main as cli
from snnfer.cli._export_input import load_clips, load_exported
from snnfer.converters.lava.netx import read_certificate, read_netx
from snnfer.converters.loihi.twin import run_twin
from snnfer.training.checkpoint import save_model


@pytest.fixture(autouse=True)
def only_export(monkeypatch):
    monkeypatch.setattr(cli, "COMMAND_MODULES", ("export", "simulate"))


@pytest.fixture(scope="module")
def model(tmp_path_factory, make_trained):
    folder = tmp_path_factory.mktemp("trained") / "model"
    save_model(folder, make_trained())
    return str(folder)


def run(*arguments):
    return cli.main(["export", "lava", *(str(argument) for argument in arguments)])


def test_file_and_certificate(model, module_toy_manifest, tmp_path, capsys):
    """The certificate in the file, beside it and on the screen agree with the network run here."""
    assert run(model, "--out", tmp_path / "net.net", "--data", module_toy_manifest) == 0
    out = capsys.readouterr().out
    certificate = json.loads((tmp_path / "net.json").read_text())
    graph = read_netx(tmp_path / "net.net")
    assert certificate.items() >= {**read_certificate(tmp_path / "net.net"), **graph.metadata}.items()
    assert certificate["model"]["name"] == "au_snn"
    assert (certificate["model_folder"], certificate["data"]) == (model, str(module_toy_manifest))
    assert (certificate["calibration_subjects"], certificate["test_subjects"]) == (["anna", "ben"], ["cleo"])
    assert (certificate["calibration_clips"], len(certificate["test_clips"])) == (12, 6)
    assert certificate["versions"] == {"snnfer": snnfer.__version__, "torch": torch.__version__}
    assert graph.metadata["class_names"] == ["AU2", "AU12", "AU45"]
    assert graph.metadata["training"]["train_subjects"] == ["anna", "ben"]
    exported = load_exported(model)
    clips = load_clips(exported, str(module_toy_manifest))
    scores = run_twin(graph, clips.x).scores(clips.lengths)
    right = {
        "integer": float((scores.argmax(1) == clips.labels).double().mean()),
        "float": float((exported.model(clips.x, lengths=clips.lengths).argmax(1) == clips.labels).double().mean()),
    }
    assert certificate["accuracy_integer"] == right["integer"]
    assert certificate["accuracy_float"] == right["float"]
    assert certificate["simulator_mismatches"] is None
    assert [layer["exact"] for layer in certificate["layers"]] == [False, True, False, True, False, False]
    assert "ranges from 12 clips of anna, ben; certified on 6 clips of cleo" in out
    assert f"integer {right['integer']:.1%}".replace("%", " %") in out


@pytest.mark.usefixtures("lava")
def test_certificate_of_lava(model, module_toy_manifest, tmp_path, capsys):
    arguments = ("--data", module_toy_manifest, "--clips", 1, "--calibration-clips", 1, "--lava")
    assert run(model, "--out", tmp_path / "net.net", *arguments) == 0
    out = capsys.readouterr().out
    assert "(0 mismatching spikes)" in out
    assert "certified on 1 clip of cleo" in out
    certificate = read_certificate(tmp_path / "net.net")
    assert certificate["simulator_mismatches"] == 0
    assert certificate["accuracy_simulator"] == certificate["accuracy_integer"]


def test_soft_reset_is_refused_or_approximate(model, module_toy_manifest, tmp_path, monkeypatch, capsys):
    def load(*arguments):
        exported = load_exported(*arguments)
        exported.model.layers.fc1.neuron.reset = "soft"
        return exported

    monkeypatch.setattr(_export_input, "load_exported", load)
    arguments = ("--out", tmp_path / "net.net", "--data", module_toy_manifest, "--clips", 2)
    assert run(model, *arguments) == 2
    error = capsys.readouterr().err
    assert "soft reset" in error
    assert "--allow-approximate" in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
    assert run(model, *arguments, "--allow-approximate") == 0
    assert "layers.fc1" in capsys.readouterr().out
    rows = {layer["name"]: layer["notes"] for layer in read_certificate(tmp_path / "net.net")["layers"]}
    assert [name for name, notes in rows.items() if notes] == ["layers.fc1.linear"]
    assert rows["layers.fc1.linear"] == ["soft reset became hard"]


def test_layer_of_zeros_is_refused(make_trained, module_toy_manifest, tmp_path, capsys):
    trained = make_trained()
    with torch.no_grad():
        trained.model.layers.fc2.linear.weight.zero_()
    save_model(tmp_path / "model", trained)
    assert run(tmp_path / "model", "--out", tmp_path / "net.net", "--data", module_toy_manifest) == 2
    error = capsys.readouterr().err
    assert "all weights of layer 'layers.fc2.linear' are zero" in error
    assert error.count("\n") == 1


def test_bad_input_is_one_sentence(model, module_toy_manifest, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SNNFER_CACHE", str(tmp_path / "cache"))
    data = ("--data", module_toy_manifest)
    for arguments, words in (
        (("au_snn", "--out", tmp_path / "net.net", *data), "the name of a model, without trained weights"),
        ((tmp_path / "none", "--out", tmp_path / "net.net", *data), "no model in"),
        ((model, "--out", tmp_path, *data), "is a folder"),
        ((model, "--out", tmp_path / "net.json", *data), "file and certificate would both be"),
        ((model, "--out", tmp_path / "net.net", *data, "--lava"), "run 'snnfer simulate --setup-lava'"),
        ((model, "--out", tmp_path / "net.net", *data, "--weight-bits", 9), "expected 2 to 8"),
        ((model, "--out", tmp_path / "net.net", "--data", tmp_path / "none"), "none"),
    ):
        assert run(*arguments) == 2
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1
    assert not (tmp_path / "net.net").exists()
