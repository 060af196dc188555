"""Windows that are cut from chunks: the same as those of the whole recording, whatever the chunks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnfer import events
from snnfer.errors import SnnferError
from snnfer.events import EventStream, FrameStream, split_windows


def stream_of(t):
    n = len(t)
    return EventStream.from_arrays(t, np.arange(n) % 7, np.arange(n) % 5, np.arange(n) % 2, width=7, height=5)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 500), min_size=1, max_size=60).map(sorted),
    st.integers(1, 90),
    st.lists(st.integers(0, 60), max_size=6),
)
def test_every_event_of_a_whole_window_is_in_it(t, window_us, cuts):
    recording = stream_of(np.array(t) + 2**40)
    chunks = np.split(recording.events, sorted(min(cut, len(t)) for cut in cuts))
    found = list(split_windows(chunks, window_us))
    assert len(found) == recording.duration_us // window_us
    for k, window in enumerate(found):
        start = recording.t_start_us + k * window_us
        expected = [e for e in recording.events if start <= e["t"] < start + window_us]
        assert window.tolist() == [e.item() for e in expected]


def test_no_events_give_no_windows():
    assert list(split_windows([], 10)) == []
    assert list(split_windows([stream_of([]).events], 10)) == []


def test_a_window_needs_a_length():
    with pytest.raises(SnnferError, match="window_us = 0"):
        list(split_windows([], 0))


def test_windows_share_no_memory_with_what_comes_later():
    """What waits for its end is copied out of its chunk, which a reader may drop."""
    chunk = stream_of([0, 5, 12]).events
    windows = split_windows(iter([chunk, stream_of([20, 31]).events]), 10)
    assert [len(window) for window in windows] == [2, 1, 1]


def test_frames_before_a_time_are_the_first_of_all(tmp_path):
    pytest.importorskip("h5py")
    images = np.arange(4 * 5 * 7, dtype=np.uint8).reshape(4, 5, 7)
    frames = {"gray": FrameStream(np.array([0, 100, 200, 300]), images)}
    events.write(tmp_path / "clip.h5", EventStream(stream_of(np.arange(0, 400, 10)).events, 7, 5, frames))
    with events.open(tmp_path / "clip.h5") as reader:
        assert reader.frames(t_end_us=200)["gray"].t_us.tolist() == [0, 100]
        np.testing.assert_array_equal(reader.frames()["gray"].images, images)


def test_frames_of_aedat4_before_a_time(samples):
    pytest.importorskip("faery")
    with events.open(samples / "events" / "davis346_frames_imu.aedat4") as reader:
        every = reader.frames()["gray"]
        some = reader.frames(t_end_us=int(every.t_us[3]))["gray"]
    np.testing.assert_array_equal(some.t_us, every.t_us[:3])
    np.testing.assert_array_equal(some.images, every.images[:3])
