"""What is in an event file, found in one pass of constant memory."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from snnfer.events import reader as event_reader

PEAK_WINDOW_US = 10_000


@dataclass(frozen=True)
class EventSummary:
    """Facts about one event file.

    Args:
        path: The file.
        format: Format in words.
        width: Sensor width in pixels.
        height: Sensor height in pixels.
        n_events: Number of events.
        t_start_us: Time of the first event in microseconds.
        duration_us: Time from the first to the last event in microseconds.
        on_share: ON events / all events; 0 without events.
        mean_rate_hz: Events per second over the duration; 0 for a duration of 0.
        peak_rate_hz: Events per second in the busiest window of 10 ms, on a grid that begins at the first event.
        n_frames: Number of frames by name.
    """

    path: str
    format: str
    width: int
    height: int
    n_events: int
    t_start_us: int
    duration_us: int
    on_share: float
    mean_rate_hz: float
    peak_rate_hz: float
    n_frames: dict[str, int]


def summarise(path: str | os.PathLike[str], **options: Any) -> EventSummary:
    """Read a file once, chunk by chunk.

    Args:
        path: The file.
        options: `width`, `height`, `time_unit`, `allow_truncated`, `sort` as in `snnfer.events.read`.

    Raises:
        EventFileError: as for `snnfer.events.read`.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from snnfer.events import EventStream, write
        >>> path = Path(tempfile.mkdtemp()) / "clip.dat"
        >>> write(path, EventStream.from_arrays([0, 10, 20_000], [1, 2, 3], [0, 0, 1], [1, 0, 1], width=4, height=2))
        >>> summary = summarise(path)
        >>> summary.format, summary.n_events, summary.duration_us, summary.mean_rate_hz, summary.peak_rate_hz
        ('DAT', 3, 20000, 150.0, 200.0)
    """
    n_events = n_on = first_us = last_us = peak = 0
    window, in_window = 0, 0  # the last window seen and its count, carried from chunk to chunk
    with event_reader.open(path, **options) as reader:
        for chunk in reader.chunks():
            first_us = int(chunk["t"][0]) if n_events == 0 else first_us
            windows, counts = np.unique((chunk["t"] - first_us) // PEAK_WINDOW_US, return_counts=True)
            counts[0] += in_window if windows[0] == window else 0
            window, in_window, peak = windows[-1], counts[-1], max(peak, int(counts.max()))
            n_events += len(chunk)
            n_on += int(chunk["p"].sum())
            last_us = int(chunk["t"][-1])
        duration_us = last_us - first_us
        return EventSummary(
            path=str(path),
            format=reader.format,
            width=reader.width,
            height=reader.height,
            n_events=n_events,
            t_start_us=first_us,
            duration_us=duration_us,
            on_share=n_on / n_events if n_events else 0.0,
            mean_rate_hz=n_events / duration_us * 1e6 if duration_us else 0.0,
            peak_rate_hz=peak / PEAK_WINDOW_US * 1e6,
            n_frames=reader.frame_counts(),
        )
