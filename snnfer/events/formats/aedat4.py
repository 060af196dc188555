"""AEDAT4 (iniVation): events and frames; faery decodes, and a cut file still gives what lies before the cut."""

import os
import shutil
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from snnfer._optional import require
from snnfer.errors import EventFileError
from snnfer.events.formats.source import (
    ReadOptions,
    Source,
    TruncatedFileError,
    decoder_errors,
    guarded,
    pack,
    percent_lost,
    resolve_size,
)
from snnfer.events.stream import FrameStream

MAGIC = b"#!AER-DAT4.0\r\n"
FRAME_NAMES = {"L": "gray", "I;16": "gray", "RGB": "rgb", "RGBA": "rgb"}


class Aedat4Source(Source):
    """An AEDAT4 file; of several event streams the first is read."""

    def __init__(self, path: Path, options: ReadOptions) -> None:
        self._copy: str | None = None
        self._end = read_table_position(path)
        decoder = self._open(path)
        tracks = [track for track in decoder.tracks() if track.data_type == "events"]
        if not tracks:
            raise EventFileError(f"'{path}' holds no event stream")
        self._track = tracks[0].id
        self._has_frames = any(track.data_type == "frame" for track in decoder.tracks())
        super().__init__(path, "AEDAT4", *resolve_size(path, tracks[0].dimensions, options))

    def packets(self) -> Iterator[np.ndarray]:
        """Events of the first event stream."""
        for track, packet in self._walk():
            if track.id == self._track:
                yield pack(packet["t"], packet["x"], packet["y"], packet["p"])
        if self._copy:
            raise TruncatedFileError("the index at the end of the file is incomplete (no event is missing)")

    def frames(self, *, t_end_us: int | None = None) -> dict[str, FrameStream]:
        """Frames as "gray" or "rgb"; their time is the middle of the exposure as the camera software gives it."""
        kept: dict[str, list[tuple[int, np.ndarray]]] = {}
        for frame in self._walk_frames():
            if t_end_us is not None and frame.t >= t_end_us:
                break
            pixels = np.asarray(frame.pixels)
            name = FRAME_NAMES[frame.format]
            kept.setdefault(name, []).append((frame.t, pixels[..., :3] if name == "rgb" else pixels.squeeze()))
        items = kept.items()
        try:
            return {name: FrameStream(np.array([t for t, _ in f]), np.stack([i for _, i in f])) for name, f in items}
        except ValueError as error:
            raise EventFileError(f"'{self.path}' holds frames of different sizes ({error})") from error

    def frame_counts(self) -> dict[str, int]:
        """Number of frames by name."""
        counts: dict[str, int] = {}
        for frame in self._walk_frames():
            counts[FRAME_NAMES[frame.format]] = counts.get(FRAME_NAMES[frame.format], 0) + 1
        return counts

    def close(self) -> None:
        """Remove the working copy of a file without index."""
        if self._copy:
            os.unlink(self._copy)
            self._copy = None

    def _open(self, path: Path) -> Any:
        aedat = require("faery", extra="data").aedat
        try:
            with decoder_errors(path):
                return aedat.Decoder(path)
        except EventFileError:
            if not 0 < self._end < path.stat().st_size:
                raise
        # All packets are there and only the index behind them is cut, which the decoder refuses: work on the packets.
        handle, self._copy = tempfile.mkstemp(suffix=".aedat4")
        os.close(handle)
        shutil.copyfile(path, self._copy)
        os.truncate(self._copy, self._end)
        with decoder_errors(path):
            return aedat.Decoder(self._copy)

    def _walk(self) -> Iterator[tuple[Any, Any]]:
        """Packets of all tracks; `TruncatedFileError` where decoding stops."""
        decoder = require("faery", extra="data").aedat.Decoder(self._copy or self.path)
        n_packets = 0
        try:
            for track, packet in guarded(decoder, self.path):
                n_packets += 1
                yield track, packet
        except EventFileError as error:
            raise TruncatedFileError(self._lost(n_packets)) from error

    def _walk_frames(self) -> Iterator[Any]:
        if not self._has_frames:
            return
        try:
            yield from (packet for track, packet in self._walk() if track.data_type == "frame")
        except TruncatedFileError:
            return  # said once, by the events

    def _lost(self, n_packets: int) -> str:
        """Clause that says how much of the file lies behind the first `n_packets` packets."""
        size = self.path.stat().st_size
        with self.path.open("rb") as file:
            position = len(MAGIC) + 4 + struct.unpack("<I", file.read(len(MAGIC) + 4)[-4:])[0]
            for _ in range(n_packets):
                file.seek(position + 4)
                position += 8 + struct.unpack("<i", file.read(4))[0]
        if self._end > 0:
            return percent_lost(position, max(self._end, size))
        return f"the recording was never closed and its last {size - position:,} bytes are incomplete"


def read_table_position(path: Path) -> int:
    """Where the index behind the packets begins, from the header; -1 if the recorder never wrote it.

    The header (a flatbuffer with fields compression, position and description) is checked on the way, because the
    decoding library ends the whole process on some damaged ones.
    """
    with path.open("rb") as file:
        head = file.read(len(MAGIC) + 4)
        data = file.read(struct.unpack("<I", head[-4:])[0]) if len(head) == len(MAGIC) + 4 else b""
    try:
        root = struct.unpack_from("<I", data, 0)[0]
        vtable = root - struct.unpack_from("<i", data, root)[0]
        n_fields = struct.unpack_from("<H", data, vtable)[0] // 2 - 2
        offsets = struct.unpack_from(f"<{n_fields}H", data, vtable + 4)
        _, position, description = (root + offset if offset else 0 for offset in (*offsets, 0, 0)[:3])
        start = description + struct.unpack_from("<I", data, description)[0]
        text = data[start + 4 : start + 4 + struct.unpack_from("<I", data, start)[0]]
        ElementTree.fromstring(text.decode("utf-8"))
        return struct.unpack_from("<q", data, position)[0] if position else -1
    except (struct.error, ValueError, ElementTree.ParseError) as error:
        raise EventFileError(
            f"'{path}' has a damaged AEDAT4 header ({error})", cause="a cut or overwritten copy", fix="copy it again"
        ) from error
