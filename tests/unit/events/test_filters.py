"""Filters against brute-force loops."""

import numpy as np
import pytest

from snnfer.errors import SnnferError
from snnfer.events import EventStream, filters


def stream_of(n, seed, width=6, height=5, span=3000):
    rng = np.random.default_rng(seed)
    return EventStream.from_arrays(
        np.sort(rng.integers(0, span, n)),
        rng.integers(0, width, n),
        rng.integers(0, height, n),
        rng.integers(0, 2, n),
        width,
        height,
    )


@pytest.mark.parametrize("period", [1, 7, 100, 5000])
@pytest.mark.parametrize("n", [0, 1, 500])
def test_refractory(n, period):
    stream = stream_of(n, seed=period)
    kept, last = [], {}
    for t, x, y, p in stream.events.tolist():
        if t - last.get((x, y), -(10**9)) >= period:
            kept.append((t, x, y, p))
            last[x, y] = t
    assert filters.apply_refractory(stream, period).events.tolist() == kept


def test_keep_region_and_time():
    stream = stream_of(500, seed=1)
    expected = [e for e in stream.events.tolist() if 2 <= e[1] < 4 and 1 <= e[2] < 4]
    assert filters.keep_region(stream, 2, 1, 2, 3).events.tolist() == expected
    expected = [e for e in stream.events.tolist() if 100 <= e[0] < 900]
    assert filters.keep_time(stream, 100, 900).events.tolist() == expected


def test_hot_pixels():
    quiet = stream_of(300, seed=2)
    hot = np.zeros(5000, quiet.events.dtype)
    hot["t"], hot["x"], hot["y"] = np.arange(5000), 3, 4
    both = np.concatenate([quiet.events, hot])
    stream = EventStream(both[np.argsort(both["t"], kind="stable")], 6, 5)
    counts = np.zeros((5, 6))
    for _, x, y, _ in stream.events.tolist():
        counts[y, x] += 1
    limit = 2 * np.percentile(counts[counts > 0], 99)
    assert np.array_equal(filters.find_hot_pixels(stream, factor=2), counts > limit)
    found = filters.find_hot_pixels(EventStream(np.tile(hot[:1], 0), 6, 5))
    assert not found.any()
    # one pixel of 30 lies above the 99th percentile of the others only if the threshold allows it
    wide = EventStream(stream.events, 60, 50)
    assert filters.drop_hot_pixels(wide, factor=1.01).events.tolist() == [
        e for e in stream.events.tolist() if (e[1], e[2]) != (3, 4)
    ]


def test_wrong_parameters():
    with pytest.raises(SnnferError, match="period_us = 0"):
        filters.apply_refractory(stream_of(3, 0), 0)
    with pytest.raises(SnnferError, match=r"factor = 1"):
        filters.find_hot_pixels(stream_of(3, 0), factor=1)
