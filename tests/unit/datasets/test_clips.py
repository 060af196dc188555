"""Clips on the time grid, against direct counting."""

import numpy as np
import pytest
import torch

from snnfer.datasets import ArrayCache, Clip, ClipInput, ClipTensors, ManifestDataset, collate, crop_resize, frames_at
from snnfer.errors import DatasetError
from snnfer.events import EventStream, FrameStream, write


@pytest.fixture
def data(tmp_path):
    """One subject, two clips: 1,000 random events over 1 s with RGB frames every 40 ms."""
    generator = np.random.default_rng(0)
    t = np.sort(generator.integers(0, 1_000_000, 1000))
    x, y, p = generator.integers(0, 20, 1000), generator.integers(0, 16, 1000), generator.integers(0, 2, 1000)
    frames = FrameStream(np.arange(25) * 40_000, generator.integers(0, 256, (25, 16, 20, 3), dtype=np.uint8))
    write(tmp_path / "r.h5", EventStream.from_arrays(t, x, y, p, 20, 16, frames={"rgb": frames}))
    clips = tuple(
        Clip(f"c{i}", "s", 12, "d", tmp_path / "r.h5", start, end, (2, 0, 16, 16))
        for i, (start, end) in enumerate([(0, 300_000), (100_000, 1_000_000)])
    )
    return ManifestDataset("d", clips, ("AU12",), tmp_path)


def test_every_event_in_box_and_interval_is_counted_once(data, tmp_path):
    tensors = ClipTensors(data, ClipInput(n_steps=40, size=(8, 8)), ArrayCache(tmp_path / "cache"), show_progress=False)
    events = data.load(data.clips[0]).events
    inside = (events["x"] >= 2) & (events["x"] < 18)
    x, label, length = tensors[0]
    assert (x.shape, label, length) == ((40, 2, 8, 8), 0, 10)  # 300 ms in steps of 33 ms
    assert x.sum() == inside.sum()
    assert x[10:].sum() == 0
    assert x[3, 1].sum() == np.sum(inside & (events["t"] // 33_000 == 3) & (events["p"] == 1))


def test_a_long_clip_is_cut_to_its_middle(data):
    start, n_valid = ClipInput(n_steps=10).interval(data.clips[1])
    assert n_valid == 10
    assert start + 10 * 33_000 // 2 == (100_000 + 1_000_000) // 2


def test_frames_are_the_last_ones_begun_before_each_step_ends(data):
    stream = data.load(data.clips[0], frames=True)
    images = frames_at(stream, "rgb", np.array([33_000, 66_000, 99_000]))
    expected = stream.frames["rgb"].images[[0, 1, 2]]  # begun at 0, 40 and 80 ms
    assert np.array_equal(images, expected)


def test_gray_is_made_from_rgb(data):
    stream = data.load(data.clips[0], frames=True)
    gray, rgb = (frames_at(stream, name, np.array([33_000]))[0] for name in ("gray", "rgb"))
    assert np.abs(gray[..., 0] - rgb @ [0.299, 0.587, 0.114]).max() <= 0.5


def test_missing_frames_are_named(data):
    stream = data.load(data.clips[0])
    with pytest.raises(DatasetError, match="no 'gray' frames"):
        frames_at(EventStream(stream.events, stream.width, stream.height), "gray", np.array([0]))


@pytest.mark.parametrize("modality", ["gray", "rgb"])
def test_frames_on_another_clock_are_not_called_missing(data, tmp_path, modality):
    stream = data.load(data.clips[0], frames=True)
    rgb = stream.frames["rgb"]
    late = {"rgb": FrameStream(rgb.t_us + 5_000_000, rgb.images)}
    write(tmp_path / "r.h5", EventStream(stream.events, stream.width, stream.height, late))
    with pytest.raises(DatasetError, match="clip 'c0': no 'rgb' frame lies between .* likely cause: two clocks"):
        ClipTensors(data, ClipInput(modality), ArrayCache(tmp_path / "cache"), show_progress=False)


def test_a_box_that_reaches_outside_is_padded_with_zeros():
    images = np.full((1, 4, 4, 1), 9, dtype=np.uint8)
    out = crop_resize(images, (-2, 0, 4, 4), (4, 4))
    assert out[0, 0].tolist() == [[0, 0, 9, 9]] * 4


def test_the_cache_is_used_and_keyed_by_content(data, tmp_path):
    cache, kind = ArrayCache(tmp_path / "cache"), ClipInput(n_steps=40, size=(8, 8))
    first = ClipTensors(data, kind, cache, show_progress=False)[0][0]
    stored = sorted(cache.root.rglob("*.npy"))
    assert len(stored) == 2
    again = ClipTensors(data, kind, cache, show_progress=False)[0][0]
    assert torch.equal(first, again)
    assert sorted(cache.root.rglob("*.npy")) == stored
    stored[0].write_bytes(b"damaged")
    ClipTensors(data, kind, cache, show_progress=False)
    assert all(np.load(path).shape == (40, 2, 8, 8) for path in stored)
    ClipTensors(data, ClipInput(n_steps=20, size=(8, 8)), cache, show_progress=False)
    assert len(list(cache.root.rglob("*.npy"))) == 4


def test_collate_puts_time_first(data, tmp_path):
    tensors = ClipTensors(data, ClipInput(n_steps=40, size=(8, 8)), ArrayCache(tmp_path / "c"), show_progress=False)
    x, labels, lengths = collate([tensors[0], tensors[1]])
    assert x.shape == (40, 2, 2, 8, 8)
    assert labels.tolist() == [0, 0]
    assert lengths.tolist() == [10, 28]


def test_a_cache_that_cannot_be_written_says_what_to_do(tmp_path, monkeypatch):
    def full(*args, **options):
        raise OSError("Not enough free space to write 128 bytes")

    monkeypatch.setattr(np, "save", full)
    cache = ArrayCache(tmp_path)
    with pytest.raises(DatasetError, match=r"cannot be written; likely cause: a full disk .*fix: .*SNNFER_CACHE"):
        cache.store("key", lambda: np.zeros(3))
    assert not cache.path("key").exists()
