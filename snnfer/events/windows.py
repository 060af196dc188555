"""Windows of equal length, cut from chunks of events as they come: memory holds one window and one chunk."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator

import numpy as np

from snnfer.errors import SnnferError
from snnfer.events.stream import EVENT_DTYPE


def split_windows(chunks: Iterable[np.ndarray], window_us: int) -> Iterator[np.ndarray]:
    r"""Events of each whole window of a recording, one window after the other.

    .. math:: W_k = \{e : t_0 + k \Delta t \le t_e < t_0 + (k + 1) \Delta t\}

    with the time :math:`t_0` of the first event. A window is given as soon as an event at or behind its end is known;
    the last, incomplete one is left out. A window without events is an empty array.

    Args:
        chunks: Arrays of `EVENT_DTYPE` in order of time, of any length, as `EventReader.chunks` gives them.
        window_us: Length of a window in microseconds, :math:`\Delta t`.

    Raises:
        SnnferError: a window below 1 microsecond.

    Examples:
        >>> from snnfer.events import EventStream
        >>> events = EventStream.from_arrays([5, 9, 14, 40, 45], [0] * 5, [0] * 5, [1] * 5, width=1, height=1).events
        >>> [window["t"].tolist() for window in split_windows([events[:2], events[2:]], window_us=10)]
        [[5, 9, 14], [], [], [40]]
    """
    if window_us < 1:
        raise SnnferError(f"window_us = {window_us}", expected="a whole number of at least 1")
    waiting = np.empty(0, dtype=EVENT_DTYPE)  # events of the window that is not complete yet
    end_us: int | None = None
    for chunk in chunks:
        if not len(chunk):
            continue
        if end_us is None:
            end_us = int(chunk["t"][0]) + window_us
        first, last_us = 0, int(chunk["t"][-1])
        while end_us <= last_us:
            stop = bisect_left(chunk["t"], end_us, lo=first)
            part = chunk[first:stop]
            yield np.concatenate([waiting, part]) if len(waiting) else part
            waiting, first, end_us = waiting[:0], stop, end_us + window_us
        waiting = np.concatenate([waiting, chunk[first:]])
