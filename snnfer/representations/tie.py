"""Temporal information of events (TIE): one three-channel image per window, made from nine time bins."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch.nn.functional import interpolate

from snnfer._check import check_choice
from snnfer.errors import ConfigError
from snnfer.events import EventStream
from snnfer.representations._base import register_representation
from snnfer.representations._kernels import PiecewiseLinear, est_kernel, kernel_of_file, triangle
from snnfer.representations._ranges import Box
from snnfer.representations._windows import WindowImages

N_BINS = 9
CENTRES = np.arange(N_BINS) / (N_BINS - 1)
LOW_BINS = (6, 3)  # of the bins of OFF and ON events, so many belong to the lower of the two channels
PERCENTILES = (1, 99)


@register_representation("tie")
@dataclass(frozen=True)
class TIE(WindowImages):
    r"""Temporal information of events: three channels of whole values 0 to 255 per window.

    .. math::
        V_\pm(x, y, t_i) = \sum_k f(g_k)\, \kappa(g_k - t_i)\, \delta(x - x_k, y - y_k, p_k = \pm), \quad
        t_i = i / 8, \; i = 0 \ldots 8

    where the measure :math:`f` and the kernel's time :math:`g` are each either :math:`t`, seconds since the recording
    began (float32), or :math:`t_0 = (t - t_\text{min}) / (t_\text{max} - t_\text{min})` inside the window. The 18 maps,
    nine of OFF before nine of ON events, are added in groups of six to :math:`E_c`, and

    .. math::
        \text{TIE}_c = \Big\lfloor 255\, \text{clip}\Big(
        \frac{E_c - P_1(E_c)}{P_{99}(E_c) - P_1(E_c)}, 0, 1\Big) \Big\rfloor

    with nearest-rank percentiles (rank :math:`1 + \text{round}(q / 100 \cdot (HW - 1))`) over the **whole sensor**, per
    channel. Only then is the box cut out (0 outside the sensor) and resized. Channel 0 thus holds OFF events of bins 0
    to 5, channel 1 OFF events of bins 6 to 8 and ON events of bins 0 to 2, channel 2 ON events of bins 3 to 8. Where
    :math:`P_{99} = P_1`, values above it become 255 and the others 0. A window without events is 0 everywhere.

    Time zero of :math:`t` is ``t_start_us`` of the call (by default the first event) unless ``t_origin_us`` says when
    the recording began. With kernel "t", only the bins nearest to that time respond up to 1.07 s, and later none: what
    remains is the tail of the kernel's network, and images are the count of events weighted almost evenly.

    What is inferred, because the papers leave it open: the default variant t0_t (measure t0 in kernel t; the columns of
    the paper's tables are ambiguous, the authors' code has it active), the kernel "est" (their code uses the network
    that EST ships, which is a fit for 15 bins, and never trains it), percentiles per channel, :math:`t_0 = 1` if all
    events of a window have one time, and the result where the percentiles coincide. The authors resize with a Lanczos
    filter and store JPEG files; here the filter is bilinear with anti-aliasing, rounded to whole values, without JPEG.
    :math:`t_0` is computed from microseconds, which are whole numbers, not from float32 seconds.

    Args:
        window_us: Length of a window in microseconds, 1/30 s.
        size: Height and width of the images; None keeps those of the box or the sensor.
        n_steps: Fixed number of windows: fewer are padded with zeros, more are cut off. None takes as many as needed.
        measure: What an event adds, "t0" or "t".
        kernel: Time inside the kernel, "t" or "t0".
        kernel_shape: "est", a triangle of half width 1/14 inside [-1, 1] and, outside, the straight lines measured on
            the network that EST ships; "triangular", a triangle of half width 1/8, which gives no image after 1.125 s.
        weights: A ``trilinear_init.pth`` from the repository of EST; its network is then the kernel, exactly. Needed to
            compare images of kernel "t" with published ones.

    Shape:
        - Input: an `EventStream`.
        - Output: :math:`(T, 3, H, W)`, float32, whole values 0 to 255.

    Raises:
        SnnferError: a window, size or number of steps below 1, or an unknown measure, kernel or shape.
        ConfigError: `weights` together with the shape "triangular".
        CheckpointError: `weights` is missing or holds something else.

    References:
        "evTransFER: A Transfer Learning Framework for Event-based Facial Expression Recognition", eq. (4)-(8); kernel:
        Gehrig et al., "End-to-End Learning of Representations for Asynchronous Event-Based Data", ICCV 2019.

    Examples:
        >>> stream = EventStream.from_arrays(t=[0, 10, 20], x=[1, 2, 3], y=[0, 0, 1], p=[1, 0, 1], width=4, height=2)
        >>> tie = TIE()
        >>> tie.variant, tie(stream).shape
        ('t0_t', torch.Size([1, 3, 2, 4]))
        >>> tie(stream)[0, 0]  # the OFF event, early
        tensor([[  0.,   0., 255.,   0.],
                [  0.,   0.,   0.,   0.]])
    """

    window_us: int = 33_333
    measure: Literal["t", "t0"] = field(default="t0", kw_only=True)
    kernel: Literal["t", "t0"] = field(default="t", kw_only=True)
    kernel_shape: Literal["est", "triangular"] = field(default="est", kw_only=True)
    weights: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.measure, ("t", "t0"), name="measure")
        check_choice(self.kernel, ("t", "t0"), name="kernel")
        check_choice(self.kernel_shape, ("est", "triangular"), name="kernel_shape")
        if self.weights is not None:
            object.__setattr__(self, "weights", str(self.weights))
            if self.kernel_shape != "est":
                raise ConfigError(
                    "weights and kernel_shape = 'triangular'", expected="one of them", fix="leave one out"
                )
            kernel_of_file(str(self.weights))

    @property
    def variant(self) -> str:
        """Name of the variant, measure before kernel: "t_t", "t_t0", "t0_t" or "t0_t0"."""
        return f"{self.measure}_{self.kernel}"

    @property
    def n_channels(self) -> int:
        """3: early OFF, late OFF with early ON, late ON."""
        return 3

    @property
    def value_range(self) -> tuple[float, float]:
        """0 to 255."""
        return (0.0, 255.0)

    @property
    def offset_scale(self) -> tuple[float, float]:
        """Networks see -1 to 1."""
        return (127.5, 127.5)

    @property
    def is_whole(self) -> bool:
        """True: grey levels."""
        return True

    @property
    def needs_origin(self) -> bool:
        """True unless measure and kernel are both "t0"."""
        return self.variant != "t0_t0"

    def __call__(
        self,
        stream: EventStream,
        *,
        t_start_us: int | None = None,
        t_end_us: int | None = None,
        box: Box | None = None,
        t_origin_us: int | None = None,
    ) -> torch.Tensor:
        """Draw the windows.

        Args:
            stream: The events.
            t_start_us: Start of window 0 in microseconds, on the clock of the stream; default: the first event.
            t_end_us: Events at or after this time are left out; default: just after the last event.
            box: ``(x, y, width, height)`` in sensor pixels; parts outside the sensor stay 0. Default: the sensor.
                Percentiles are those of the whole sensor.
            t_origin_us: When the recording began, the zero of t; default: the start of window 0.

        Returns:
            float32 ``[T, 3, H, W]``; T = 0 for a stream without events and without a time range.

        Raises:
            SnnferError: the box is empty or the range ends before it starts.
        """
        return self._draw_windows(stream, t_start_us, t_end_us, box, t_origin_us)

    def draw(self, image: np.ndarray, events: np.ndarray, *, start_us: int, origin_us: int) -> None:
        """Draw one window of the whole sensor; see `WindowImages.draw`."""
        height, width = image.shape[1:]
        sums = self.add_events(events, width, height, origin_us=origin_us)
        for channel, total in zip(image.reshape(3, -1), sums, strict=True):
            to_grey_levels(total, channel)

    def add_events(self, events: np.ndarray, width: int, height: int, *, origin_us: int) -> np.ndarray:
        """The sums :math:`E_c` of one window before they become grey levels, float64 ``[3, height * width]``."""
        times = {"t": ((events["t"] - origin_us) * 1e-6).astype(np.float32), "t0": relative_times(events["t"])}
        measure, time = times[self.measure], times[self.kernel]
        is_on = events["p"].astype(bool)
        index = is_on * np.int64(width * height)  # the lower of the two channels that the event touches
        index += events["y"].astype(np.int64) * width
        index += events["x"]
        low, high = (
            np.where(is_on, of_on(time), of_off(time)) * measure
            for of_off, of_on in channel_kernels(self.kernel_shape, self.weights)
        )
        n_pixels = width * height
        sums = np.bincount(
            np.concatenate([index, index + n_pixels]), np.concatenate([low, high]), minlength=3 * n_pixels
        )
        return sums.reshape(3, n_pixels)

    def resize(self, images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Images at another size: bilinear with anti-aliasing, rounded to whole values."""
        return interpolate(images, size, mode="bilinear", antialias=True).round_()


