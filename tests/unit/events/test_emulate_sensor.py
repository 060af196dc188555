import numpy as np
import pytest

from snnfer.errors import ConfigError, ShapeError, SnnferError
from snnfer.events import EVENT_DTYPE
from snnfer.events.emulate import DvsParameters, DvsSensor

FAST = dict(bandwidth_min_hz=1e6, bandwidth_max_hz=1e6, dark_lux=1e-6, refractory_us=0)
"""A pixel that follows the light at once, so that its events follow from the logarithm alone."""


def ideal(threshold: float = 0.2) -> DvsParameters:
    return DvsParameters(threshold=threshold, **FAST).noiseless


def show(sensor: DvsSensor, images: np.ndarray, step_us: int = 1000) -> np.ndarray:
    return np.concatenate([sensor.step(image, i * step_us) for i, image in enumerate(images)])


def brute_force_counts(images: np.ndarray, threshold: float) -> np.ndarray:
    """Net threshold crossings [2, H, W] of an ideal pixel, by walking the logarithm image by image."""
    log = np.log(images.astype(np.float64))
    reference, counts = log[0].copy(), np.zeros((2, *log[0].shape), int)
    for image in log[1:]:
        crossings = np.trunc((image - reference) / threshold + 1e-9 * np.sign(image - reference))
        counts[1] += np.maximum(crossings, 0).astype(int)
        counts[0] += np.maximum(-crossings, 0).astype(int)
        reference += crossings * threshold
    return counts


def test_event_counts_equal_a_brute_force_walk():
    rng = np.random.default_rng(0)
    images = np.exp(np.cumsum(rng.normal(0, 0.13, (40, 12, 15)), 0) + 5).astype(np.float32)
    events = show(DvsSensor(12, 15, ideal(), seed=0), images)
    counts = np.zeros((2, 12, 15), int)
    np.add.at(counts, (events["p"], events["y"], events["x"]), 1)
    expected = brute_force_counts(images, 0.2)
    assert expected.sum() > 1500
    assert np.abs(counts - expected).sum() <= 0.002 * expected.sum()  # float32 rounding at a threshold


def test_times_lie_where_the_log_ramp_crosses_the_thresholds():
    sensor = DvsSensor(1, 1, ideal(0.1), seed=0)
    sensor.step(np.full((1, 1), 100.0), 0)
    events = sensor.step(np.full((1, 1), 100.0 * np.exp(0.45)), 9000)
    np.testing.assert_allclose(events["t"], [2000, 4000, 6000, 8000], atol=3)
    assert events["p"].tolist() == [1, 1, 1, 1]


def test_darkening_gives_off_events():
    sensor = DvsSensor(1, 1, ideal(0.1), seed=0)
    sensor.step(np.full((1, 1), 100.0), 0)
    events = sensor.step(np.full((1, 1), 100.0 * np.exp(-0.25)), 1000)
    assert events["p"].tolist() == [0, 0]


def test_low_pass_follows_the_exact_step_response():
    cutoff_hz = 10.0
    params = DvsParameters(threshold=0.05, bandwidth_min_hz=cutoff_hz, bandwidth_max_hz=cutoff_hz, refractory_us=0)
    sensor = DvsSensor(1, 1, params.noiseless, seed=0)
    sensor.step(np.full((1, 1), 1000.0), 0)
    sensor.step(np.full((1, 1), 1000.0), 1)
    events = [sensor.step(np.full((1, 1), 3000.0), 2 + 10 * i) for i in range(1, 20_000)]
    t_s = np.concatenate(events)["t"] * 1e-6
    rise = np.log(3000.4 / 1000.4)
    levels = 0.05 * np.arange(1, len(t_s) + 1)
    expected = -np.log(1 - levels / rise) / (2 * np.pi * cutoff_hz)
    assert len(t_s) == int(rise / 0.05)
    np.testing.assert_allclose(t_s, expected, atol=3e-4)


def test_refractory_time_separates_the_events_of_a_pixel():
    params = DvsParameters(threshold=0.01, **{**FAST, "refractory_us": 500}).noiseless
    events = show(DvsSensor(1, 1, params, seed=0), np.geomspace(10, 1000, 20).reshape(-1, 1, 1))
    assert len(events) > 20
    assert np.diff(events["t"]).min() >= 500


