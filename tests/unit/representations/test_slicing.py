"""Slices of a stream against loops over events."""

import numpy as np
import pytest
import torch

from snnfer.errors import SnnferError
from snnfer.events import EVENT_DTYPE, EventStream
from snnfer.representations import create_representation, list_representations
from snnfer.representations.slicing import (
    count_edges,
    represent_slices,
    slice_by_count,
    slice_uniform,
    uniform_edges,
)

WIDTH, HEIGHT = 12, 9
BOX = (3, -1, 6, 8)


def stream_of(n, *, span_us=10_000, start_us=0, seed=0):
    rng = np.random.default_rng(seed)
    t = start_us + np.sort(rng.integers(0, span_us, n))
    return EventStream.from_arrays(
        t, rng.integers(0, WIDTH, n), rng.integers(0, HEIGHT, n), rng.integers(0, 2, n), WIDTH, HEIGHT
    )


def counts_of(events, box=(0, 0, WIDTH, HEIGHT)):
    """Counts of the given events inside a box, event by event: ``[2, h, w]``."""
    left, top, width, height = box
    out = np.zeros((2, height, width))
    for _, x, y, p in events.tolist():
        if left <= x < left + width and top <= y < top + height:
            out[p, y - top, x - left] += 1
    return out


@pytest.mark.parametrize(("start", "end", "n"), [(0, 100, 3), (7, 8, 5), (2**40, 2**40 + 999_999, 16), (5, 5, 4)])
def test_uniform_edges_are_whole_microseconds_at_equal_distances(start, end, n):
    edges = uniform_edges(start, end, n)
    assert (edges[0], edges[-1], len(edges)) == (start, end, n + 1)
    assert all(0 <= start + k * (end - start) / n - edges[k] < 1 for k in range(n + 1))


@pytest.mark.parametrize("n_slices", [1, 3, 6])
def test_uniform_slices_hold_every_event_once(n_slices):
    stream = stream_of(500, start_us=2**33)
    start, end = 2**33 + 1000, 2**33 + 9001
    parts = slice_uniform(stream, n_slices, t_start_us=start, t_end_us=end)
    out = represent_slices(create_representation("count_frames"), stream, parts)
    edges = [start + k * (end - start) // n_slices for k in range(n_slices + 1)]
    for k in range(n_slices):
        t = stream.events["t"]
        inside = stream.events[(t >= edges[k]) & (t < edges[k + 1])]
        assert np.array_equal(out[k].numpy(), counts_of(inside))


@pytest.mark.parametrize(
    ("n_events", "n_slices", "per_slice", "expected"),
    [
        (1050, 4, 100, [300, 400, 500, 600, 700]),  # ten whole slices: three left out before, three behind
        (1150, 4, 100, [300, 400, 500, 600, 700]),  # eleven: three before, four behind
        (400, 4, 100, [0, 100, 200, 300, 400]),
        (399, 4, 100, [0, 99, 199, 299, 399]),  # three whole slices are too few: four of (nearly) equal count
        (2, 4, 100, [0, 0, 1, 1, 2]),
        (0, 3, 5, [0, 0, 0, 0]),
    ],
)
def test_count_edges(n_events, n_slices, per_slice, expected):
    assert count_edges(n_events, n_slices, slice_events=per_slice).tolist() == expected


@pytest.mark.parametrize("n", [700, 130, 3, 0])
def test_slices_of_events_count_what_is_inside_the_box_and_the_time(n):
    stream = stream_of(n, span_us=300)  # many events share a microsecond
    parts = slice_by_count(stream, 4, slice_events=30, t_start_us=20, t_end_us=280, box=BOX)
    out = represent_slices(create_representation("count_frames"), stream, parts, box=BOX)
    wanted = [
        event
        for event in stream.events.tolist()
        if 20 <= event[0] < 280 and 3 <= event[1] < 9 and -1 <= event[2] < 7
    ]  # fmt: skip
    whole = len(wanted) // 30
    if whole >= 4:
        first = (whole - 4) // 2
        groups = [wanted[30 * (first + k) : 30 * (first + k + 1)] for k in range(4)]
    else:
        groups = [wanted[k * len(wanted) // 4 : (k + 1) * len(wanted) // 4] for k in range(4)]
    for k, group in enumerate(groups):
        expected = counts_of(np.array(group, dtype=EVENT_DTYPE) if group else np.empty(0, EVENT_DTYPE), BOX)
        assert np.array_equal(out[k].numpy(), expected)


@pytest.mark.parametrize("name", list_representations())
def test_uniform_slices_of_a_grid_are_the_windows_of_the_representation(name):
    """Where the slices are as long as windows, every representation gives what it gives for the windows."""
    stream = stream_of(900)
    representation = create_representation(name, window_us=2500, size=(5, 7))
    origin = {"t_origin_us": -400} if representation.needs_origin else {}
    expected = representation(stream, t_start_us=0, t_end_us=10_000, box=BOX, **origin)
    parts = slice_uniform(stream, 4, t_start_us=0, t_end_us=10_000)
    assert torch.equal(represent_slices(representation, stream, parts, box=BOX, **origin), expected)


def test_bad_slices_are_refused():
    with pytest.raises(SnnferError, match="0 slices; expected at least one"):
        uniform_edges(0, 10, 0)
    with pytest.raises(SnnferError, match="slices of 0 events"):
        count_edges(10, 2, slice_events=0)
    with pytest.raises(SnnferError, match="from 10 us to 5 us"):
        uniform_edges(10, 5, 2)
