"""The base of representations that draw one full-sensor image per window."""

from abc import abstractmethod
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch.nn.functional import interpolate

from snnfer.events import EventStream
from snnfer.representations._base import Representation
from snnfer.representations._ranges import Box, check_box, count_windows, time_range, window_edges


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