def relative_times(t_us: np.ndarray) -> np.ndarray:
    """Sorted times as a share of the way from the first to the last, 0 to 1; all 1 if they are one time."""
    span = int(t_us[-1]) - int(t_us[0])
    return (t_us - t_us[0]) / span if span else np.ones(len(t_us))


def to_grey_levels(sums: np.ndarray, levels: np.ndarray) -> None:
    """Write whole values 0 to 255 of one channel into `levels`: from the 1st to the 99th percentile, truncated."""
    active = np.flatnonzero(sums != 0)  # on bools: five times faster than on floats
    values = sums[active]
    low, high = (nearest_rank(values, len(sums), q) for q in PERCENTILES)

    def level(x: np.ndarray) -> np.ndarray:
        if high == low:
            return np.where(x > low, 255.0, 0.0)
        return np.floor(np.clip(255 * (x - low) / (high - low), 0, 255))

    levels[:] = level(np.zeros(1))
    levels[active] = level(values)


def nearest_rank(values: np.ndarray, n: int, q: float) -> float:
    """Percentile of n numbers of which `values` are those that differ from 0."""
    rank = round(0.01 * q * (n - 1))  # from 0
    n_below, n_zeros = int(np.count_nonzero(values < 0)), n - len(values)
    if n_below <= rank < n_below + n_zeros:
        return 0.0
    position = rank if rank < n_below else rank - n_zeros
    return float(np.partition(values, position)[position])


KernelPair = tuple[PiecewiseLinear, PiecewiseLinear]
_EST, _TRIANGULAR = est_kernel(), triangle(1 / (N_BINS - 1))


def channel_kernels(shape: str, weights: str | None) -> tuple[KernelPair, KernelPair]:
    """Kernels summed over the bins of a channel: of (OFF, ON) events for the lower channel, then for the upper."""
    return _sum_kernel(kernel_of_file(weights) if weights else {"est": _EST, "triangular": _TRIANGULAR}[shape])


@lru_cache(maxsize=8)
def _sum_kernel(kernel: PiecewiseLinear) -> tuple[KernelPair, KernelPair]:
    off, on = LOW_BINS
    low = kernel.summed(CENTRES[:off]), kernel.summed(CENTRES[:on])
    return low, (kernel.summed(CENTRES[off:]), kernel.summed(CENTRES[on:]))
