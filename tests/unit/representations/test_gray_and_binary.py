"""Grey and binary frames against loops over events."""

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from snnfer.errors import SnnferError
from snnfer.events import EventStream
from snnfer.representations import BinaryFrames, GrayFrames

WINDOW_US = 25_000


def stream_of(n, *, width=12, height=9, span_us=90_000, start_us=2**33, seed=0):
    rng = np.random.default_rng(seed)
    t = start_us + np.sort(rng.integers(0, span_us, n))
    return EventStream.from_arrays(
        t, rng.integers(0, width, n), rng.integers(0, height, n), rng.integers(0, 2, n), width, height
    )


def counts_by_loop(stream, *, n_windows, shape, place):
    """Events per window, polarity and cell, one event after the other; `place` gives a pixel's cell, or None."""
    out = np.zeros((n_windows, 2, *shape))
    for t, x, y, p in stream.events.tolist():
        cell = place(x, y)
        if cell is not None:
            out[(t - stream.t_start_us) // WINDOW_US, p, cell[0], cell[1]] += 1
    return out


@pytest.mark.parametrize("n_channels", [1, 3])
def test_gray_frames_count_every_event_in_the_box_once(n_channels):
    stream = stream_of(4000)
    left, top, width, height = 2, -1, 8, 9

    def place(x, y):
        inside = left <= x < left + width and top <= y < top + height
        return ((y - top) * 4 // height, (x - left) * 5 // width) if inside else None

    out = GrayFrames(WINDOW_US, size=(4, 5), n_channels=n_channels)(stream, box=(left, top, width, height))
    expected = counts_by_loop(stream, n_windows=4, shape=(4, 5), place=place).sum(1)
    assert out.shape == (4, n_channels, 4, 5)
    for channel in range(n_channels):
        assert np.array_equal(out[:, channel].numpy(), expected)


@pytest.mark.parametrize("n", [4000, 60])
def test_binary_frames_are_one_where_an_event_was(n):
    stream = stream_of(n)
    out = BinaryFrames(WINDOW_US)(stream)
    expected = counts_by_loop(stream, n_windows=len(out), shape=(9, 12), place=lambda x, y: (y, x)) > 0
    assert np.array_equal(out.numpy(), expected)
    resized = BinaryFrames(WINDOW_US, size=(5, 17))(stream)
    assert torch.equal(resized, interpolate(out, (5, 17), mode="nearest"))
    assert set(resized.unique().tolist()) == {0, 1}


def test_channels_are_checked():
    assert GrayFrames().n_channels == 3
    for wrong in (0, 1.5, True):
        with pytest.raises(SnnferError, match="n_channels = .*at least 1"):
            GrayFrames(n_channels=wrong)
