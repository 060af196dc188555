"""Polarity counts on a fixed time grid."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from snnfer.events import EventStream
from snnfer.representations._base import Representation, register_representation
from snnfer.representations._ranges import Box, check_box, count_windows, time_range, window_edges


@register_representation("count_frames")
@dataclass(frozen=True)
class CountFrames(Representation):
    r"""Number of ON and OFF events per pixel and time window.

    .. math::
        X_{k,c,i,j} = \#\{(t, x, y, p) : p = c,\; k = \lfloor (t - t_\text{start}) / \Delta t \rfloor,\;
        i = \lfloor H (y - y_0) / h \rfloor,\; j = \lfloor W (x - x_0) / w \rfloor\}

    for a box with corner :math:`(x_0, y_0)` and size :math:`w \times h`. Windows are half open; the last, incomplete
    one is kept. Every event inside the time range and the box is counted exactly once, also when the size changes, so
    the sum of the tensor is their number. Cropping, resizing and counting are one pass.

    Args:
        window_us: Length of a window in microseconds, :math:`\Delta t`.
        size: Height and width of the frames; None keeps those of the box or the sensor.
        n_steps: Fixed number of windows: fewer are padded with zeros, more are cut off. None takes as many as needed.

    Shape:
        - Input: an `EventStream`.
        - Output: :math:`(T, 2, H, W)`, float32, channel 0 OFF and channel 1 ON.

    Raises:
        SnnferError: a window, size or number of steps below 1.

    References:
        Mastropasqua et al., arXiv 2508.11988 (33 ms, 64 x 64 after a face crop).

    Examples:
        >>> from snnfer.events import EventStream
        >>> stream = EventStream.from_arrays(t=[0, 10, 25], x=[1, 2, 3], y=[0, 0, 1], p=[1, 0, 1], width=4, height=2)
        >>> CountFrames(window_us=20)(stream).shape
        torch.Size([2, 2, 2, 4])
        >>> CountFrames(window_us=20, size=(1, 1))(stream).flatten(1)  # rows are windows, columns OFF and ON
        tensor([[1., 1.],
                [0., 1.]])
        >>> frames, lengths = CountFrames(window_us=20).batch([stream, stream.slice_time(0, 20)])
        >>> frames.shape, lengths
        (torch.Size([2, 2, 2, 2, 4]), tensor([2, 1]))
    """

    @property
    def n_channels(self) -> int:
        """2: OFF and ON."""
        return 2

    @property
    def is_whole(self) -> bool:
        """Counts are whole numbers."""
        return True

    def __call__(
        self,
        stream: EventStream,
        *,
        t_start_us: int | None = None,
        t_end_us: int | None = None,
        box: Box | None = None,
    ) -> torch.Tensor:
        """Count the events.

        Args:
            stream: The events.
            t_start_us: Start of window 0 in microseconds, on the clock of the stream; default: the first event.
            t_end_us: Events at or after this time are left out; default: just after the last event.
            box: ``(x, y, width, height)`` in sensor pixels; parts outside the sensor stay 0. Default: the sensor.

        Returns:
            float32 ``[T, 2, H, W]``; T = 0 for a stream without events and without a time range.

        Raises:
            SnnferError: the box is empty or the range ends before it starts.
        """
        x, y, width, height = check_box(box, stream)
        out_height, out_width = self.size or (height, width)
        start_us, end_us = time_range(stream, t_start_us, t_end_us)
        valid = count_windows(start_us, end_us, self.window_us)
        n_steps = self.n_steps or valid
        edges = window_edges(stream.events["t"], start_us, end_us, self.window_us, min(valid, n_steps))
        events = stream.events[edges[0] : edges[-1]]
        column = _bins(stream.width, x, width, out_width)
        row = _bins(stream.height, y, height, out_height) * out_width
        frame_size = 2 * out_height * out_width
        index = row[events["y"]]
        index += column[events["x"]]
        index += events["p"] * np.int64(out_height * out_width)
        for k, (i, j) in enumerate(pairwise(edges)):
            index[i - edges[0] : j - edges[0]] += k * frame_size
        if x > 0 or y > 0 or x + width < stream.width or y + height < stream.height:
            index = index[index >= 0]
        counts = torch.from_numpy(np.zeros(n_steps * frame_size, dtype=np.float32))  # calloc: untouched pages are free
        counts.scatter_add_(0, torch.from_numpy(index), torch.ones(len(index)))
        return counts.view(n_steps, 2, out_height, out_width)  # [T, 2, H, W]


_OUTSIDE = -(1 << 40)  # beyond any index: negative whatever is added for the other axis, the polarity and the window


def _bins(sensor: int, start: int, extent: int, n_bins: int) -> np.ndarray:
    """Bin of each sensor coordinate along one axis, int64 ``[sensor]``; `_OUTSIDE` for those outside the box."""
    offset = np.arange(sensor, dtype=np.int64) - start
    return np.where((offset >= 0) & (offset < extent), offset * n_bins // extent, _OUTSIDE)
