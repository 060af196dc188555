"""``snnfer convert --method sigma-delta`` and ``snnfer simulate`` on the file that it writes."""

import json
from typing import Any

import pytest
import torch

from snnfer import create_model, load_model
from snnfer.cli import main as cli
from snnfer.cli._export_input import load_clips, load_exported
from snnfer.converters.lava.sigma_delta_file import read_sigma_delta, read_sigma_delta_certificate
from snnfer.datasets import ClipInput
from snnfer.training.checkpoint import TrainedModel, save_model


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A model folder as if trained on anna and ben."""
    torch.manual_seed(0)
    model = create_model("evtransfer", n_classes=3, size=(16, 16), width=2, hidden=8).eval()
    clip_input = ClipInput(window_us=30_000, n_steps=8, size=(16, 16), representation="tie")
    training = {"data": "toy", "train_subjects": ["anna", "ben"], "validation_subjects": [], "crop": "none"}
    moments = ((127.5,) * 3, (127.5,) * 3)
    folder = tmp_path_factory.mktemp("source")
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


def test_pictures_are_refused(source, module_toy_manifest, tmp_path, capsys):
    command = ("convert", source, "--method", "sigma-delta", "--calibration", module_toy_manifest)
    assert run(*command, "--out", tmp_path / "out", "--plot", tmp_path / "curve.png") == 2
    assert "--plot with sigma-delta" in capsys.readouterr().err
