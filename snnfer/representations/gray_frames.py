"""Events of both polarities in one grey image per window."""

from dataclasses import dataclass, field

import numpy as np
import torch

from snnfer.errors import SnnferError
from snnfer.events import EventStream
from snnfer.representations._base import register_representation
from snnfer.representations._ranges import Box
from snnfer.representations.count_frames import CountFrames


@register_representation("gray_frames")
@dataclass(frozen=True)
class GrayFrames(CountFrames):
    r"""Number of events per pixel and window, whatever their polarity, in `n_channels` equal channels.

    .. math:: X_{k,c} = N_{k,\text{OFF}} + N_{k,\text{ON}}

    where :math:`N` are the frames of `CountFrames`: every event inside the time range and the box is counted once per
    channel, also when the size changes. Three channels fit networks for photographs.

    Args:
        window_us: Length of a window in microseconds.
        size: Height and width of the frames; None keeps those of the box or the sensor.
        n_steps: Fixed number of windows: fewer are padded with zeros, more are cut off. None takes as many as needed.
        n_channels: Equal channels, 3 as in CS3D.

    Shape:
        - Input: an `EventStream`.
        - Output: :math:`(T, C, H, W)`, float32, C = `n_channels`.

    Raises:
        SnnferError: a window, size, number of steps or of channels below 1.

    References:
        CS3D: clips of v2e events as 16 grey images of 112 x 112; that both polarities are added is inferred.

    Examples:
        >>> from snnfer.events import EventStream
        >>> stream = EventStream.from_arrays(t=[0, 10, 25], x=[1, 1, 3], y=[0, 0, 1], p=[1, 0, 1], width=4, height=2)
        >>> GrayFrames(window_us=100)(stream)[0, 0]
        tensor([[0., 2., 0., 0.],
                [0., 0., 0., 1.]])
    """

    n_channels: int = field(default=3, kw_only=True)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        super().__post_init__()
        n = self.n_channels
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
            raise SnnferError(f"n_channels = {n}", expected="a whole number of at least 1")

    def __call__(
        self,
        stream: EventStream,
        *,
        t_start_us: int | None = None,
        t_end_us: int | None = None,
        box: Box | None = None,
    ) -> torch.Tensor:
        """Count the events; see `CountFrames`."""
        counts = super().__call__(stream, t_start_us=t_start_us, t_end_us=t_end_us, box=box)
        return counts.sum(1, keepdim=True).repeat(1, self.n_channels, 1, 1)  # [T, C, H, W]
