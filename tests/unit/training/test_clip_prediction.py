"""Recordings scored by models whose input divides whole clips into slices."""

import numpy as np
import pytest
import torch

from snnfer import events
from snnfer.datasets import ArrayCache, ClipInput, ClipTensors, ManifestDataset
from snnfer.errors import ConfigError, DatasetError, SnnferError
from snnfer.models import create_model
from snnfer.training import TrainedModel, load_model, save_model
from snnfer.training.prediction import predict_recording
from snnfer.training.window_prediction import load_networks


@pytest.fixture
def trained(tmp_path):
    """A function from an input to a model folder that was written and read again."""

    def make(**options):
        reader = ClipInput(n_steps=4, size=(16, 16), **options)
        model = create_model("au_snn", n_classes=3, in_channels=2, size=(16, 16), channels=4, hidden=8).eval()
        save_model(tmp_path / "m", TrainedModel(model, reader, ("AU2", "AU12", "AU45"), (0.0, 0.0), (1.0, 1.0), {}))
        loaded = load_model(tmp_path / "m")
        assert loaded.input == reader
        return loaded

    return make


@pytest.mark.parametrize("slice_events", [100, 5000])
def test_a_recording_shorter_than_a_window_is_scored_as_the_clip_it_is(trained, toy_manifest, tmp_path, slice_events):
    model = trained(slicing="count", slice_events=slice_events)
    data = ManifestDataset.read(toy_manifest)
    clips = ClipTensors(data, model.input, ArrayCache(tmp_path / "cache"), show_progress=False)
    found = predict_recording(model, events.read(data.clips[0].path), box=None)
    with torch.no_grad():
        expected = model.model(model.normalise(clips[0][0][:, None]))
    assert np.array_equal(found.scores, expected.numpy())
    assert (found.t_start_us.tolist(), found.t_end_us.tolist()) == (
        [0],
        [events.read(data.clips[0].path).duration_us + 1],
    )


def test_each_window_is_divided_as_a_clip(trained, toy_manifest):
    model, stream = trained(slicing="uniform"), events.read(toy_manifest / "anna-au2-0.h5")
    found = predict_recording(model, stream, box=None, span_us=120_000, hop_us=60_000)
    assert found.t_start_us.tolist() == [0, 60_000, 120_000]
    assert found.t_end_us.tolist() == [120_000, 180_000, 240_000]
    grid = ClipInput(n_steps=4, size=(16, 16), window_us=30_000)  # the same slices as windows of one length
    x = grid(stream, t_start_us=stream.t_start_us + 60_000, n_valid=4)
    with torch.no_grad():
        assert np.array_equal(found.scores[1], model.model(model.normalise(x[:, None]))[0].numpy())


def test_what_cannot_be_cut_is_refused(trained, toy_manifest, tmp_path):
    model, stream = trained(slicing="uniform"), events.read(toy_manifest / "anna-au2-0.h5")
    with pytest.raises(SnnferError, match="a span of 0 us"):
        predict_recording(model, stream, box=None, span_us=0)
    with pytest.raises(DatasetError, match="the recording lasts 0.0 ms"):
        predict_recording(model, stream.slice_time(0, 0), box=None)
    save_model(tmp_path / "m" / "generator", pix2pix())
    with pytest.raises(ConfigError, match=r"divides whole clips \(slicing 'uniform'\).*leave out --reconstruct"):
        load_networks(tmp_path / "m", model)


def pix2pix():
    model = create_model("pix2pix", in_channels=2, out_channels=1, size=(16, 16), width=4)
    return TrainedModel(model, ClipInput(size=(16, 16)), (), (0.0, 0.0), (1.0, 1.0), {})
