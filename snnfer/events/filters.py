"""Filters: pure functions from a stream to a stream with some of its events; frames and metadata stay."""

from dataclasses import replace

import numpy as np

from snnfer.errors import SnnferError
from snnfer.events.stream import EventStream


def keep_time(stream: EventStream, t0_us: int, t1_us: int) -> EventStream:
    """Events and frames with ``t0_us <= t < t1_us``; the same as `EventStream.slice_time`."""
    return stream.slice_time(t0_us, t1_us)


def keep_region(stream: EventStream, x: int, y: int, width: int, height: int) -> EventStream:
    """Events inside a box, with coordinates and sensor size as before (`EventStream.crop` changes them).

    Examples:
        >>> stream = EventStream.from_arrays(t=[0, 1], x=[1, 3], y=[0, 1], p=[1, 0], width=4, height=2)
        >>> keep_region(stream, 2, 0, 2, 2).events["x"]
        array([3], dtype=uint16)
    """
    column, row = stream.events["x"].astype(np.int64) - x, stream.events["y"].astype(np.int64) - y
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return replace(stream, events=stream.events[inside])


def apply_refractory(stream: EventStream, period_us: int) -> EventStream:
    """Drop events that follow the last kept event of the same pixel by less than `period_us`.

    Args:
        stream: The events; both polarities of a pixel share one refractory period.
        period_us: Refractory period in microseconds, above 0.

    Examples:
        >>> stream = EventStream.from_arrays(t=[0, 5, 12], x=[1, 1, 1], y=[0, 0, 0], p=[1, 1, 0], width=4, height=2)
        >>> apply_refractory(stream, 10).events["t"]
        array([ 0, 12])
    """
    if period_us <= 0:
        raise SnnferError(f"period_us = {period_us}", expected="a value above 0 us")
    pixel = stream.events["y"].astype(np.int64) * stream.width + stream.events["x"]
    order = np.argsort(pixel, kind="stable")
    pixel, t = pixel[order], stream.events["t"][order]
    ends = np.flatnonzero(np.diff(pixel, append=-1)) + 1  # end of each pixel's run in sorted order
    # One search key that grows with pixel and time: each step jumps, in all pixels at once, to the next kept event.
    span = int(t.max() - t.min()) + int(period_us) + 1 if len(t) else 1
    rank = np.cumsum(np.diff(pixel, prepend=-1) != 0) - 1
    key = rank * span + (t - t.min() if len(t) else t)
    kept = np.zeros(len(t), dtype=bool)
    current = np.concatenate([[0], ends[:-1]]) if len(t) else np.empty(0, dtype=np.int64)
    while len(current):
        kept[current] = True
        following = np.searchsorted(key, key[current] + int(period_us))
        current = following[following < ends[rank[current]]]
    chosen = np.zeros(len(t), dtype=bool)
    chosen[order] = kept
    return replace(stream, events=stream.events[chosen])


def find_hot_pixels(stream: EventStream, *, factor: float = 10.0) -> np.ndarray:
    """Pixels that fire far more than the others.

    Args:
        stream: The events.
        factor: A pixel is hot if its count exceeds `factor` times the 99th percentile of the counts of active pixels.

    Returns:
        bool ``[height, width]``.

    Raises:
        SnnferError: `factor` is not above 1.
    """
    if not factor > 1:
        raise SnnferError(f"factor = {factor}", expected="a value above 1")
    pixel = stream.events["y"].astype(np.int64) * stream.width + stream.events["x"]
    counts = np.bincount(pixel, minlength=stream.width * stream.height)
    active = counts[counts > 0]
    limit = factor * np.percentile(active, 99) if len(active) else np.inf
    return (counts > limit).reshape(stream.height, stream.width)


def drop_hot_pixels(stream: EventStream, *, factor: float = 10.0) -> EventStream:
    """Drop all events of the pixels that `find_hot_pixels` names."""
    hot = find_hot_pixels(stream, factor=factor)
    return replace(stream, events=stream.events[~hot[stream.events["y"], stream.events["x"]]])
