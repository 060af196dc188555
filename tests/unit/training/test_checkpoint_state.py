"""Nested training states survive a round trip through safetensors."""

import pytest
import torch

from snnfer.errors import CheckpointError
from snnfer.training.checkpoint import load_state, save_state


def test_nested_states_come_back_equal(tmp_path):
    state = {
        "epoch": 3,
        "rate": 1e-3,
        "none": None,
        "flag": True,
        "optimizer": [{"state": {0: {"step": torch.tensor(4.0), "m": torch.randn(2, 3)}}, "betas": (0.9, 0.999)}],
        "name": "x",
    }
    save_state(tmp_path / "a.safetensors", state)
    back = load_state(tmp_path / "a.safetensors")
    tensors = [back["optimizer"][0]["state"][0].pop(k) for k in ("step", "m")]
    originals = [state["optimizer"][0]["state"][0].pop(k) for k in ("step", "m")]
    assert back == state
    assert isinstance(back["optimizer"][0]["betas"], tuple)
    assert all(torch.equal(a, b) for a, b in zip(tensors, originals, strict=True))


def test_an_object_that_would_need_pickle_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(CheckpointError, match="holds a object"):
        save_state(tmp_path / "a.safetensors", {"x": object()})
    assert list(tmp_path.iterdir()) == []
