"""Files of weights: tensors come out, and nothing that the file brings along is run."""

import collections
import sys
import types

import numpy as np
import pytest
import torch

from snnfer.errors import CheckpointError
from snnfer.models._weights_file import read_weights


@pytest.fixture
def authors_module(monkeypatch):
    """A module with classes of a training script; whoever reads its files does not have it."""
    module = types.ModuleType("training_script")

    class RecorderMeter:
        pass

    RecorderMeter.__module__, RecorderMeter.__qualname__ = "training_script", "RecorderMeter"
    module.RecorderMeter = RecorderMeter
    monkeypatch.setitem(sys.modules, "training_script", module)
    return module


@pytest.mark.parametrize("zipped", [True, False])
def test_objects_of_a_training_script_stay_empty(tmp_path, authors_module, monkeypatch, zipped):
    recorder = authors_module.RecorderMeter()
    recorder.losses, recorder.best = np.ones((4, 2)), np.float32(3.0)
    weights = collections.OrderedDict(a=torch.arange(6.0).view(2, 3), b=torch.tensor(3), c=torch.ones(2).half())
    parameter = torch.nn.Parameter(torch.full((2,), 7.0))
    saved = {"state_dict": weights, "recorder": recorder, "p": parameter, "accuracy": torch.tensor(92.2), "epoch": 3}
    torch.save(saved, tmp_path / "best.pth", _use_new_zipfile_serialization=zipped)
    monkeypatch.delitem(sys.modules, "training_script")
    read = read_weights(tmp_path / "best.pth")
    assert read["epoch"] == 3
    assert set(read["state_dict"]) == set(weights)
    for name, value in weights.items():
        assert torch.equal(read["state_dict"][name], value)
        assert read["state_dict"][name].dtype == value.dtype
    assert torch.equal(read["p"], parameter)
    assert not hasattr(read["recorder"], "losses")


class Attack:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_what_a_file_calls_is_not_called(tmp_path):
    torch.save({"state_dict": {"a": torch.ones(2)}, "attack": Attack(tmp_path / "victim")}, tmp_path / "evil.pth")
    assert torch.equal(read_weights(tmp_path / "evil.pth")["state_dict"]["a"], torch.ones(2))
    assert not (tmp_path / "victim").exists()


def test_plain_files(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "plain.pth")
    assert torch.equal(read_weights(str(tmp_path / "plain.pth"))["a"], torch.ones(2))


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"PK\x03\x04 broken", b"\x80\x02}q\x00."])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"w\.pth' cannot be read .*expected weights that torch\.save wrote"):
        read_weights(tmp_path / "w.pth")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"no file at '.*none\.pth'"):
        read_weights(tmp_path / "none.pth")
