"""Event spike tensor (EST) with a fixed kernel."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from snnfer._check import check_choice
from snnfer.errors import ConfigError, SnnferError
from snnfer.representations._base import register_representation
from snnfer.representations._kernels import kernel_of_file
from snnfer.representations._windows import WindowImages

SHIPPED_BINS = 15
"""Bins of the triangle that the shipped value layer was fitted to."""


@register_representation("est")
@dataclass(frozen=True)
class EST(WindowImages):
    r"""Event spike tensor: per polarity and time bin, the sum of the events' times weighted by a kernel.

    .. math::
        V(c, i, y, x) = \sum_k t^*_k\, \kappa\Big(t^*_k - \frac{i}{C - 1}\Big)\,
        \delta(x - x_k, y - y_k, c - c_k), \quad i = 0 \ldots C - 1

    A sample is one window: :math:`t^* = t / \max t` with :math:`t` counted from the start of the window, not from its
    first event, and the maximum over the window's events on the whole sensor. :math:`t^* = 1` if all of them lie on
    the start. The kernel is a triangle of height 1, in closed form: every event touches two bins at most.
    `LearnedEST` is the same with the trainable network in its place.

    Args:
        window_us: Length of a window in microseconds.
        n_bins: Time bins per polarity, C, at least 2.
        size: Height and width of the frames (nearest pixel); None keeps those of the box or the sensor.
        n_steps: Fixed number of windows: fewer are padded with zeros, more are cut off. None takes as many as needed.
        kernel_shape: "est", half width 1/14 whatever the bins, as in the network that the authors ship (a fit for 15
            bins, which they also use with 9); "triangular", half width :math:`1 / (C - 1)`.
        weights: A ``trilinear_init.pth`` from the repository of EST; its network is then the kernel, exactly.

    Shape:
        - Input: an `EventStream`.
        - Output: :math:`(T, 2C, H, W)`, float32; bins of OFF events before those of ON events.

    Raises:
        SnnferError: a window, size or number of steps below 1, fewer than 2 bins, or an unknown shape of the kernel.
        ConfigError: `weights` together with the shape "triangular".
        CheckpointError: `weights` is missing or holds something else.

    References:
        Gehrig et al., "End-to-End Learning of Representations for Asynchronous Event-Based Data", ICCV 2019, section 3.

    Examples:
        >>> from snnfer.events import EventStream
        >>> stream = EventStream.from_arrays(t=[0, 5, 10], x=[1, 1, 3], y=[0, 0, 1], p=[1, 0, 1], width=4, height=2)
        >>> voxels = EST(window_us=100)(stream)
        >>> voxels.shape
        torch.Size([1, 18, 2, 4])
        >>> voxels[0, :9, 0, 1]  # OFF, half way
        tensor([0.0000, 0.0000, 0.0000, 0.0000, 0.5000, 0.0000, 0.0000, 0.0000, 0.0000])
    """

    window_us: int = 33_333
    n_bins: int = 9
    kernel_shape: Literal["est", "triangular"] = field(default="est", kw_only=True)
    weights: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.n_bins, bool) or not isinstance(self.n_bins, int | np.integer) or self.n_bins < 2:
            raise SnnferError(f"n_bins = {self.n_bins}", expected="a whole number of at least 2")
        check_choice(self.kernel_shape, ("est", "triangular"), name="kernel_shape")
        if self.weights is not None:
            object.__setattr__(self, "weights", str(self.weights))
            if self.kernel_shape != "est":
                raise ConfigError(
                    "weights and kernel_shape = 'triangular'", expected="one of them", fix="leave one out"
                )
            kernel_of_file(str(self.weights))

    @property
    def n_channels(self) -> int:
        """Twice the number of bins: OFF, then ON."""
        return 2 * self.n_bins

    @property
    def value_range(self) -> tuple[float, float]:
        """From 0 without bound; without bounds for the network of a file, which falls below 0."""
        return (0.0 if self.weights is None else float("-inf"), float("inf"))

    def draw(self, image: np.ndarray, events: np.ndarray, *, start_us: int, origin_us: int) -> None:
        """Draw one window of the whole sensor; see `WindowImages.draw`."""
        height, width = image.shape[1:]
        last = int(events["t"][-1]) - start_us
        time = (events["t"] - start_us) / last if last else np.ones(len(events))
        index = (events["p"].astype(np.int64) * (self.n_bins * height) + events["y"]) * width + events["x"]  # bin 0
        flat = torch.from_numpy(image.reshape(-1))
        for bins, weight in self._touched(time):
            src = torch.from_numpy((weight * time).astype(np.float32))
            flat.scatter_add_(0, torch.from_numpy(index + bins * (height * width)), src)

    def _touched(self, time: np.ndarray) -> Iterator[tuple[np.ndarray | int, np.ndarray]]:
        """Bins that each event touches with their weights, two at most where the kernel allows, else all."""
        gaps = self.n_bins - 1
        if self.weights is not None:
            kernel = kernel_of_file(self.weights)
            return ((i, kernel(time - i / gaps)) for i in range(self.n_bins))
        slope = gaps if self.kernel_shape == "triangular" else SHIPPED_BINS - 1
        if slope < gaps:
            return ((i, _triangle(time - i / gaps, slope)) for i in range(self.n_bins))
        lower = np.minimum((time * gaps).astype(np.int64), gaps - 1)
        return ((lower + i, _triangle(time - (lower + i) / gaps, slope)) for i in (0, 1))


def _triangle(distance: np.ndarray, slope: int) -> np.ndarray:
    return np.maximum(0, 1 - slope * np.abs(distance))