def test_events_are_sorted_inside_their_step_and_have_the_house_type():
    rng = np.random.default_rng(1)
    sensor, last = DvsSensor(20, 30, seed=2), 0
    sensor.step(rng.uniform(50, 500, (20, 30)), 0)
    for t_us in range(4000, 40_000, 4000):
        events = sensor.step(rng.uniform(50, 500, (20, 30)), t_us)
        assert events.dtype == EVENT_DTYPE
        assert (np.diff(events["t"]) >= 0).all()
        assert events["t"].min() > last
        assert events["t"].max() <= t_us
        last = t_us


def test_same_seed_same_events_and_other_noise_seed_same_pattern():
    images = np.random.default_rng(3).uniform(5, 50, (30, 16, 16))
    first, second = (show(DvsSensor(16, 16, seed=7), images) for _ in range(2))
    assert (first == second).all()
    assert len(show(DvsSensor(16, 16, seed=8), images)) != len(first)
    pattern = [DvsSensor(16, 16, seed=7, noise_seed=n)._pattern["threshold_on"] for n in (1, 2)]
    np.testing.assert_array_equal(*pattern)


def test_leak_rate_gives_that_many_on_events():
    params = DvsParameters(leak_rate_hz=2.0, noise_rate_hz=0.0, hot_pixel_fraction=0.0)
    events = show(DvsSensor(50, 50, params, seed=0), np.full((101, 50, 50), 200.0), step_us=50_000)
    assert (events["p"] == 1).all()
    rate = len(events) / 2500 / 5.0
    assert rate == pytest.approx(2.0 * np.exp(0.5 * (0.1 * np.log(10)) ** 2), rel=0.05)


@pytest.mark.parametrize("lux", [1.0, 20.0, 200.0])
def test_noise_rate_follows_the_power_law(lux):
    params = DvsParameters(
        noise_rate_hz=1.0, leak_rate_hz=0, noise_mismatch=0, threshold_mismatch=0, hot_pixel_fraction=0, noise_floor=0
    )
    sensor = DvsSensor(40, 40, params, seed=5)
    events = show(sensor, np.full((51, 40, 40), lux), step_us=100_000)
    expected = ((lux + 0.4) / 200.0) ** -0.7 * 1600 * 5.0
    assert len(events) == sensor.noise_count == pytest.approx(expected, rel=5 / np.sqrt(expected) + 0.01)
    assert events["p"].mean() == pytest.approx(0.5, abs=0.05)


def test_hot_pixels_fire_without_cause():
    params = DvsParameters(hot_pixel_fraction=0.02, hot_pixel_rate_hz=20.0, noise_rate_hz=0, leak_rate_hz=0)
    events = show(DvsSensor(40, 40, params, seed=5), np.full((21, 40, 40), 200.0), step_us=100_000)
    places = np.unique(events["y"].astype(int) * 40 + events["x"])
    assert 10 <= len(places) <= 60
    assert len(events) > 200


def test_no_event_is_lost_when_everything_changes_at_once():
    sensor = DvsSensor(64, 2000, ideal(0.1), seed=0)
    sensor.step(np.full((64, 2000), 10.0), 0)
    events = sensor.step(np.full((64, 2000), 10.0 * np.exp(1.05)), 1000)
    assert len(events) == 64 * 2000 * 10


def test_wrong_use_is_refused_in_one_sentence():
    sensor = DvsSensor(4, 5, seed=0)
    with pytest.raises(ShapeError, match=r"\(5, 4\).*\(4, 5\)"):
        sensor.step(np.ones((5, 4)), 0)
    with pytest.raises(SnnferError, match="negative"):
        sensor.step(-np.ones((4, 5)), 0)
    sensor.step(np.ones((4, 5)), 10)
    with pytest.raises(SnnferError, match="10 us after one at 10 us"):
        sensor.step(np.ones((4, 5)), 10)
    with pytest.raises(SnnferError, match="at least one row"):
        DvsSensor(0, 5, seed=0)
    with pytest.raises(ConfigError, match="threshold = 0"):
        DvsParameters(threshold=0)
    with pytest.raises(ConfigError, match="cut-off"):
        DvsParameters(bandwidth_min_hz=200)
    with pytest.raises(ConfigError, match="hot_pixel_fraction"):
        DvsParameters(hot_pixel_fraction=2)
