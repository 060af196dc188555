"""CountFrames against a loop over events and, where the meaning coincides, tonic's ToFrame."""

import numpy as np
import pytest
import torch

import snnfer.events as ev
from snnfer.representations import CountFrames


def stream_of(n, *, width=50, height=40, span_us=100_000, start_us=0, seed=0):
    rng = np.random.default_rng(seed)
    return ev.EventStream.from_arrays(
        start_us + np.sort(rng.integers(0, span_us, n)),
        rng.integers(0, width, n),
        rng.integers(0, height, n),
        rng.integers(0, 2, n),
        width,
        height,
    )


def count_by_loop(stream, window_us, size, box, start_us, end_us, n_steps):
    """The definition, one event at a time."""
    x0, y0, width, height = box
    out = np.zeros((n_steps, 2, *size), np.float32)
    for t, x, y, p in stream.events.tolist():
        k = (t - start_us) // window_us
        if start_us <= t < end_us and k < n_steps and x0 <= x < x0 + width and y0 <= y < y0 + height:
            out[k, p, (y - y0) * size[0] // height, (x - x0) * size[1] // width] += 1
    return torch.from_numpy(out)


@pytest.mark.parametrize("box", [(0, 0, 50, 40), (-5, 3, 20, 60), (10, 10, 20, 20), (49, 39, 1, 1), (100, 100, 5, 5)])
@pytest.mark.parametrize("size", [(40, 50), (64, 64), (7, 5), (1, 1)])
def test_box_and_size_against_the_loop(box, size):
    stream = stream_of(3000)
    out = CountFrames(7000, size=size)(stream, box=box)
    start = stream.t_start_us
    expected = count_by_loop(stream, 7000, size, box, start, start + 100_000, len(out))
    assert torch.equal(out, expected)


@pytest.mark.parametrize(("start", "end"), [(0, 100_000), (-3000, 50_000), (20_001, 20_002), (500, 400_000), (7, 7)])
@pytest.mark.parametrize("n_steps", [None, 1, 4, 30])
def test_time_range_and_steps_against_the_loop(start, end, n_steps):
    stream = stream_of(3000)
    representation = CountFrames(9000, n_steps=n_steps)
    out = representation(stream, t_start_us=start, t_end_us=end)
    needed = -(-(end - start) // 9000)
    assert len(out) == (n_steps or needed)
    assert representation.count_steps(stream, t_start_us=start, t_end_us=end) == min(needed, n_steps or needed)
    assert torch.equal(out, count_by_loop(stream, 9000, (40, 50), (0, 0, 50, 40), start, end, len(out)))


@pytest.mark.parametrize("size", [None, (64, 64), (3, 3), (200, 300)])
def test_no_event_is_lost(size):
    stream = stream_of(5001)
    assert CountFrames(1700, size=size)(stream).sum() == 5001
    assert CountFrames(1700, size=size)(stream, box=(5, 5, 20, 20)).sum() == len(stream.crop(5, 5, 20, 20))


def test_windows_are_half_open_and_the_last_is_kept():
    stream = ev.EventStream.from_arrays([100, 109, 110, 119, 120, 130], [0] * 6, [0] * 6, [0, 1, 1, 1, 0, 1], 1, 1)
    assert CountFrames(10)(stream)[..., 0, 0].tolist() == [[1, 1], [0, 2], [1, 0], [0, 1]]
    assert len(CountFrames(10)(stream, t_end_us=130)) == 3
    assert len(CountFrames(30)(stream)) == 2  # an event on the edge opens a window of its own


def test_many_events_on_one_pixel():
    n = 70_000
    stream = ev.EventStream.from_arrays(np.arange(n), [0] * n, [0] * n, [1] * n, 2, 2)
    assert CountFrames(10**6)(stream)[0, 1, 0, 0] == n  # 16-bit counters would overflow


def test_against_tonic():
    transforms = pytest.importorskip("tonic.transforms")
    stream = stream_of(4000, span_us=60_000)
    events = np.zeros(4000, [("x", "i8"), ("y", "i8"), ("t", "i8"), ("p", "i8")])
    for name in "xytp":
        events[name] = stream.events[name]
    theirs = transforms.ToFrame(sensor_size=(50, 40, 2), time_window=5000, include_incomplete=True)(events)
    ours = CountFrames(5000)(stream)
    assert torch.equal(ours, torch.from_numpy(theirs.astype(np.float32)))


def test_real_face(samples):
    stream = ev.read(samples / "events" / "dvxplorer_face.aedat4")
    frames = CountFrames(33_000)(stream)
    assert frames.shape == (45, 2, 240, 320)
    assert frames.sum() == 323_963
    assert frames[:, 1].sum() == int(stream.events["p"].sum())
