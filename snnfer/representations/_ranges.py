"""Boxes, time ranges and windows of a recording: what all representations cut a stream by."""

from bisect import bisect_left

import numpy as np

from snnfer.errors import SnnferError
from snnfer.events import EventStream

Box = tuple[int, int, int, int]
"""A box in sensor pixels: x, y of the top-left corner, width, height."""


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
