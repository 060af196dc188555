"""Percentiles in constant memory, against numpy on the times themselves."""

import numpy as np
import pytest

from snnfer.training.latency import LatencyHistogram


@pytest.mark.parametrize("sigma", [0.1, 1.0, 2.5])
def test_percentiles_are_within_half_a_percent(sigma):
    times = np.exp(np.random.default_rng(0).normal(-8, sigma, 5000)).clip(1e-6)
    histogram = LatencyHistogram()
    for value in times:
        histogram.add(float(value))
    assert histogram.n == 5000
    assert histogram.largest_s == times.max()
    for q in (1, 50, 90, 99, 99.9):
        assert histogram.percentile(q) == pytest.approx(np.percentile(times, q, method="inverted_cdf"), rel=0.0051)
    assert histogram.percentile(100) == times.max()


def test_no_times():
    assert LatencyHistogram().percentile(50) == 0


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 5e3])
def test_times_beyond_the_classes_are_counted(seconds):
    histogram = LatencyHistogram()
    histogram.add(seconds)
    assert histogram.largest_s == seconds
    assert histogram.percentile(50) <= max(seconds, 1e-6)
