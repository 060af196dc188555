"""Reading event files: whole (`read`) or in chunks of constant memory (`open`)."""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from snnfer.errors import EventFileError
from snnfer.events.formats.detect import open_source
from snnfer.events.formats.source import EventFileWarning, ReadOptions, Source, TimeUnit, TruncatedFileError
from snnfer.events.stream import (
    EVENT_DTYPE,
    SORT_FIX,
    EventStream,
    FrameStream,
    check_events,
    find_outside,
    outside_error,
)

DEFAULT_CHUNK = 1 << 18


class EventReader:
    """An open event file; a context manager made by `snnfer.events.open`.

    Attributes:
        format: Format in words, e.g. "AEDAT4".
        width: Sensor width in pixels.
        height: Sensor height in pixels.
        metadata: Metadata of snnfer's own files.
    """

    def __init__(self, source: Source, *, allow_truncated: bool, sort: bool) -> None:
        self._source = source
        self._allow_truncated = allow_truncated
        self._sort = sort
        self.path = source.path
        self.format = source.format
        self.width = source.width
        self.height = source.height
        self.metadata = source.metadata

    def __enter__(self) -> "EventReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file."""
        self._source.close()

    def chunks(self, n_events: int = DEFAULT_CHUNK) -> Iterator[np.ndarray]:
        """All events in order, `n_events` at a time (the last chunk is shorter), as arrays of `EVENT_DTYPE`.

        A reader opened with `sort` holds all events in memory to sort them.

        Raises:
            EventFileError: the file is damaged or cut, an event lies outside the sensor, or times go backwards.
        """
        n_read, last_us = 0, None
        chunks = _regroup(iter([self.join()]) if self._sort else self._packets(), n_events)
        for chunk in chunks:
            outside = find_outside(chunk["x"], chunk["y"], self.width, self.height)
            if len(outside):
                raise self._outside_error(chunk, outside, n_read, chunks)
            self._check(chunk, n_read, last_us)
            n_read, last_us = n_read + len(chunk), int(chunk["t"][-1])
            yield chunk

    def join(self) -> np.ndarray:
        """All events in order as one array of `EVENT_DTYPE`, not checked for places and order."""
        packets = list(self._packets())
        events = np.concatenate(packets) if packets else np.empty(0, dtype=EVENT_DTYPE)
        return events[np.argsort(events["t"], kind="stable")] if self._sort else events

    def frames(self, *, t_end_us: int | None = None) -> dict[str, FrameStream]:
        """Frames by name ("gray", "rgb", "depth"): all, or those before `t_end_us`, without reading the others."""
        return self._source.frames(t_end_us=t_end_us)

    def frame_counts(self) -> dict[str, int]:
        """Number of frames by name."""
        return self._source.frame_counts()

    def _packets(self) -> Iterator[np.ndarray]:
        n_events = 0
        try:
            for packet in self._source.packets():
                n_events += len(packet)
                yield packet
        except EventFileError as error:
            if str(self.path) in str(error):
                raise
            raise EventFileError(f"'{self.path}': {error}") from error
        except TruncatedFileError as cut:
            if not self._allow_truncated:
                raise EventFileError(
                    f"'{self.path}' is cut or damaged: {n_events:,} events can be read, then {cut.lost}",
                    cause="an interrupted copy or recording",
                    fix="copy it again, or read what is there with allow_truncated=True (--allow-truncated)",
                ) from cut
            warnings.warn(f"'{self.path}': {n_events:,} events read, then {cut.lost}", EventFileWarning, stacklevel=2)

    def _outside_error(
        self, chunk: np.ndarray, outside: np.ndarray, n_read: int, rest: Iterator[np.ndarray]
    ) -> EventFileError:
        """The error that counts the events outside the sensor in the whole file."""
        i = int(outside[0])
        first = (n_read + i, int(chunk["x"][i]), int(chunk["y"][i]))
        n_outside, n_events = len(outside), n_read + len(chunk)
        for later in rest:
            n_outside += len(find_outside(later["x"], later["y"], self.width, self.height))
            n_events += len(later)
        error = outside_error(n_outside, n_events, first, self.width, self.height)
        return EventFileError(f"'{self.path}': {error}")

    def _check(self, chunk: np.ndarray, n_read: int, last_us: int | None) -> None:
        try:
            check_events(chunk, self.width, self.height)
        except EventFileError as error:
            where = f"'{self.path}'" + (f" behind event {n_read:,}" if n_read else "")
            raise EventFileError(f"{where}: {error}") from None
        if last_us is not None and chunk["t"][0] < last_us:
            raise EventFileError(
                f"'{self.path}': event times go backwards at event {n_read:,} ({last_us} us, then {chunk['t'][0]} us)",
                expected="non-decreasing times",
                cause="merged or damaged recordings",
                fix=SORT_FIX,
            )


