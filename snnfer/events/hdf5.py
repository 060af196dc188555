"""snnfer's own event file (HDF5): exact, compact, seekable, the same bytes for the same content.

Layout, version 1: root attributes ``format = "snnfer-events"``, ``version``, ``width``, ``height`` and ``metadata``
(JSON); data sets ``/events/t`` (int64, microseconds), ``/events/x``, ``/events/y`` (uint16), ``/events/p`` (uint8) in
chunks of 65,536, and for each kind of frame ``/frames/<name>/t_us`` and ``/frames/<name>/images`` (one frame a chunk).
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from snnfer._files import atomic_path
from snnfer._optional import require
from snnfer.errors import EventFileError
from snnfer.events.stream import EVENT_DTYPE, EventStream, FrameStream

FORMAT_NAME = "snnfer-events"
VERSION = 1
CHUNK_EVENTS = 65536
DAMAGE = (OSError, RuntimeError, KeyError, ValueError)
"""What h5py raises for damaged files."""
DAMAGE_FIX = "copy the file again, or record it again if the original is damaged too"


def write_hdf5(path: str | os.PathLike[str], stream: EventStream) -> None:
    """Write a stream with its frames and metadata; the file appears whole or not at all.

    Raises:
        EventFileError: the metadata cannot be written as JSON.

    Examples:
        >>> import tempfile
        >>> stream = EventStream.from_arrays(t=[0, 10], x=[1, 2], y=[0, 0], p=[1, 0], width=4, height=2)
        >>> path = Path(tempfile.mkdtemp()) / "clip.h5"
        >>> write_hdf5(path, stream)
        >>> read_hdf5(path).events["t"]
        array([ 0, 10])
    """
    write_chunks(path, [stream.events], stream.width, stream.height, frames=stream.frames, metadata=stream.metadata)


def write_chunks(
    path: str | os.PathLike[str],
    chunks: Iterable[np.ndarray],
    width: int,
    height: int,
    *,
    frames: Mapping[str, FrameStream] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write events that arrive in chunks (arrays of `EVENT_DTYPE`, checked by the caller) in constant memory."""
    h5py = require("h5py", extra="data")
    try:
        text = json.dumps(dict(metadata or {}), sort_keys=True)
    except (TypeError, ValueError) as error:
        raise EventFileError(
            f"metadata that JSON cannot hold ({error})", fix="keep to numbers, text and lists"
        ) from None
    options = {**_compression(), "track_times": False}
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update({"format": FORMAT_NAME, "version": VERSION, "width": width, "height": height})
        file.attrs["metadata"] = text
        columns = {
            name: file.create_dataset(
                f"events/{name}", (0,), EVENT_DTYPE[name], maxshape=(None,), chunks=(CHUNK_EVENTS,), **options
            )
            for name in ("t", "x", "y", "p")
        }
        for chunk in _whole_chunks(chunks):
            for name, column in columns.items():
                column.resize(len(column) + len(chunk), axis=0)
                column[-len(chunk) :] = chunk[name]
        for name, stream in (frames or {}).items():
            file.create_dataset(f"frames/{name}/t_us", data=stream.t_us, track_times=False)
            shape = stream.images.shape[1:]
            chunk_shape = (1, *shape) if len(stream) else None
            images = {**options, "chunks": chunk_shape} if len(stream) else {"track_times": False}
            file.create_dataset(f"frames/{name}/images", data=stream.images, **images)


def read_hdf5(path: str | os.PathLike[str]) -> EventStream:
    """Read a file of `write_hdf5`.

    Raises:
        EventFileError: the file is missing, damaged or of another layout.
    """
    try:
        with open_hdf5(path) as file:
            width, height, metadata = read_header(file, path)
            chunks = list(iter_chunks(file, n_events=max(len(file["events/t"]), 1)))
            events = chunks[0] if chunks else np.empty(0, dtype=EVENT_DTYPE)
            return EventStream(events, width, height, read_frames(file), metadata)
    except DAMAGE as error:
        raise EventFileError(
            f"'{path}' cannot be read as HDF5 ({error})", cause="a damaged file", fix=DAMAGE_FIX
        ) from error


def open_hdf5(path: str | os.PathLike[str]) -> Any:
    """An open `h5py.File`, for reading; compressed data sets can be read."""
    h5py = require("h5py", extra="data")
    require("hdf5plugin", extra="data")
    if not Path(path).is_file():
        raise EventFileError(f"no file '{path}'", fix="check the path")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise EventFileError(
            f"'{path}' cannot be opened as HDF5 ({error})",
            cause="a truncated copy or another format",
            fix=DAMAGE_FIX,
        ) from error


def read_header(file: Any, path: str | os.PathLike[str]) -> tuple[int, int, dict[str, Any]]:
    """Sensor width, height and metadata; raises `EventFileError` for another layout or a newer version."""
    if file.attrs.get("format") != FORMAT_NAME or "events/t" not in file:
        raise EventFileError(f"'{path}' is HDF5, but not of snnfer's layout", fix="read it with snnfer.events.read")
    if file.attrs["version"] > VERSION:
        raise EventFileError(
            f"'{path}' has version {file.attrs['version']} of the layout",
            expected=f"at most {VERSION}",
            fix="update snnfer",
        )
    return int(file.attrs["width"]), int(file.attrs["height"]), json.loads(file.attrs["metadata"])


def iter_chunks(file: Any, *, n_events: int) -> Iterator[np.ndarray]:
    """Events of an open file of snnfer's layout, `n_events` at a time."""
    columns = {name: file[f"events/{name}"] for name in ("t", "x", "y", "p")}
    for start in range(0, len(columns["t"]), n_events):
        stop = min(start + n_events, len(columns["t"]))
        chunk = np.empty(stop - start, dtype=EVENT_DTYPE)
        for name, column in columns.items():
            chunk[name] = column[start:stop]
        yield chunk


def read_frames(file: Any, *, t_end_us: int | None = None) -> dict[str, FrameStream]:
    """Frames of an open file of snnfer's layout; only those before `t_end_us` if it is given."""
    frames = {}
    for name, group in file.get("frames", {}).items():
        t_us = group["t_us"][:]
        n = len(t_us) if t_end_us is None else int(np.searchsorted(t_us, t_end_us))
        frames[name] = FrameStream(t_us[:n], group["images"][:n])
    return frames


def _compression() -> dict[str, Any]:
    blosc = require("hdf5plugin", extra="data").Blosc
    return dict(blosc(cname="zstd", clevel=5, shuffle=blosc.BITSHUFFLE))


def _whole_chunks(chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Regroup into arrays of whole file chunks, so that no file chunk is compressed twice."""
    rest = np.empty(0, dtype=EVENT_DTYPE)
    for chunk in chunks:
        rest = np.concatenate([rest, chunk]) if len(rest) else chunk
        whole = len(rest) // CHUNK_EVENTS * CHUNK_EVENTS
        if whole:
            yield rest[:whole]
            rest = rest[whole:]
    if len(rest):
        yield rest
