"""Cutting a stream into slices that are not all of one length: equal shares of a time, or equal numbers of events."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from snnfer.errors import SnnferError
from snnfer.events import EventStream
from snnfer.representations._base import Representation
from snnfer.representations._ranges import Box


@dataclass(frozen=True)
class EventSlice:
    """Some consecutive events of a stream.

    Args:
        first: Index of its first event.
        stop: Index one past its last event.
        t_start_us: Where it begins.
        t_end_us: Where it ends; its last event lies before.
    """

    first: int
    stop: int
    t_start_us: int
    t_end_us: int


def uniform_edges(t_start_us: int, t_end_us: int, n_slices: int) -> np.ndarray:
    r"""Edges of `n_slices` slices of one length, rounded down to whole microseconds: int64 ``[n_slices + 1]``.

    .. math:: e_k = t_\text{start} + \lfloor k (t_\text{end} - t_\text{start}) / n \rfloor

    Raises:
        SnnferError: fewer than one slice, or an end before the start.

    Examples:
        >>> uniform_edges(0, 100, 3)
        array([  0,  33,  66, 100])
    """
    _check_slices(n_slices)
    if t_end_us < t_start_us:
        raise SnnferError(f"a time range from {t_start_us} us to {t_end_us} us", expected="an end after the start")
    return t_start_us + np.arange(n_slices + 1, dtype=np.int64) * (t_end_us - t_start_us) // n_slices


def count_edges(n_events: int, n_slices: int, *, slice_events: int) -> np.ndarray:
    r"""Edges of slices of `slice_events` events each, as positions among `n_events` events: int64 ``[n_slices + 1]``.

    Of the :math:`m = \lfloor N / e \rfloor` whole slices, the central `n_slices` are kept: those from
    :math:`\lfloor (m - n) / 2 \rfloor` on. Where there are fewer, all events are divided into `n_slices` slices of the
    same number of events, give or take one.

    Args:
        n_events: N, how many events there are.
        n_slices: n, how many slices are wanted.
        slice_events: e, events per slice.

    Raises:
        SnnferError: a number of slices or of events per slice below 1.

    References:
        Barchid et al., "Spiking-FER: Spiking Neural Network for Facial Expression Recognition With Event Cameras",
        CBMI 2023: 2500 events per slice.

    Examples:
        >>> count_edges(1050, 4, slice_events=100)  # ten whole slices: the fourth to the seventh
        array([300, 400, 500, 600, 700])
        >>> count_edges(10, 4, slice_events=100)
        array([ 0,  2,  5,  7, 10])
    """
    _check_slices(n_slices)
    if slice_events < 1:
        raise SnnferError(f"slices of {slice_events} events", expected="at least one event")
    k = np.arange(n_slices + 1, dtype=np.int64)
    n_whole = n_events // slice_events
    if n_whole < n_slices:
        return k * n_events // n_slices
    return ((n_whole - n_slices) // 2 + k) * slice_events


def slice_uniform(stream: EventStream, n_slices: int, *, t_start_us: int, t_end_us: int) -> list[EventSlice]:
    """The events of each of `n_slices` equal parts of a time; see `uniform_edges`."""
    times = [int(t) for t in uniform_edges(t_start_us, t_end_us, n_slices)]
    places = [bisect_left(stream.events["t"], t) for t in times]
    return [EventSlice(*events, *span) for events, span in zip(pairwise(places), pairwise(times), strict=True)]


def slice_by_count(
    stream: EventStream,
    n_slices: int,
    *,
    slice_events: int,
    t_start_us: int,
    t_end_us: int,
    box: Box | None = None,
) -> list[EventSlice]:
    """Slices of equal numbers of events inside `box`; see `count_edges`.

    A slice begins with its first event and ends just after its last. Events of one time may be divided between
    two slices.

    Args:
        stream: The events.
        n_slices: Number of slices.
        slice_events: Events inside the box per slice.
        t_start_us, t_end_us: Events outside this time are left out.
        box: ``(x, y, width, height)`` in sensor pixels; default: the sensor.
    """
    t = stream.events["t"]
    first, stop = bisect_left(t, t_start_us), bisect_left(t, t_end_us)
    inside = first + np.flatnonzero(_inside(stream.events[first:stop], box))
    slices, now_us = [], t_start_us
    for a, b in pairwise(count_edges(len(inside), n_slices, slice_events=slice_events)):
        if a == b:  # fewer events than slices
            place = int(inside[a]) if a < len(inside) else stop
            slices.append(EventSlice(place, place, now_us, now_us))
            continue
        i, j = int(inside[a]), int(inside[b - 1]) + 1
        now_us = int(t[j - 1]) + 1
        slices.append(EventSlice(i, j, int(t[i]), now_us))
    return slices


def represent_slices(
    representation: Representation,
    stream: EventStream,
    slices: Sequence[EventSlice],
    *,
    box: Box | None = None,
    t_origin_us: int | None = None,
) -> torch.Tensor:
    """Each slice as one step of a representation, whose window is as long as the slice: ``[n, C, H, W]``.

    Args:
        representation: Its own window and number of steps do not matter.
        stream: The events.
        slices: Of `stream`.
        box: As for the representation.
        t_origin_us: When the recording began, for representations of absolute time; default: the first slice's start.
    """
    origin: dict[str, Any] = {}
    if representation.needs_origin:
        origin["t_origin_us"] = slices[0].t_start_us if t_origin_us is None else t_origin_us
    steps = []
    for part in slices:
        end_us = max(part.t_end_us, part.t_start_us + 1)
        window = replace(representation, window_us=end_us - part.t_start_us, n_steps=1)
        events = replace(stream, events=stream.events[part.first : part.stop], frames={})
        steps.append(window(events, t_start_us=part.t_start_us, t_end_us=end_us, box=box, **origin))
    return torch.cat(steps)


def _inside(events: np.ndarray, box: Box | None) -> np.ndarray:
    if box is None:
        return np.ones(len(events), dtype=bool)
    left, top, width, height = box
    x, y = events["x"].astype(np.int64), events["y"].astype(np.int64)
    return (x >= left) & (x < left + width) & (y >= top) & (y < top + height)


def _check_slices(n_slices: int) -> None:
    if n_slices < 1:
        raise SnnferError(f"{n_slices} slices", expected="at least one")
