"""Windows of a recording, and the base of representations that draw one full-sensor image per window."""

from abc import abstractmethod
from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch.nn.functional import interpolate

from snnfer.errors import SnnferError
from snnfer.events import EventStream
from snnfer.representations._base import Box, Representation


def check_box(box: Box | None, stream: EventStream) -> Box:
    """The box, or that of the sensor; `SnnferError` if it is empty."""
    x, y, width, height = box or (0, 0, stream.width, stream.height)
    if width < 1 or height < 1:
        raise SnnferError(f"box = {box}", expected="a width and height of at least 1")
    return x, y, width, height


def time_range(stream: EventStream, t_start_us: int | None, t_end_us: int | None) -> tuple[int, int]:
    """Start and end in microseconds; by default from the first event to just after the last."""
    start = stream.t_start_us if t_start_us is None else int(t_start_us)
    after_last = stream.t_start_us + stream.duration_us + (len(stream) > 0)
    end = max(after_last, start) if t_end_us is None else int(t_end_us)
    if end < start:
        raise SnnferError(f"a time range from {start} us to {end} us", expected="an end that is not before the start")
    return start, end


def count_windows(start_us: int, end_us: int, window_us: int) -> int:
    """Number of windows, the last one possibly incomplete."""
    return -(-(end_us - start_us) // window_us)


def window_edges(t: np.ndarray, start_us: int, end_us: int, window_us: int, n_windows: int) -> list[int]:
    """Index of the first event of each window, and one past the last event; `t` is sorted."""
    starts = [min(start_us + k * window_us, end_us) for k in range(n_windows + 1)]
    return [bisect_left(t, time) for time in starts]


@dataclass(frozen=True)
class WindowImages(Representation):
    """Base of representations whose window is one image of the whole sensor, then cropped, then resized."""

    @abstractmethod
    def draw(self, image: np.ndarray, events: np.ndarray, *, start_us: int, origin_us: int) -> None:
        """Draw one window.

        Args:
            image: The whole sensor, filled with the background, float32 ``[C, height, width]``, contiguous; written to.
            events: At least one event, of `EVENT_DTYPE`.
            start_us: Start of the window.
            origin_us: Start of the recording.
        """

    def resize(self, images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Images ``[T, C, H, W]`` at another size; the nearest pixel, so that no new values appear."""
        return interpolate(images, size, mode="nearest")

    @property
    def background(self) -> float:
        """Value of a pixel in a window without events."""
        return 0.0

    def __call__(
        self,
        stream: EventStream,
        *,
        t_start_us: int | None = None,
        t_end_us: int | None = None,
        box: Box | None = None,
    ) -> torch.Tensor:
        """Draw the windows.

        Args:
            stream: The events.
            t_start_us: Start of window 0 in microseconds, on the clock of the stream; default: the first event.
            t_end_us: Events at or after this time are left out; default: just after the last event.
            box: ``(x, y, width, height)`` in sensor pixels; parts outside the sensor hold no events. Default: the
                sensor. The whole sensor is drawn first, then cropped.

        Returns:
            float32 ``[T, C, H, W]``; T = 0 for a stream without events and without a time range.

        Raises:
            SnnferError: the box is empty or the range ends before it starts.
        """
        return self._draw_windows(stream, t_start_us, t_end_us, box, origin_us=None)

    def count_steps(
        self,
        stream: EventStream,
        *,
        t_start_us: int | None = None,
        t_end_us: int | None = None,
        box: Box | None = None,
    ) -> int:
        """Number of windows that the time range fills, at most `n_steps`."""
        n_windows = count_windows(*time_range(stream, t_start_us, t_end_us), self.window_us)
        return min(n_windows, self.n_steps) if self.n_steps else n_windows

    def _draw_windows(
        self,
        stream: EventStream,
        t_start_us: int | None,
        t_end_us: int | None,
        box: Box | None,
        origin_us: int | None,
    ) -> torch.Tensor:
        left, top, width, height = check_box(box, stream)
        start_us, end_us = time_range(stream, t_start_us, t_end_us)
        valid = count_windows(start_us, end_us, self.window_us)
        n_steps = self.n_steps or valid
        edges = window_edges(stream.events["t"], start_us, end_us, self.window_us, min(valid, n_steps))
        images = np.zeros((n_steps, self.n_channels, height, width), np.float32)  # calloc: untouched pages are free
        if self.background:
            images[:valid] = self.background
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + width, stream.width), min(top + height, stream.height)
        is_sensor = (left, top, width, height) == (0, 0, stream.width, stream.height)
        for k, (i, j) in enumerate(pairwise(edges)):
            if i == j or x0 >= x1 or y0 >= y1:
                continue
            shape = (self.n_channels, stream.height, stream.width)
            image = images[k] if is_sensor else np.full(shape, self.background, np.float32)
            window_us = start_us + k * self.window_us
            self.draw(
                image, stream.events[i:j], start_us=window_us, origin_us=start_us if origin_us is None else origin_us
            )
            if not is_sensor:
                images[k, :, y0 - top : y1 - top, x0 - left : x1 - left] = image[:, y0:y1, x0:x1]
        out = torch.from_numpy(images)
        if self.size and self.size != (height, width) and n_steps:
            out = self.resize(out, self.size)
        elif self.size:
            out = out.reshape(n_steps, self.n_channels, *self.size)  # [T, C, H, W]
        return out
