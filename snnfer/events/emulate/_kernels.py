"""Compiled loops of the pixel model. Imported only once numba is known to be there."""

import math
from typing import NamedTuple

import numba
import numpy as np

MAX_EVENTS_PER_STEP = 100
"""Most events of one pixel in one step; a real pixel is stopped by its refractory time long before."""
_SETTLED = 2e-4
"""A response this close to its target counts as there, and the pixel is skipped until its light changes."""


class Pixels(NamedTuple):
    """State and constants of all pixels; every array is [H, W]."""

    illuminance: np.ndarray  # lux at the last step
    target: np.ndarray  # log(illuminance + dark)
    response: np.ndarray  # low-passed target
    reference: np.ndarray  # response memorised at the last event, sunk by the leak
    moving: np.ndarray  # uint8: the response has not reached its target
    ready_us: np.ndarray  # end of the refractory time
    threshold_on: np.ndarray
    threshold_off: np.ndarray
    leak_per_s: np.ndarray
    noise_scale: np.ndarray


class Constants(NamedTuple):
    """Numbers that all pixels share."""

    dark_lux: float
    hz_per_lux: float
    min_hz: float
    max_hz: float
    refractory_us: int
    noise_rate_hz: float  # at 1 lux
    noise_exponent: float
    noise_floor_hz: float


@numba.njit(cache=True, fastmath=True, inline="always")
def _cutoff_hz(lux, constants):
    return min(max(constants.hz_per_lux * (lux + constants.dark_lux), constants.min_hz), constants.max_hz)


@numba.njit(cache=True, fastmath=True, inline="always")
def _follow_ramp(response, start, end, dt_s, cutoff_hz):
    """Exact first-order low-pass of an input that moves linearly from `start` to `end` within `dt_s`."""
    tau = 1.0 / (2.0 * math.pi * cutoff_hz)
    decay = math.exp(-dt_s / tau)
    lag = tau * (end - start) / dt_s * (1.0 - decay)
    return end - lag + (response - start) * decay


@numba.njit(cache=True, fastmath=True)
def _advance_response(pixels, constants, y, x, lux, dt_s):
    """Move the response of one pixel by one step; returns it before and after."""
    before = pixels.response[y, x]
    changed = lux != pixels.illuminance[y, x]
    if not changed and pixels.moving[y, x] == 0:
        return before, before
    start = pixels.target[y, x]
    end = math.log(lux + constants.dark_lux) if changed else start
    after = _follow_ramp(before, start, end, dt_s, _cutoff_hz(lux, constants))
    settled = not changed and abs(end - after) < _SETTLED
    if settled:
        after = end
    pixels.illuminance[y, x] = lux
    pixels.target[y, x] = end
    pixels.response[y, x] = after
    pixels.moving[y, x] = 0 if settled else 1
    return before, after


@numba.njit(cache=True, fastmath=True)
def _fire(pixels, constants, y, x, before, after, t0_us, dt_s, out, n):
    """Write the threshold crossings of one pixel, each with its own time, and move its reference."""
    reference = pixels.reference[y, x]
    slope = (after - before) / dt_s + pixels.leak_per_s[y, x]
    difference = after - reference + pixels.leak_per_s[y, x] * dt_s
    reference -= pixels.leak_per_s[y, x] * dt_s
    polarity = 1 if difference > 0 else 0
    step = pixels.threshold_on[y, x] if polarity == 1 else -pixels.threshold_off[y, x]
    start = before - pixels.reference[y, x]
    level = step
    crossings = 0
    while abs(difference) >= abs(step) and difference * step > 0 and crossings < MAX_EVENTS_PER_STEP:
        offset_s = (level - start) / slope if slope * step > 0 else dt_s
        offset_s = min(max(offset_s, 0.0), dt_s)
        t_us = t0_us + np.int64(math.ceil(offset_s * 1e6))
        if t_us >= pixels.ready_us[y, x]:
            out[n].t = t_us
            out[n].x = x
            out[n].y = y
            out[n].p = polarity
            n += 1
            pixels.ready_us[y, x] = t_us + constants.refractory_us
        reference += step
        difference -= step
        level += step
        crossings += 1
    pixels.reference[y, x] = reference
    return n


@numba.njit(cache=True, fastmath=True)
def integrate_rows(illuminance, first_row, t0_us, t1_us, pixels, constants, out):
    """Advance rows from `first_row` on until `out` could overflow; returns (events written, next row)."""
    height, width = illuminance.shape
    dt_s = (t1_us - t0_us) * 1e-6
    n = 0
    for y in range(first_row, height):
        if n + width * MAX_EVENTS_PER_STEP > out.shape[0]:
            return n, y
        for x in range(width):
            before, after = _advance_response(pixels, constants, y, x, illuminance[y, x], dt_s)
            difference = after - pixels.reference[y, x] + pixels.leak_per_s[y, x] * dt_s
            if difference >= pixels.threshold_on[y, x] or -difference >= pixels.threshold_off[y, x]:
                n = _fire(pixels, constants, y, x, before, after, t0_us, dt_s, out, n)
            else:
                pixels.reference[y, x] -= pixels.leak_per_s[y, x] * dt_s
    return n, height


@numba.njit(cache=True, fastmath=True)
def noise_rate_hz(lux, constants):
    """Shot-noise rate of a pixel of scale 1."""
    rate = constants.noise_rate_hz * (lux + constants.dark_lux) ** (-constants.noise_exponent)
    return max(rate, constants.noise_floor_hz)


@numba.njit(cache=True, fastmath=True)
def accept_noise(candidates, draws, majorant_hz, pixels, constants, out):
    """Thin candidate events, sorted by time, by the noise rate of their pixels.

    `draws` are uniform in [0, 1); candidates with a draw below 0 are always accepted.
    """
    n = 0
    for i in range(candidates.shape[0]):
        x, y, t_us = candidates[i].x, candidates[i].y, candidates[i].t
        rate = noise_rate_hz(pixels.illuminance[y, x], constants) * pixels.noise_scale[y, x]
        if (draws[i] < 0 or draws[i] * majorant_hz < rate) and t_us >= pixels.ready_us[y, x]:
            out[n] = candidates[i]
            n += 1
            pixels.ready_us[y, x] = t_us + constants.refractory_us
            pixels.reference[y, x] = pixels.response[y, x]
    return n
