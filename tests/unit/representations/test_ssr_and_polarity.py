"""Histogram, event queue and polarity image against loops over events."""

import numpy as np
import pytest
import torch

import snnfer.events as ev
from snnfer.errors import SnnferError
from snnfer.representations import CountFrames, PolarityImage, SSREventQueue, SSRHistogram


def stream_of(n, *, width=12, height=9, span_us=90_000, start_us=0, seed=0):
    rng = np.random.default_rng(seed)
    t = start_us + np.sort(rng.integers(0, span_us, n))
    return ev.EventStream.from_arrays(
        t, rng.integers(0, width, n), rng.integers(0, height, n), rng.integers(0, 2, n), width, height
    )


def queue_by_loop(stream, window_us, n_events):
    """Each window: append events to lists, keep the newest, then write them newest first."""
    start = stream.t_start_us
    n_windows = -(-(stream.duration_us + 1) // window_us)
    out = np.zeros((n_windows, 2 * n_events, stream.height, stream.width))
    for k in range(n_windows):
        queues = {}
        newest = 0
        for t, x, y, p in stream.events.tolist():
            if (t - start) // window_us == k:
                queues[y, x] = [(t, p), *queues.get((y, x), [])][:n_events]
                newest = t
        oldest_held = min((t for queue in queues.values() for t, _ in queue), default=newest)
        for (y, x), queue in queues.items():
            for j, (t, p) in enumerate(queue):
                out[k, 2 * j, y, x] = (newest - t) / (newest - oldest_held) if newest > oldest_held else 0
                out[k, 2 * j + 1, y, x] = 1 if p else -1
    return out


@pytest.mark.parametrize(("n", "n_events"), [(3000, 15), (3000, 4), (3000, 1), (40, 15)])
def test_event_queue_against_lists(n, n_events):
    stream = stream_of(n, start_us=2**33)
    out = SSREventQueue(25_000, n_events=n_events)(stream)
    np.testing.assert_allclose(out.numpy(), queue_by_loop(stream, 25_000, n_events), atol=1e-7)  # float32


def test_event_queue_holds_15_by_default():
    stream = ev.EventStream.from_arrays(np.arange(20), [0] * 20, [0] * 20, [1] * 10 + [0] * 10, 1, 1)
    out = SSREventQueue(100)(stream)[0, :, 0, 0]
    np.testing.assert_allclose(out[::2].numpy(), np.arange(15) / 14, atol=1e-7)
    assert out[1::2].tolist() == [-1] * 10 + [1] * 5


def test_events_of_one_time_have_no_age():
    stream = ev.EventStream.from_arrays([9, 9, 9], [0, 0, 1], [0, 0, 0], [0, 1, 1], 2, 1)
    out = SSREventQueue(100, n_events=2)(stream)[0, :, 0]
    assert out[:, 0].tolist() == [0, 1, 0, -1]
    assert out[:, 1].tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize("value", [0, -1, 1.5, True])
def test_impossible_queues(value):
    with pytest.raises(SnnferError, match="n_events = .*expected a whole number of at least 1"):
        SSREventQueue(n_events=value)


def test_histogram_counts_and_takes_the_nearest_pixel():
    stream = stream_of(2000)
    full = SSRHistogram(20_000)(stream)
    assert torch.equal(full, CountFrames(20_000)(stream))
    rows, columns = np.arange(18) * 9 // 18, np.arange(30) * 12 // 30
    resized = SSRHistogram(20_000, size=(18, 30))(stream)
    np.testing.assert_array_equal(resized.numpy(), full.numpy()[..., rows[:, None], columns])


def test_polarity_image_against_the_loop():
    stream = stream_of(400, start_us=-77)
    expected = np.full((4, 1, 9, 12), 127)
    for t, x, y, p in stream.events.tolist():
        expected[(t - stream.t_start_us) // 25_000, 0, y, x] = 255 * p
    out = PolarityImage(25_000)(stream)
    np.testing.assert_array_equal(out.numpy(), expected)
    assert set(PolarityImage(25_000, size=(50, 50))(stream).unique().tolist()) == {0, 127, 255}


def test_polarity_image_of_a_window_without_events():
    stream = ev.EventStream.from_arrays([0, 50], [1, 1], [0, 0], [1, 0], 3, 1)
    out = PolarityImage(10, n_steps=8)(stream)
    assert out[0, 0, 0].tolist() == [127, 255, 127]
    assert (out[1:5] == 127).all()
    assert not out[6:].any()  # padding behind the last window
