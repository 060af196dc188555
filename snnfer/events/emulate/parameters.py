"""Parameters of the event-camera pixel."""

import math
from dataclasses import dataclass, fields

from snnfer.errors import ConfigError


@dataclass(frozen=True)
class DvsParameters:
    r"""A dynamic vision sensor pixel whose speed and noise depend on the light that falls on it.

    The photoreceptor responds to illuminance :math:`E` (lux, scene reflectance included) with
    :math:`\log(E + E_\text{dark})`, low-passed at a cut-off that grows with light,
    :math:`f_c = \operatorname{clip}(b\,(E + E_\text{dark}), f_\text{min}, f_\text{max})`. The pixel fires when the
    response has moved by its own threshold since its last event. Shot noise fires at a rate
    :math:`r \propto (E + E_\text{dark})^{-\gamma}`, which is log-linear in the light.

    Args:
        threshold: Mean contrast threshold of ON and OFF events, in units of natural log illuminance.
        threshold_mismatch: Standard deviation of the thresholds over the pixels.
        leak_rate_hz: ON events per pixel and second from junction leakage, without any change of light.
        leak_mismatch: Standard deviation of the leak rate over the pixels, in decades.
        refractory_us: Dead time of a pixel after an event, in microseconds.
        dark_lux: Illuminance that equals the dark current.
        bandwidth_hz_per_lux: Growth of the cut-off frequency with light.
        bandwidth_min_hz: Smallest cut-off frequency.
        bandwidth_max_hz: Largest cut-off frequency.
        noise_rate_hz: Shot-noise events per pixel and second at `noise_reference_lux`; 0 switches shot noise off.
        noise_reference_lux: Light at which `noise_rate_hz` holds.
        noise_exponent: Exponent of the growth of noise as light falls.
        noise_floor: Smallest noise rate, relative to `noise_rate_hz`.
        noise_mismatch: Standard deviation of the noise rate over the pixels, in decades.
        hot_pixel_fraction: Share of the pixels that fire without cause.
        hot_pixel_rate_hz: Median rate of those.

    Raises:
        ConfigError: a value is negative or not finite, or a threshold or frequency is 0.

    References:
        Lichtsteiner, Posch and Delbruck, "A 128x128 120 dB 15 us Latency Asynchronous Temporal Contrast Vision Sensor",
        IEEE JSSC 2008; Hu, Liu and Delbruck, "v2e: From Video Frames to Realistic DVS Events", CVPRW 2021 (finite
        bandwidth, leak and shot noise); Graca, McReynolds and Delbruck, "Shining light on the DVS pixel", CVPRW 2023.

    Examples:
        >>> DvsParameters(threshold=0.15).refractory_us
        500
    """

    threshold: float = 0.22
    threshold_mismatch: float = 0.03
    leak_rate_hz: float = 0.1
    leak_mismatch: float = 0.1
    refractory_us: int = 500
    dark_lux: float = 0.4
    bandwidth_hz_per_lux: float = 20.0
    bandwidth_min_hz: float = 1.0
    bandwidth_max_hz: float = 150.0
    noise_rate_hz: float = 0.005
    noise_reference_lux: float = 200.0
    noise_exponent: float = 0.7
    noise_floor: float = 0.2
    noise_mismatch: float = 0.15
    hot_pixel_fraction: float = 0.0005
    hot_pixel_rate_hz: float = 3.0

    def __post_init__(self) -> None:
        above_zero = {"threshold", "dark_lux", "bandwidth_min_hz", "bandwidth_max_hz", "noise_reference_lux"}
        for field in fields(self):
            value = getattr(self, field.name)
            if not math.isfinite(value) or value < 0 or (value == 0 and field.name in above_zero):
                bound = "above 0" if field.name in above_zero else "of at least 0"
                raise ConfigError(f"{field.name} = {value}", expected=f"a finite value {bound}")
        if self.bandwidth_min_hz > self.bandwidth_max_hz:
            raise ConfigError(
                f"bandwidth_min_hz = {self.bandwidth_min_hz} and bandwidth_max_hz = {self.bandwidth_max_hz}",
                expected="the smallest cut-off frequency not above the largest",
            )
        if self.hot_pixel_fraction > 1:
            raise ConfigError(f"hot_pixel_fraction = {self.hot_pixel_fraction}", expected="a share between 0 and 1")

    @property
    def noiseless(self) -> "DvsParameters":
        """The same pixel without mismatch, leak, shot noise and hot pixels."""
        quiet = {
            name: 0.0
            for name in ("threshold_mismatch", "leak_rate_hz", "noise_rate_hz", "noise_mismatch", "hot_pixel_fraction")
        }
        return DvsParameters(**{**{f.name: getattr(self, f.name) for f in fields(self)}, **quiet})
