"""Clips on the time grid, against direct counting."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from snnfer._config import hashed_values
from snnfer._files import hash_value
from snnfer.datasets import ArrayCache, Clip, ClipInput, ClipTensors, ManifestDataset, collate, crop_resize, frames_at
from snnfer.errors import ConfigError, DatasetError, SnnferError
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


def test_a_still_image_is_the_frame_in_the_middle_of_the_clip_or_at_its_apex(data, tmp_path):
    """One step of 33 ms: the frame begun last before the end of that step."""
    clip = replace(data.clips[1], apex_us=731_000)
    frames = data.load(clip, frames=True).frames["rgb"]
    for center, t_us in (("middle", 550_000), ("apex", 731_000)):
        kind = ClipInput("rgb", n_steps=1, size=(16, 20), center=center)
        one = replace(data, clips=(replace(clip, box=None),))
        x, _, length = ClipTensors(one, kind, ArrayCache(tmp_path / "cache"), show_progress=False)[0]
        assert (x.shape, length) == ((1, 3, 16, 20), 1)
        shown = max(i for i, t in enumerate(frames.t_us) if t < t_us + 16_500)
        assert torch.equal(x[0], torch.from_numpy(frames.images[shown]).permute(2, 0, 1))


def test_an_apex_near_the_end_leaves_the_cut_inside_the_clip(data):
    kind = ClipInput(n_steps=10, center="apex")
    starts = [kind.interval(replace(data.clips[1], apex_us=apex))[0] for apex in (100_000, 500_000, 990_000)]
    assert starts == [100_000, 500_000 - 165_000, 1_000_000 - 330_000]
    with pytest.raises(DatasetError, match="clip 'c1' has no apex; expected the column apex_us"):
        kind.interval(data.clips[1])


def test_uniform_slicing_takes_the_whole_clip_whatever_its_length(data, tmp_path):
    kind = ClipInput(n_steps=7, size=(16, 16), slicing="uniform")
    tensors = ClipTensors(data, kind, ArrayCache(tmp_path / "cache"), show_progress=False)
    for i, clip in enumerate(data.clips):
        x, _, length = tensors[i]
        events = data.load(clip).events
        events = events[(events["x"] >= 2) & (events["x"] < 18)]
        slot = (events["t"] - clip.t_start_us) * 7 // clip.duration_us
        assert length == 7
        # an event on an edge that is rounded down to a whole microsecond belongs to the later slice
        assert np.abs(x.sum((1, 2, 3)).numpy() - np.bincount(slot, minlength=7)).max() <= 1
        assert x.sum() == len(events)


def test_count_slicing_takes_the_central_slices_or_equal_shares(data, tmp_path):
    for slice_events, expected in ((20, [20] * 4), (1000, None)):
        kind = ClipInput(n_steps=4, size=(16, 16), slicing="count", slice_events=slice_events)
        tensors = ClipTensors(data, kind, ArrayCache(tmp_path / "cache"), show_progress=False)
        for i, clip in enumerate(data.clips):
            events = data.load(clip).events
            n = int(((events["x"] >= 2) & (events["x"] < 18)).sum())
            shares = [(k + 1) * n // 4 - k * n // 4 for k in range(4)]
            assert tensors[i][0].sum((1, 2, 3)).tolist() == (expected or shares)
            assert tensors[i][2] == 4


def test_frames_of_uniform_slices_are_those_on_show_at_their_ends(data, tmp_path):
    kind = ClipInput("rgb", n_steps=3, size=(16, 16), slicing="uniform")
    x, _, length = ClipTensors(data, kind, ArrayCache(tmp_path / "cache"), show_progress=False)[0]
    images = data.load(data.clips[0], frames=True).frames["rgb"].images[[2, 4, 7], :, 2:18]  # ends at 100, 200, 300 ms
    assert length == 3
    assert torch.equal(x, torch.from_numpy(images).permute(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("error", "message", "options"),
    [
        (ConfigError, "slicing 'count' for the modality 'rgb'.*use slicing 'uniform'", ("rgb", {"slicing": "count"})),
        (SnnferError, "slicing = 'evenly'; expected one of time, uniform, count", ("events", {"slicing": "evenly"})),
        (SnnferError, "modality = 'sound'", ("sound", {})),
        (SnnferError, "slice_events = 0", ("events", {"slicing": "count", "slice_events": 0})),
        (SnnferError, "center = 'end'", ("events", {"center": "end"})),
    ],
)
def test_an_input_that_makes_no_sense_is_refused(error, message, options):
    with pytest.raises(error, match=message):
        ClipInput(options[0], **options[1])


def test_keys_of_inputs_from_before_slicing_hold():
    """The hash that the cache gave to the default input before it knew of slicings."""
    assert hash_value(hashed_values(ClipInput())) == "a618e2e74fb16681"
    assert hash_value(hashed_values(ClipInput(slicing="uniform"))) != "a618e2e74fb16681"


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
