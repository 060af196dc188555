"""Python of the pages on exports runs as it is printed, with the names that it assumes."""

import re
from pathlib import Path

import pytest
import torch

import snnfer as sf
from snnfer.converters.from_model import to_graph

ROOT = Path(__file__).parents[2]


def snippets(page):
    """Blocks of Python of a page of ``docs``."""
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), flags=re.S)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return sf.create_model("au_snn", n_classes=3, size=(16, 16), channels=4, hidden=8, votes=2).eval()


def test_the_resources_of_the_page_on_loihi(model, capsys):
    names = {"model": model}
    exec(snippets("loihi.md")[0], names)
    assert names["resources"].table() in capsys.readouterr().out


def test_the_conversion_of_the_page_on_rates(capsys):
    torch.manual_seed(0)
    model = sf.create_model("evtransfer", n_classes=3, size=(16, 16), width=4, hidden=8).eval()
    images, labels = torch.rand(6, 3, 16, 16), torch.tensor([0, 1, 2, 0, 1, 2])
    names = {"sf": sf, "model": model, "images": images, "test": images, "labels": labels}
    exec(snippets("ann_to_snn.md")[0], names)
    assert names["scores"].shape == (6, 3)
    assert names["report"].table() in capsys.readouterr().out


def test_the_file_of_the_page_on_nir_agrees(model, tmp_path, monkeypatch):
    pytest.importorskip("norse")
    monkeypatch.chdir(tmp_path)
    names = {"model": model, "x": torch.poisson(torch.full((5, 2, 2, 16, 16), 0.7))}
    code = snippets("nir.md")[0].replace("file_of_spikingjelly.nir", "net.nir")  # any file of another library
    exec(code, names)
    assert names["found"].agrees
    assert len(to_graph(names["again"]).nodes) == len(to_graph(names["other"]).nodes)
