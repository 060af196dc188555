"""From the events of one window to the input of a network, as `ClipInput` and `TrainedModel.normalise` give it."""

from dataclasses import replace

import numpy as np
import torch

from snnfer.datasets.manifest import Box
from snnfer.events import EVENT_DTYPE, EventStream
from snnfer.representations import CountFrames
from snnfer.representations._ranges import check_box
from snnfer.training.checkpoint import TrainedModel

LARGEST_COUNT = 255  # as in `ClipInput`, which stores counts in 8 bits


def make_frames(trained: TrainedModel, *, width: int, height: int, box: Box | None) -> "WindowFrames":
    """What draws the windows of a recording for `trained`; `SnnferError` if the box is empty."""
    check_box(box, EventStream(np.empty(0, dtype=EVENT_DTYPE), width, height))
    kind = CountedFrames if type(trained.input.event_representation) is CountFrames else WindowFrames
    return kind(trained, width=width, height=height, box=box)


class WindowFrames:
    """Draws windows with any representation.

    Args:
        trained: For whose network.
        width, height: Size of the sensor.
        box: Face box in sensor pixels; None takes the whole sensor.
    """

    def __init__(self, trained: TrainedModel, *, width: int, height: int, box: Box | None) -> None:
        self._trained = trained
        self._reader = replace(trained.input, n_steps=1)
        self._width, self._height, self._box = width, height, box

    def __call__(self, events: np.ndarray, *, t_start_us: int, t_origin_us: int) -> torch.Tensor:
        """Normalised input ``[C, H, W]`` of the events of the window that begins at `t_start_us`."""
        stream = EventStream(events, self._width, self._height)
        x = self._reader(stream, t_start_us=t_start_us, n_valid=1, box=self._box, t_origin_us=t_origin_us)
        return self._trained.normalise(x[:, None])[0, 0]

    def holds_events(self, events: np.ndarray) -> bool:
        """Whether any of the events lies inside the box."""
        if self._box is None:
            return len(events) > 0
        left, top, width, height = self._box
        x, y = events["x"].astype(np.int64), events["y"].astype(np.int64)
        return bool(np.any((x >= left) & (x < left + width) & (y >= top) & (y < top + height)))


class CountedFrames(WindowFrames):
    """`CountFrames` of one window after the other into the same memory, with its tables made once."""

    def __init__(self, trained: TrainedModel, *, width: int, height: int, box: Box | None) -> None:
        super().__init__(trained, width=width, height=height, box=box)
        out_height, out_width = trained.input.size
        left, top, box_width, box_height = box or (0, 0, width, height)
        self._plane = out_height * out_width
        self._column = _places(width, left, box_width, out_width, outside=2 * self._plane)
        row = _places(height, top, box_height, out_height, outside=2 * self._plane)
        self._row = np.where(row < out_height, row * out_width, 2 * self._plane)
        self._frame = torch.zeros(2, out_height, out_width)
        self._counts = self._frame.view(-1).numpy()
        self._is_normal = set(trained.mean) == {0.0} and set(trained.std) == {1.0}

    def __call__(self, events: np.ndarray, *, t_start_us: int, t_origin_us: int) -> torch.Tensor:
        """Normalised counts ``[2, H, W]``; the next window overwrites them."""
        index = self._row[events["y"]]
        index += self._column[events["x"]]
        index += events["p"] * np.int64(self._plane)
        counts = np.bincount(index, minlength=2 * self._plane)[: 2 * self._plane]  # what is outside lies behind
        np.minimum(counts, LARGEST_COUNT, out=self._counts, casting="unsafe")
        return self._frame if self._is_normal else self._trained.normalise(self._frame[None, None])[0, 0]


def _places(sensor: int, start: int, extent: int, n_bins: int, *, outside: int) -> np.ndarray:
    """Bin of each sensor coordinate along one axis, int64 ``[sensor]``; `outside` for those outside the box."""
    offset = np.arange(sensor, dtype=np.int64) - start
    return np.where((offset >= 0) & (offset < extent), offset * n_bins // extent, outside)
