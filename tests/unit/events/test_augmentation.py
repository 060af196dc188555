"""Each change of a stream against a loop over its events, and the drawn numbers against their probabilities."""

import numpy as np
import pytest

from snnfer.errors import SnnferError
from snnfer.events import EVENT_DTYPE, EventStream
from snnfer.events.augmentation import (
    add_background_activity,
    augment_spiking_fer,
    drop_by_area,
    drop_by_time,
    drop_randomly,
    event_drop,
    flip_horizontally,
    flip_polarity,
    reverse_time,
)

WIDTH, HEIGHT, N = 20, 12, 4000
EMPTY = EventStream(np.empty(0, dtype=EVENT_DTYPE), WIDTH, HEIGHT)


@pytest.fixture
def stream():
    generator = np.random.default_rng(7)
    t = np.sort(generator.integers(1_000_000, 3_000_000, N))
    x, y, p = (generator.integers(0, limit, N) for limit in (WIDTH, HEIGHT, 2))
    return EventStream.from_arrays(t, x, y, p, WIDTH, HEIGHT, metadata={"name": "clip"})


def rng(seed=0):
    return np.random.default_rng(seed)


def rows(stream):
    return [tuple(int(v) for v in event) for event in stream.events]


RANDOM = {
    "noise": add_background_activity,
    "drop": event_drop,
    "time": lambda s, g: drop_by_time(s, g, ratio=0.3),
    "area": lambda s, g: drop_by_area(s, g, ratio=0.25),
    "random": lambda s, g: drop_randomly(s, g, ratio=0.7),
    "all": augment_spiking_fer,
}
FIXED = {"flip": flip_horizontally, "polarity": flip_polarity, "reversal": reverse_time}
ALL = RANDOM | {name: lambda s, g, f=f: f(s) for name, f in FIXED.items()}


@pytest.mark.parametrize("name", ALL)
def test_the_result_is_a_valid_stream_of_the_same_sensor_and_time(stream, name):
    before = stream.events.copy()
    for seed in range(20):
        result = ALL[name](stream, rng(seed))  # EventStream itself refuses unsorted and outside events
        assert (result.width, result.height, result.metadata) == (WIDTH, HEIGHT, {"name": "clip"})
        assert result.events["t"].min() >= before["t"][0]
        assert result.events["t"].max() <= before["t"][-1]
    assert np.array_equal(stream.events, before)


@pytest.mark.parametrize("name", ALL)
def test_a_stream_without_events_stays_so(name):
    for seed in range(8):
        assert len(ALL[name](EMPTY, rng(seed))) == 0


@pytest.mark.parametrize("name", RANDOM)
def test_the_generator_alone_decides(stream, name):
    results = [rows(RANDOM[name](stream, rng(seed))) for seed in (3, 3, *range(4, 12))]
    assert results[0] == results[1]
    assert any(result != results[0] for result in results[2:])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (flip_horizontally, lambda t, x, y, p: (t, WIDTH - 1 - x, y, p)),
        (flip_polarity, lambda t, x, y, p: (t, x, y, 1 - p)),
    ],
)
def test_mirrored_events_are_those_of_a_loop(stream, change, expected):
    assert rows(change(stream)) == [expected(*event) for event in rows(stream)]
    assert rows(change(change(stream))) == rows(stream)


def test_reversal_turns_time_and_polarity_about_the_middle(stream):
    first, last = rows(stream)[0][0], rows(stream)[-1][0]
    assert rows(reverse_time(stream)) == [(first + last - t, x, y, 1 - p) for t, x, y, p in reversed(rows(stream))]
    assert rows(reverse_time(reverse_time(stream))) == rows(stream)


def test_noise_adds_a_share_of_uniform_events_and_keeps_all_others(stream):
    result = add_background_activity(stream, rng(), share=1.5)
    noise = rows(result)
    for event in rows(stream):
        noise.remove(event)
    assert len(noise) == int(1.5 * N)
    values = np.array(noise)
    span = stream.events["t"][-1] - stream.events["t"][0]
    times = np.histogram(values[:, 0] - stream.t_start_us, bins=10, range=(0, span))[0]
    counts = [times, *(np.bincount(values[:, i], minlength=n) for i, n in ((1, WIDTH), (2, HEIGHT), (3, 2)))]
    for count in counts:  # chi-squared over k cells: mean k - 1, deviation sqrt(2 (k - 1))
        k, mean = len(count), len(noise) / len(count)
        assert ((count - mean) ** 2 / mean).sum() < k - 1 + 5 * np.sqrt(2 * (k - 1))


