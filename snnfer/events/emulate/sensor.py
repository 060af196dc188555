"""The event-camera sensor: an array of pixels that is shown one image after the other."""

import math
from typing import Any

import numpy as np

from snnfer._optional import require
from snnfer.errors import ShapeError, SnnferError
from snnfer.events.emulate.parameters import DvsParameters
from snnfer.events.stream import EVENT_DTYPE


class DvsSensor:
    """A dynamic vision sensor: show it images of the light on its pixels, it answers with events.

    Between two images the logarithm of the light is taken to move linearly, so that every event gets its own time
    inside the step. Everything random comes from `seed`: the same seed and images give the same events.

    Args:
        height: Rows of the sensor.
        width: Columns of the sensor.
        params: The pixel.
        seed: Seed of the differences between the pixels (fixed pattern).
        noise_seed: Seed of the noise in time; the default is `seed`.

    Raises:
        MissingExtraError: numba is not installed.

    Examples:
        >>> sensor = DvsSensor(4, 6, DvsParameters().noiseless, seed=0)
        >>> dim = np.full((4, 6), 100.0, np.float32)
        >>> len(sensor.step(dim, 0)), len(sensor.step(dim, 10_000))
        (0, 0)
        >>> events = sensor.step(2 * dim, 20_000)
        >>> len(events) > 24, set(events["p"].tolist())
        (True, {1})
    """

    def __init__(
        self, height: int, width: int, params: DvsParameters | None = None, *, seed: int, noise_seed: int | None = None
    ) -> None:
        require("numba", extra="synth")
        if height < 1 or width < 1:
            raise SnnferError(f"a sensor of {height} x {width} pixels", expected="at least one row and one column")
        self.height, self.width = height, width
        self.params = params or DvsParameters()
        self.noise_count = 0
        """Events so far that were shot noise or came from hot pixels."""
        pattern = np.random.default_rng([seed, 1])
        self._noise = np.random.default_rng([seed if noise_seed is None else noise_seed, 2])
        self._draw_pattern(pattern)
        self._pixels: Any = None
        self._t_us = 0

    def step(self, illuminance: np.ndarray, t_us: int) -> np.ndarray:
        """Show the next image; returns the events since the last one, sorted by time.

        Args:
            illuminance: Light on each pixel in lux (scene illuminance times reflectance), float [H, W], at least 0.
            t_us: Time of the image in microseconds, after that of the last one. The first image sets the resting state.

        Raises:
            ShapeError: the image does not fit the sensor.
            SnnferError: time does not advance, or the light is negative or not finite.
        """
        image = self._checked(illuminance)
        if self._pixels is None:
            self._rest(image)
            self._t_us = int(t_us)
            return np.empty(0, EVENT_DTYPE)
        if t_us <= self._t_us:
            raise SnnferError(f"an image at {t_us} us after one at {self._t_us} us", expected="time to advance")
        parts = [*self._signal(image, int(t_us)), self._noise_events(image, int(t_us))]
        self._t_us = int(t_us)
        events = np.concatenate(parts)
        return events[np.argsort(events["t"], kind="stable")]

    def _checked(self, illuminance: np.ndarray) -> np.ndarray:
        image = np.ascontiguousarray(illuminance, np.float32)
        if image.shape != (self.height, self.width):
            raise ShapeError(f"an image of shape {image.shape}", expected=f"[H, W] = ({self.height}, {self.width})")
        darkest = float(image.min())
        if not (darkest >= 0 and math.isfinite(float(image.max()))):
            raise SnnferError("an image with negative or non-finite light", expected="lux, at least 0 everywhere")
        return image

    def _draw_pattern(self, rng: np.random.Generator) -> None:
        p, shape = self.params, (self.height, self.width)
        threshold_on, threshold_off = (
            np.clip(rng.normal(p.threshold, p.threshold_mismatch, shape), 0.2 * p.threshold, None) for _ in range(2)
        )
        leak = p.leak_rate_hz * 10 ** rng.normal(0, p.leak_mismatch, shape) * threshold_on
        noise_scale = (
            10 ** rng.normal(0, p.noise_mismatch, shape) * p.threshold / np.minimum(threshold_on, threshold_off)
        )
        hot = np.flatnonzero(rng.random(self.height * self.width) < p.hot_pixel_fraction)
        self._hot = hot, p.hot_pixel_rate_hz * np.exp(rng.normal(0, 1, len(hot)))
        self._phase = rng.random(shape)
        self._pattern = {
            "threshold_on": threshold_on.astype(np.float32),
            "threshold_off": threshold_off.astype(np.float32),
            "leak_per_s": leak.astype(np.float32),
            "noise_scale": noise_scale.astype(np.float32),
        }

    def _rest(self, image: np.ndarray) -> None:
        """Start at rest; the memorised values are spread so that leak events do not come all at once."""
        from snnfer.events.emulate import _kernels

        p = self.params
        rest = np.log(image + np.float32(p.dark_lux))
        spread = 0.9 * self._phase * self._pattern["threshold_on"] if p.leak_rate_hz else np.zeros_like(rest)
        self._pixels = _kernels.Pixels(
            illuminance=image.copy(),
            target=rest.copy(),
            response=rest.copy(),
            reference=(rest - spread).astype(np.float32),
            moving=np.zeros(image.shape, np.uint8),
            ready_us=np.full(image.shape, np.iinfo(np.int64).min, np.int64),
            **self._pattern,
        )
        self._constants = _kernels.Constants(
            p.dark_lux,
            p.bandwidth_hz_per_lux,
            p.bandwidth_min_hz,
            p.bandwidth_max_hz,
            p.refractory_us,
            p.noise_rate_hz * p.noise_reference_lux**p.noise_exponent,
            p.noise_exponent,
            p.noise_floor * p.noise_rate_hz,
        )
        self._buffer = np.empty(max(1 << 16, 4 * self.width * _kernels.MAX_EVENTS_PER_STEP), EVENT_DTYPE)

    def _signal(self, image: np.ndarray, t_us: int) -> list[np.ndarray]:
        from snnfer.events.emulate import _kernels

        parts, row = [], 0
        while row < self.height:
            n, row = _kernels.integrate_rows(image, row, self._t_us, t_us, self._pixels, self._constants, self._buffer)
            parts.append(self._buffer[:n].copy())
        return parts

    def _noise_events(self, image: np.ndarray, t_us: int) -> np.ndarray:
        from snnfer.events.emulate import _kernels

        dt_s = (t_us - self._t_us) * 1e-6
        majorant_hz = 0.0
        if self.params.noise_rate_hz:
            majorant_hz = _kernels.noise_rate_hz(float(image.min()), self._constants)
            majorant_hz *= float(self._pattern["noise_scale"].max())
        n_shot = int(self._noise.poisson(majorant_hz * image.size * dt_s))
        hot = np.repeat(self._hot[0], self._noise.poisson(self._hot[1] * dt_s))
        places = np.concatenate([self._noise.integers(0, image.size, n_shot), hot])
        candidates = np.empty(len(places), EVENT_DTYPE)
        candidates["t"] = self._noise.integers(self._t_us + 1, t_us + 1, len(places))
        candidates["y"], candidates["x"] = np.divmod(places, self.width)
        candidates["p"] = self._noise.integers(0, 2, len(places))
        draws = np.concatenate([self._noise.random(n_shot), np.full(len(hot), -1.0)])
        order = np.argsort(candidates["t"], kind="stable")
        candidates, draws = candidates[order], draws[order]
        accepted = np.empty_like(candidates)
        n = _kernels.accept_noise(candidates, draws, majorant_hz, self._pixels, self._constants, accepted)
        self.noise_count += n
        return accepted[:n]