def open(
    path: str | os.PathLike[str],
    *,
    width: int | None = None,
    height: int | None = None,
    time_unit: TimeUnit | None = None,
    allow_truncated: bool = False,
    sort: bool = False,
) -> EventReader:
    """Open an event file for reading in chunks; arguments and errors as for `read`.

    Examples:
        >>> import tempfile
        >>> from snnfer.events import EventStream, write
        >>> path = Path(tempfile.mkdtemp()) / "clip.raw"
        >>> write(path, EventStream.from_arrays([0, 10, 25], [1, 2, 3], [0, 0, 1], [1, 0, 1], width=4, height=2))
        >>> with open(path) as reader:
        ...     reader.format, reader.width, [len(chunk) for chunk in reader.chunks(n_events=2)]
        ('RAW EVT3', 4, [2, 1])
    """
    source = open_source(Path(path), ReadOptions(width, height, time_unit))
    return EventReader(source, allow_truncated=allow_truncated, sort=sort)


def read(
    path: str | os.PathLike[str],
    *,
    width: int | None = None,
    height: int | None = None,
    time_unit: TimeUnit | None = None,
    allow_truncated: bool = False,
    sort: bool = False,
) -> EventStream:
    """Read a whole event file.

    Formats, found by content: AEDAT4 (with frames), Prophesee RAW (EVT2, EVT2.1, EVT3) and DAT, Event Stream, HDF5
    (snnfer, DSEC, v2e, Prophesee), text and CSV, N-MNIST .bin, ROS 1 bags of EventPacket. Coordinates have their
    origin top-left in all of them (Event Stream files are flipped).

    Args:
        path: The file.
        width: Sensor width in pixels, for files that do not say it.
        height: Sensor height in pixels, for files that do not say it.
        time_unit: Unit of the times in text files: "s", "ms" or "us". It is never guessed.
        allow_truncated: Deliver what lies before the cut of a damaged file, with a warning that says how much is lost.
            A RAW, DAT or text file that was cut between two events cannot be told from a whole one.
        sort: Accept events whose times go backwards and sort them (events of equal time keep their order).

    Raises:
        EventFileError: the file is missing, empty, cut or of an unknown format, does not say its sensor size or time
            unit, has an event outside the sensor, or times that go backwards.

    Examples:
        >>> import tempfile
        >>> from snnfer.events import EventStream, write
        >>> path = Path(tempfile.mkdtemp()) / "clip.aedat4"
        >>> write(path, EventStream.from_arrays([0, 10, 25], [1, 2, 3], [0, 0, 1], [1, 0, 1], width=4, height=2))
        >>> stream = read(path)
        >>> len(stream), stream.width, stream.events["t"]
        (3, 4, array([ 0, 10, 25]))
    """
    options: dict[str, Any] = {"width": width, "height": height, "time_unit": time_unit}
    with open(path, **options, allow_truncated=allow_truncated, sort=sort) as reader:
        events = reader.join()
        try:
            return EventStream(events, reader.width, reader.height, reader.frames(), reader.metadata)
        except EventFileError as error:
            raise EventFileError(f"'{path}': {error}") from None


def read_start(path: str | os.PathLike[str], duration_us: int, **options: Any) -> EventStream:
    """Read the beginning of an event file, with its frames, and no more than a chunk beyond.

    Args:
        path: The file.
        duration_us: How much, in microseconds after the first event.
        **options: As for `read`.

    Examples:
        >>> import tempfile
        >>> from snnfer.events import EventStream, write
        >>> path = Path(tempfile.mkdtemp()) / "clip.raw"
        >>> write(path, EventStream.from_arrays([5, 14, 25], [1, 2, 3], [0, 0, 1], [1, 0, 1], width=4, height=2))
        >>> read_start(path, 20).events["t"]
        array([ 5, 14])
    """
    kept: list[np.ndarray] = []
    with open(path, **options) as reader:
        for chunk in reader.chunks():
            kept.append(chunk)
            if chunk["t"][-1] >= kept[0]["t"][0] + duration_us:
                break
        events = np.concatenate(kept) if kept else np.empty(0, dtype=EVENT_DTYPE)
        end_us = int(events["t"][0]) + duration_us if len(events) else 0
        frames = reader.frames(t_end_us=end_us)
        return EventStream(events[events["t"] < end_us], reader.width, reader.height, frames, reader.metadata)


def _regroup(packets: Iterator[np.ndarray], n_events: int) -> Iterator[np.ndarray]:
    """The same events in arrays of exactly `n_events`, the last one shorter."""
    waiting: list[np.ndarray] = []
    n_waiting = 0
    for packet in packets:
        waiting.append(packet)
        n_waiting += len(packet)
        if n_waiting < n_events:
            continue
        events = np.concatenate(waiting)
        for start in range(0, n_waiting - n_events + 1, n_events):
            yield events[start : start + n_events]
        n_waiting %= n_events
        waiting = [events[len(events) - n_waiting :].copy()]
    if n_waiting:
        yield np.concatenate(waiting)
