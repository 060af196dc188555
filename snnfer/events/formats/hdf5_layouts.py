"""HDF5 files: snnfer's own layout, DSEC's, v2e's ``events`` [N, 4], and Prophesee's CD tables."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from snnfer.errors import EventFileError
from snnfer.events.formats.source import ReadOptions, Source, pack, resolve_size
from snnfer.events.hdf5 import DAMAGE, DAMAGE_FIX, FORMAT_NAME, iter_chunks, open_hdf5, read_frames, read_header
from snnfer.events.stream import FrameStream, unify_polarity

MAGIC = b"\x89HDF\r\n\x1a\n"
CHUNK_EVENTS = 1 << 18
DSEC_SIZE = (640, 480)


class Hdf5Source(Source):
    """An HDF5 file of any of the layouts above; the layout is found by its data sets."""

    def __init__(self, path: Path, options: ReadOptions) -> None:
        self._file = open_hdf5(path)
        try:
            name, size, metadata = self._find_layout(path)
            super().__init__(path, name, *resolve_size(path, size, options), metadata=metadata)
        except DAMAGE as error:
            raise EventFileError(
                f"'{path}' cannot be read as HDF5 ({error})", cause="a damaged file", fix=DAMAGE_FIX
            ) from error
        finally:
            if not self.format:
                self._file.close()

    def _find_layout(self, path: Path) -> tuple[str, tuple[int, int] | None, dict[str, Any]]:
        file = self._file
        self._packets: Callable[[], Iterator[np.ndarray]]
        if file.attrs.get("format") == FORMAT_NAME:
            width, height, metadata = read_header(file, path)
            self._packets = lambda: iter_chunks(file, n_events=CHUNK_EVENTS)
            return "HDF5 (snnfer)", (width, height), metadata
        if _is_dataset(file, "events") and file["events"].ndim == 2 and file["events"].shape[1] == 4:
            self._packets = self._table_packets
            return "HDF5 (v2e)", None, {}
        if all(_is_dataset(file, f"events/{name}") for name in "txyp"):
            is_dsec = "t_offset" in file and "ms_to_idx" in file
            self._packets = self._column_packets
            return "HDF5 (DSEC)" if is_dsec else "HDF5 (columns)", DSEC_SIZE if is_dsec else None, {}
        if _is_dataset(file, "CD/events"):
            self._packets = self._record_packets
            geometry = str(file.attrs.get("geometry", "")).lower().partition("x")
            size = (int(geometry[0]), int(geometry[2])) if geometry[0].isdigit() and geometry[2].isdigit() else None
            return "HDF5 (Prophesee)", size, {}
        raise EventFileError(
            f"'{path}' is HDF5, but holds no events where snnfer looks for them",
            expected="/events/t,x,y,p (snnfer, DSEC), /events [N, 4] (v2e) or /CD/events (Prophesee)",
        )

    def packets(self) -> Iterator[np.ndarray]:
        """Events in blocks."""
        try:
            yield from self._packets()
        except DAMAGE as error:
            raise EventFileError(
                f"'{self.path}' cannot be decompressed ({error})",
                cause="a damaged file, or Prophesee's ECF compression, which has no Python codec",
                fix=f"{DAMAGE_FIX}; for ECF, convert the file to RAW or DAT with Prophesee's tools",
            ) from error

    def _column_packets(self) -> Iterator[np.ndarray]:
        offset = int(self._file["t_offset"][()]) if "t_offset" in self._file else 0
        t, x, y, p = (self._file[f"events/{name}"] for name in "txyp")
        for start in range(0, len(t), CHUNK_EVENTS):
            part = slice(start, start + CHUNK_EVENTS)
            yield pack(t[part].astype(np.int64) + offset, x[part], y[part], unify_polarity(p[part]))

    def _table_packets(self) -> Iterator[np.ndarray]:
        table = self._file["events"]
        for start in range(0, len(table), CHUNK_EVENTS):
            rows = table[start : start + CHUNK_EVENTS]
            yield pack(rows[:, 0], rows[:, 1], rows[:, 2], unify_polarity(rows[:, 3].astype(np.int64)))

    def _record_packets(self) -> Iterator[np.ndarray]:
        table = self._file["CD/events"]
        for start in range(0, len(table), CHUNK_EVENTS):
            rows = table[start : start + CHUNK_EVENTS]
            yield pack(rows["t"], rows["x"], rows["y"], unify_polarity(rows["p"]))

    def frames(self, *, t_end_us: int | None = None) -> dict[str, FrameStream]:
        """Frames of snnfer's own layout."""
        try:
            return read_frames(self._file, t_end_us=t_end_us) if self.format == "HDF5 (snnfer)" else {}
        except DAMAGE as error:
            raise EventFileError(
                f"'{self.path}' has unreadable frames ({error})", cause="a damaged file", fix=DAMAGE_FIX
            ) from error

    def frame_counts(self) -> dict[str, int]:
        """Number of frames by name."""
        groups = self._file.get("frames", {}) if self.format == "HDF5 (snnfer)" else {}
        return {name: len(group["t_us"]) for name, group in groups.items()}

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _is_dataset(file: Any, name: str) -> bool:
    return name in file and hasattr(file[name], "shape")
