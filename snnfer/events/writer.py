"""Writing event files and converting between formats, exactly or not at all."""

import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from snnfer._files import atomic_path
from snnfer.errors import EventFileError
from snnfer.events import hdf5
from snnfer.events import reader as event_reader
from snnfer.events.formats import sensor_writers
from snnfer.events.formats.sensor_writers import RawEncoding
from snnfer.events.formats.source import EventFileWarning, TimeUnit
from snnfer.events.formats.text import write_text
from snnfer.events.stream import EventStream, FrameStream

WRITERS: dict[str, Callable[..., None]] = {
    ".aedat4": sensor_writers.write_aedat4,
    ".raw": sensor_writers.write_raw,
    ".dat": sensor_writers.write_dat,
    ".es": sensor_writers.write_es,
    ".csv": write_text,
}
HDF5_SUFFIXES = (".h5", ".hdf5")


def write(path: str | os.PathLike[str], stream: EventStream, *, encoding: RawEncoding = "evt3") -> None:
    """Write a stream in the format of the suffix; the file appears whole or not at all.

    ========== ======================================= =====================================================
    suffix     format                                  limits
    ========== ======================================= =====================================================
    .h5 .hdf5  snnfer's own HDF5                       none; the only one with frames and metadata
    .aedat4    AEDAT4                                  sides up to 32,767
    .raw       Prophesee RAW, EVT3 or EVT2             sides up to 2,048
    .dat       Prophesee DAT version 2                 sides up to 16,383; 71 minutes
    .es        Event Stream (dvs)                      times above 60 s move to 0 (a warning says by how much)
    .csv       text with a line that says size, unit   none
    ========== ======================================= =====================================================

    Args:
        path: Where to write.
        stream: What to write; frames that the format cannot hold are left out with a warning.
        encoding: Of RAW files.

    Raises:
        EventFileError: the suffix is unknown, or the format cannot hold the events exactly.

    Examples:
        >>> import tempfile
        >>> stream = EventStream.from_arrays(t=[0, 10], x=[1, 2], y=[0, 0], p=[1, 0], width=4, height=2)
        >>> path = Path(tempfile.mkdtemp()) / "clip.csv"
        >>> write(path, stream)
        >>> print(path.read_text())
        # snnfer-events version=1 width=4 height=2 time_unit=us
        t,x,y,p
        0,1,0,1
        10,2,0,0
        <BLANKLINE>
    """
    _write(path, [stream.events], stream.width, stream.height, stream.frames, stream.metadata, encoding)


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    width: int | None = None,
    height: int | None = None,
    time_unit: TimeUnit | None = None,
    allow_truncated: bool = False,
    sort: bool = False,
    encoding: RawEncoding = "evt3",
) -> int:
    """Convert one event file to the format of another's suffix, in constant memory (frames and `sort` apart).

    Args:
        source: File to read, with `width`, `height`, `time_unit`, `allow_truncated` and `sort` as in `read`.
        target: File to write, with `encoding` and limits as in `write`.
        width: Sensor width in pixels.
        height: Sensor height in pixels.
        time_unit: Unit of times in text files.
        allow_truncated: Convert what lies before a cut.
        sort: Sort events whose times go backwards, in memory.
        encoding: Of RAW files.

    Returns:
        The number of events, all of which are in the target.

    Raises:
        EventFileError: as for `read` and `write`, or source and target are the same file; nothing is written then.
    """
    if os.path.exists(source) and os.path.exists(target) and os.path.samefile(source, target):
        raise EventFileError(
            f"'{target}' is the file to convert itself", cause="the same path twice", fix="name another file to write"
        )
    options: dict[str, Any] = {"width": width, "height": height, "time_unit": time_unit}
    n_events = 0
    with event_reader.open(source, **options, allow_truncated=allow_truncated, sort=sort) as reader:

        def counted() -> Iterable[np.ndarray]:
            nonlocal n_events
            for chunk in reader.chunks():
                n_events += len(chunk)
                yield chunk

        _write(target, counted(), reader.width, reader.height, reader.frames(), reader.metadata, encoding)
    return n_events


def _write(
    path: str | os.PathLike[str],
    chunks: Iterable[np.ndarray],
    width: int,
    height: int,
    frames: Mapping[str, FrameStream],
    metadata: Mapping[str, Any],
    encoding: RawEncoding,
) -> None:
    suffix = Path(path).suffix.lower()
    if suffix in HDF5_SUFFIXES:
        hdf5.write_chunks(path, chunks, width, height, frames=frames, metadata=metadata)
        return
    if suffix not in WRITERS:
        raise EventFileError(
            f"'{path}' names no format to write", expected="a suffix of " + " ".join([*HDF5_SUFFIXES, *WRITERS])
        )
    if frames:
        warnings.warn(
            f"{suffix} files hold no frames: {', '.join(frames)} left out (.h5 keeps them)",
            EventFileWarning,
            stacklevel=3,
        )
    writer = partial(WRITERS[suffix], encoding=encoding) if suffix == ".raw" else WRITERS[suffix]
    with atomic_path(path) as temporary:
        writer(temporary, chunks, width, height)
