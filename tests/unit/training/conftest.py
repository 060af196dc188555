"""Small data for the tests of training."""

import pytest

from snnfer.datasets import ArrayCache, ClipInput, ClipTensors, ManifestDataset
from snnfer.datasets.windows import WindowPairs


@pytest.fixture
def pairs(toy_manifest, tmp_path):
    """Windows of events (2 channels) with their RGB frames, 32 x 32: 18 recordings x 10 windows."""
    data, cache = ManifestDataset.read(toy_manifest), ArrayCache(tmp_path / "cache")
    events, frames = (
        ClipTensors(data, ClipInput(modality, n_steps=10, size=(32, 32)), cache, show_progress=False)
        for modality in ("events", "rgb")
    )
    return WindowPairs(events, frames)


@pytest.fixture
def clips(toy_manifest, tmp_path):
    """Events of 18 recordings, 10 windows of 16 x 16 each."""
    data, cache = ManifestDataset.read(toy_manifest), ArrayCache(tmp_path / "cache")
    boxes = [None] * len(data.clips)
    return ClipTensors(data, ClipInput(n_steps=10, size=(16, 16)), cache, boxes=boxes, show_progress=False)
