"""TIE against the paper's equations, one event and one bin at a time, with percentiles by sorting."""

from itertools import pairwise

import numpy as np
import pytest

import snnfer.events as ev
from snnfer.representations import TIE

VARIANTS = [(measure, kernel) for measure in ("t", "t0") for kernel in ("t", "t0")]


def stream_of(n, *, width=30, height=20, span_us=100_000, start_us=0, seed=0):
    rng = np.random.default_rng(seed)
    return ev.EventStream.from_arrays(
        start_us + np.sort(rng.integers(0, span_us, n)),
        np.clip(rng.normal(width / 2, width / 8, n).astype(int), 0, width - 1),
        rng.integers(0, height, n),
        rng.integers(0, 2, n),
        width,
        height,
    )


def est(tau):
    """The kernel of the specification: a triangle inside [-1, 1], the measured tail outside."""
    if tau < -1:
        return -0.037 * (-tau - 1)
    if tau <= 1 - 1 / 14:
        return max(0.0, 1 - 14 * abs(tau))
    nodes = [(1 - 1 / 14, 0), (1, -0.0011), (1.5, 0.0108), (2, 0.0347), (5, 0.2533), (1e5, 6543)]
    for (x0, y0), (x1, y1) in pairwise(nodes):
        if tau <= x1:
            return y0 + (y1 - y0) * (tau - x0) / (x1 - x0)
    raise ValueError(tau)


def triangular(tau):
    return max(0.0, 1 - 8 * abs(tau))


def sums_by_loop(window, width, height, origin_us, measure, kernel, kappa):
    """Equations (4) to (8): 18 maps, then three groups of six."""
    t_min, t_max = window["t"].min(), window["t"].max()
    volume = np.zeros((2, 9, height, width))
    for t_us, x, y, p in window.tolist():
        clocks = {
            "t": float(np.float32((t_us - origin_us) / 1e6)),
            "t0": float((t_us - t_min) / (t_max - t_min)) if t_max > t_min else 1.0,
        }
        for i in range(9):
            volume[p, i, y, x] += clocks[measure] * kappa(clocks[kernel] - i / 8)
    return volume.reshape(3, 6, height, width).sum(1)


def grey_by_sorting(channel):
    in_order = np.sort(channel.ravel())
    low, high = (in_order[round(0.01 * q * (channel.size - 1))] for q in (1, 99))
    if low == high:
        return np.where(channel > low, 255.0, 0.0)
    return np.floor(np.clip(255 * (channel - low) / (high - low), 0, 255))


def tie_by_loop(stream, window_us, measure, kernel, kappa, *, start_us, origin_us, n_steps):
    out = np.zeros((n_steps, 3, stream.height, stream.width), np.float32)
    for k in range(n_steps):
        inside = (stream.events["t"] >= start_us + k * window_us) & (
            stream.events["t"] < start_us + (k + 1) * window_us
        )
        if inside.any():
            window = stream.events[inside]
            sums = sums_by_loop(window, stream.width, stream.height, origin_us, measure, kernel, kappa)
            out[k] = [grey_by_sorting(channel) for channel in sums]
    return out


def assert_same_levels(ours, expected):
    """Equal, but for values that fall on the edge of a grey level: at most 1 level, on at most 0.1 % of the pixels."""
    difference = np.abs(ours.numpy() - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 1e-3


@pytest.mark.parametrize(("measure", "kernel"), VARIANTS)
@pytest.mark.parametrize("shape", ["est", "triangular"])
@pytest.mark.parametrize("origin_us", [None, -200_000, -1_040_000, -3_000_000, 40_000])
def test_variants_against_the_loop(measure, kernel, shape, origin_us):
    stream = stream_of(2500)
    tie = TIE(measure=measure, kernel=kernel, kernel_shape=shape)
    out = tie(stream, t_origin_us=origin_us)
    kappa = {"est": est, "triangular": triangular}[shape]
    start = stream.t_start_us
    origin = start if origin_us is None else origin_us
    expected = tie_by_loop(stream, 33_333, measure, kernel, kappa, start_us=start, origin_us=origin, n_steps=len(out))
    assert_same_levels(out, expected)
    assert tie.variant == f"{measure}_{kernel}"
    assert tie.needs_origin == (tie.variant != "t0_t0")


def test_sums_against_the_loop():
    """The sums before grey levels, which the percentiles cannot hide; float64, so to 1e-9."""
    stream = stream_of(3000)
    for measure, kernel in VARIANTS:
        ours = TIE(measure=measure, kernel=kernel).add_events(stream.events, 30, 20, origin_us=-700_000)
        expected = sums_by_loop(stream.events, 30, 20, -700_000, measure, kernel, est)
        np.testing.assert_allclose(ours.reshape(3, 20, 30), expected, rtol=1e-9, atol=1e-9)
