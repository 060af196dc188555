"""Windows of clips as samples and as pairs, against counting by hand."""

import dataclasses

import numpy as np
import pytest
import torch

from snnfer.datasets import ArrayCache, Clip, ClipInput, ClipTensors, ManifestDataset, WindowPairs, WindowSamples
from snnfer.errors import ConfigError, DatasetError
from snnfer.events import EventStream, FrameStream, write

WINDOW_US = 20_000


def make_data(folder, *, frames_t_us=None, frame_size=(16, 20), black=()):
    """Two subjects with one clip each of 10 windows; window k of clip i holds k + 10 i events."""
    clips = []
    generator = np.random.default_rng(0)
    for i in range(2):
        t = np.concatenate([np.full(k + 10 * i, k * WINDOW_US + 5) for k in range(10)])
        x, y, p = (generator.integers(low, high, len(t)) for low, high in ((2, 18), (0, 16), (0, 2)))
        times = np.arange(10) * WINDOW_US if frames_t_us is None else np.asarray(frames_t_us)
        images = np.stack([np.full((*frame_size, 3), 0 if k in black else k + 1, np.uint8) for k in range(len(times))])
        recording = EventStream.from_arrays(t, x, y, p, 20, 16, frames={"rgb": FrameStream(times, images)})
        write(folder / f"{i}.h5", recording)
        clips.append(
            Clip(
                f"c{i}",
                f"s{i}",
                12 + i * 3,
                "d",
                folder / f"{i}.h5",
                0,
                10 * WINDOW_US,
                (2, 0, 16, 16),
                onset_us=3 * WINDOW_US,
                offset_us=8 * WINDOW_US,
            )
        )
    return ManifestDataset("d", tuple(clips), ("AU12", "AU15"), folder)


def tensors(data, folder, modality="events", **options):
    options = {"window_us": WINDOW_US, "n_steps": 10, "size": (8, 8), **options}
    return ClipTensors(data, ClipInput(modality, **options), ArrayCache(folder / "cache"), show_progress=False)


@pytest.fixture
def clips(tmp_path):
    return tensors(make_data(tmp_path), tmp_path)


class TestWindowSamples:
    def test_every_window_with_enough_events(self, clips):
        samples = WindowSamples(clips, min_events=4)
        assert samples.samples == [(0, k) for k in range(4, 10)] + [(1, k) for k in range(10)]
        assert samples.labels == (0,) * 6 + (1,) * 10
        x, label, length = samples[2]
        assert x.shape == (1, 2, 8, 8)
        assert (int(x.sum()), label, length) == (6, 0, 1)  # window 6 of clip 0

    def test_sequences_slide_inside_a_clip(self, clips):
        samples = WindowSamples(clips, n_windows=3, min_events=5)
        assert samples.samples == [(0, k) for k in range(5, 8)] + [(1, k) for k in range(8)]
        assert samples[0][0].sum((1, 2, 3)).tolist() == [5, 6, 7]
        assert set(samples.lengths) == {3}

    def test_stride(self, clips):
        assert WindowSamples(clips, stride=4, min_events=0).samples == [(i, k) for i in (0, 1) for k in (0, 4, 8)]

    @pytest.mark.parametrize("slicing", ["uniform", "count"])
    def test_windows_need_one_length(self, tmp_path, slicing):
        with pytest.raises(ConfigError, match=f"windows of clips with slicing '{slicing}'; expected slicing 'time'"):
            WindowSamples(tensors(make_data(tmp_path), tmp_path, slicing=slicing))

    def test_only_the_expression(self, clips):
        samples = WindowSamples(clips, within="expression", min_events=0)
        assert samples.samples == [(i, k) for i in (0, 1) for k in range(3, 8)]

    def test_subjects_and_clips_choose_samples(self, clips):
        samples = WindowSamples(clips, min_events=0)
        assert samples.indices(["s1"]) == list(range(10, 20)) == samples.of_clips([1])
        assert samples.indices([]) == []

    def test_no_window_left_is_one_sentence(self, clips):
        with pytest.raises(
            DatasetError, match=r"'d' has 99 events or more; .*fix: lower min_events .windows.min_events"
        ):
            WindowSamples(clips, min_events=99)

    def test_events_outside_the_box_do_not_count(self, tmp_path):
        data = make_data(tmp_path)
        moved = tuple(dataclasses.replace(clip, box=(18, 0, 2, 2)) for clip in data.clips)  # x of events is below 18
        with pytest.raises(DatasetError, match="no window"):
            WindowSamples(tensors(dataclasses.replace(data, clips=moved), tmp_path))


class TestWindowPairs:
    def test_the_frame_on_show_at_the_end_of_each_window(self, tmp_path):
        data = make_data(tmp_path)
        pairs = WindowPairs(tensors(data, tmp_path), tensors(data, tmp_path, "rgb"), min_events=1)
        assert len(pairs) == 19  # window 0 of clip 0 is empty
        x, y = pairs[4]  # window 5 of clip 0: its frame began with it and is on show at its end
        assert (int(x.sum()), y.shape, y.unique().tolist()) == (5, (3, 8, 8), [6])
        assert y.dtype == torch.uint8
        assert pairs.n_target_channels == 3
        assert pairs.indices(["s0"]) == list(range(9))

    def test_gray_frames_are_made_of_rgb(self, tmp_path):
        data = make_data(tmp_path)
        pairs = WindowPairs(tensors(data, tmp_path), tensors(data, tmp_path, "gray"))
        assert pairs[0][1].shape == (1, 8, 8)

    def test_frames_that_end_early_are_refused(self, tmp_path):
        data = make_data(tmp_path, frames_t_us=np.arange(5) * WINDOW_US)
        with pytest.raises(DatasetError, match=r"clip 'c0': the 'rgb' frame nearest to 200000 us is 120 ms away"):
            tensors(data, tmp_path, "rgb", max_frame_age_us=WINDOW_US)

    def test_black_frames_are_refused(self, tmp_path):
        data = make_data(tmp_path, black=(7,))
        with pytest.raises(DatasetError, match=r"the frame of window 7 of clip 'c0' is black"):
            WindowPairs(tensors(data, tmp_path), tensors(data, tmp_path, "rgb"))

    def test_another_grid_is_refused(self, tmp_path):
        data = make_data(tmp_path)
        frames = tensors(data, tmp_path, "rgb", size=(4, 4))
        with pytest.raises(DatasetError, match="events and frames that differ in their size"):
            WindowPairs(tensors(data, tmp_path), frames)
        with pytest.raises(DatasetError, match="the frames are of modality 'events'"):
            WindowPairs(tensors(data, tmp_path), tensors(data, tmp_path))


def test_frames_of_another_size_with_the_same_view(tmp_path):
    large, small = tmp_path / "large", tmp_path / "small"
    large.mkdir()
    small.mkdir()
    a = tensors(make_data(large, frame_size=(32, 40)), large, "rgb")
    b = tensors(make_data(small), small, "rgb")
    assert torch.equal(a[0][0], b[0][0])


def test_frames_of_another_aspect_ratio_are_refused(tmp_path):
    data = make_data(tmp_path, frame_size=(16, 16))
    with pytest.raises(DatasetError, match=r"frames of 16 x 16 pixels beside a sensor of 20 x 16"):
        tensors(data, tmp_path, "rgb")
