import argparse
import json
from types import SimpleNamespace

import torch

from snnfer.cli._convert_sigma_delta import convert_sigma_delta
from snnfer.converters.lava.sigma_delta_file import read_sigma_delta
from snnfer.converters.loihi.sigma_delta_twin import run_sigma_delta
from snnfer.models import create_model


def test_the_folder_holds_graph_and_certificate(tmp_path, capsys):
    torch.manual_seed(0)
    model = create_model("evtransfer", n_classes=3, size=(16, 16), width=4).eval()
    images = torch.rand(12, 3, 16, 16)
    with torch.no_grad():
        labels = model(images[None]).argmax(1)
    args = argparse.Namespace(model="folder", method="sigma-delta", out=str(tmp_path / "out"), json=None)
    exported = SimpleNamespace(model=model, name="evtransfer")
    assert convert_sigma_delta(args, exported, images, images, labels, "measured here") == 0
    assert "float 100.0%" in capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    graph = read_sigma_delta(tmp_path / "out" / "network.net")
    assert graph.metadata["certificate"] == report
    agreement = (run_sigma_delta(graph, images[None]).output[0].argmax(1) == labels).float().mean()
    assert report["integer_accuracy"] == float(agreement)
    assert [layer["name"] for layer in report["layers"]] == [layer.name for layer in graph.layers]