def test_the_published_severity_is_a_fifth(stream):
    assert len(add_background_activity(stream, rng())) == N + N // 5


def test_drop_by_time_leaves_out_one_interval(stream):
    t = stream.events["t"]
    starts = []
    for seed in range(200):
        kept = drop_by_time(stream, rng(seed), ratio=0.4).events["t"]
        lost = np.setdiff1d(t, kept)
        assert not np.any((kept > lost[0]) & (kept < lost[-1]))
        assert lost[-1] - lost[0] == pytest.approx(0.4 * stream.duration_us, abs=10_000)
        starts.append((lost[0] - t[0]) / stream.duration_us)
    assert np.mean(starts) == pytest.approx(0.3, abs=0.05)  # uniform in [0, 0.6]
    assert min(starts) < 0.03 < 0.57 < max(starts)


def test_drop_by_area_leaves_out_one_box(stream):
    corners, events = [], rows(stream)
    for seed in range(150):
        left_out = np.ones((HEIGHT, WIDTH), dtype=bool)
        result = drop_by_area(stream, rng(seed), ratio=0.25)
        left_out[result.events["y"], result.events["x"]] = False  # every pixel has events
        y, x = np.nonzero(left_out)
        assert (np.ptp(x) + 1, np.ptp(y) + 1, len(x)) == (5, 3, 15)
        assert len(result) == sum(not left_out[event[2], event[1]] for event in events)
        corners.append((x.min(), y.min()))
    assert {x for x, _ in corners} == set(range(16))
    assert {y for _, y in corners} == set(range(10))


@pytest.mark.parametrize("ratio", [0.0, 0.3, 1.0])
def test_random_drop_keeps_the_rest_in_order(stream, ratio):
    result = drop_randomly(stream, rng(), ratio=ratio)
    assert len(result) == round((1 - ratio) * N)
    remaining = iter(rows(stream))
    assert all(event in remaining for event in rows(result))  # a subsequence


def test_event_drop_draws_its_four_ways_and_their_ratios_uniformly(stream, monkeypatch):
    calls = []
    for name in ("drop_by_time", "drop_by_area", "drop_randomly"):
        monkeypatch.setattr(
            f"snnfer.events.augmentation.{name}", lambda s, g, *, ratio, name=name: calls.append((name, ratio)) or s
        )
    generator, n = rng(), 8000
    for _ in range(n):
        event_drop(stream, generator)
    for name, ratios in {
        "drop_by_time": np.arange(1, 10) / 10,
        "drop_by_area": np.arange(1, 6) / 20,
        "drop_randomly": np.arange(1, 10) / 10,
    }.items():
        drawn = [ratio for called, ratio in calls if called == name]
        assert len(drawn) == pytest.approx(n / 4, abs=5 * np.sqrt(n * 3 / 16))
        values, counts = np.unique(drawn, return_counts=True)
        assert np.allclose(values, ratios)
        assert np.allclose(counts, len(drawn) / len(ratios), atol=5 * np.sqrt(len(drawn) / len(ratios)))


def test_the_changes_of_spiking_fer_come_in_its_order_with_its_probabilities(stream, monkeypatch):
    calls = []
    for name in ("flip_horizontally", "add_background_activity", "reverse_time", "flip_polarity", "event_drop"):
        monkeypatch.setattr(f"snnfer.events.augmentation.{name}", lambda s, *g, name=name: calls[-1].append(name) or s)
    generator, n = rng(), 5000
    order = {"flip_horizontally": 0.5, "add_background_activity": 0.5, "reverse_time": 0.2, "flip_polarity": 0.2}
    order["event_drop"] = 1.0
    for _ in range(n):
        calls.append([])
        augment_spiking_fer(stream, generator)
        assert calls[-1] == [name for name in order if name in calls[-1]]
    for name, probability in order.items():
        share = np.mean([name in called for called in calls])
        assert share == pytest.approx(probability, abs=5 * np.sqrt(probability * (1 - probability) / n))


@pytest.mark.parametrize("change", [drop_by_time, drop_by_area, drop_randomly])
def test_ratios_outside_zero_to_one_are_refused(stream, change):
    for ratio in (-0.1, 1.5, float("nan")):
        with pytest.raises(SnnferError, match="expected a share from 0 to 1"):
            change(stream, rng(), ratio=ratio)


def test_negative_noise_is_refused(stream):
    with pytest.raises(SnnferError, match="share = -1; expected 0 or more noise events per event"):
        add_background_activity(stream, rng(), share=-1)
