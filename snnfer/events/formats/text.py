"""Text: four columns t, x, y, p, separated by spaces or commas.

snnfer's own CSV begins with ``# snnfer-events version=1 width=346 height=260 time_unit=us`` and a line of column names;
any other text needs its time unit (and sensor size) from the caller, because neither can be known from the numbers.
"""

import re
import warnings
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np

from snnfer.errors import EventFileError
from snnfer.events.formats.source import ReadOptions, Source, pack, resolve_size
from snnfer.events.stream import MAX_SIZE, find_outside, unify_polarity

MAGIC = "# snnfer-events"
US_PER_UNIT = {"s": 1_000_000, "ms": 1_000, "us": 1}
CHUNK_ROWS = 1 << 16
BAD_ROW = (ValueError, DeprecationWarning)
MAX_QUOTE = 60
COLUMN_NAMES = {
    "t": "t", "t_us": "t", "time": "t", "timestamp": "t", "ts": "t",
    "x": "x", "y": "y",
    "p": "p", "pol": "p", "polarity": "p", "on": "p",
}  # fmt: skip


class TextSource(Source):
    """A text file of events."""

    def __init__(self, path: Path, options: ReadOptions) -> None:
        with path.open("r", encoding="utf-8", errors="replace") as file:
            lines = [file.readline() for _ in range(2)]
        own = dict(re.findall(r"(\w+)=(\w+)", lines[0])) if lines[0].startswith(MAGIC) else {}
        if own and not all(own.get(name, "").isdigit() for name in ("width", "height")):
            raise EventFileError(f"'{path}' has a damaged first line {lines[0].strip()!r}")
        known = (int(own["width"]), int(own["height"])) if own else None
        pair = re.fullmatch(r"\s*(\d+)[\s,]+(\d+)\s*", lines[0])  # a first line "240 180" is the sensor size
        if pair:
            known = (int(pair[1]), int(pair[2]))
        self.n_skipped = 1 if own or pair else 0
        super().__init__(path, "CSV (snnfer)" if own else "text", *resolve_size(path, known, options))
        self.separator = "," if "," in lines[self.n_skipped] else None
        names = [name.strip().lower() for name in re.split(r"[,\s]+", lines[self.n_skipped].strip("# \n"))]
        has_names = bool(names) and all(name in COLUMN_NAMES for name in names)
        self.n_skipped += has_names
        self.columns = [COLUMN_NAMES[name] for name in names] if has_names else ["t", "x", "y", "p"]
        unit = own.get("time_unit") or options.time_unit
        if unit not in US_PER_UNIT:
            raise EventFileError(
                f"'{path}' is text that does not say the unit of its times",
                expected="s, ms or us",
                fix="give it: time_unit='s' in Python, --time-unit s on the command line",
            )
        self.unit = unit

    def packets(self) -> Iterator[np.ndarray]:
        """Events in blocks of rows."""
        types = {"t": np.int64 if self.unit == "us" else np.float64, "x": np.int64, "y": np.int64, "p": np.int64}
        dtype = np.dtype([(name, types[name]) for name in self.columns])
        with self.path.open("r", encoding="utf-8", errors="replace") as file:
            for numbers, lines in _blocks(file, self.n_skipped):
                try:
                    rows = self._parse(lines, dtype)
                except BAD_ROW as error:
                    raise self._row_error(numbers, lines, dtype) from error
                yield self._pack(rows, numbers)

    def _parse(self, lines: list[str], dtype: np.dtype) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # numpy 1.26 rounds 0.5 to 0 with this one
            return np.loadtxt(lines, dtype=dtype, delimiter=self.separator, comments="#", ndmin=1)

    def _row_error(self, numbers: list[int], lines: list[str], dtype: np.dtype) -> EventFileError:
        """The error that quotes the first line that cannot be parsed, found by halving the block."""
        low, high = 0, len(lines)  # it is in lines[low:high]
        while high - low > 1:
            middle = (low + high) // 2
            try:
                self._parse(lines[low:middle], dtype)
                low = middle
            except BAD_ROW:
                high = middle
        text = lines[low].strip()
        quoted = repr(text if len(text) <= MAX_QUOTE else text[:MAX_QUOTE] + "...")
        return EventFileError(
            f"line {numbers[low]:,} of '{self.path}' is {quoted}",
            expected=f"four numbers: {' '.join(self.columns)}"
            + (" with whole microseconds" if self.unit == "us" else ""),
            cause="another column order, a cut line or a wrong time unit",
        )

    def _pack(self, rows: np.ndarray, numbers: list[int]) -> np.ndarray:
        t = rows["t"] if self.unit == "us" else np.rint(rows["t"] * US_PER_UNIT[self.unit]).astype(np.int64)
        outside = find_outside(rows["x"], rows["y"], MAX_SIZE, MAX_SIZE)
        if len(outside):
            i = outside[0]
            raise EventFileError(
                f"line {numbers[i]:,} of '{self.path}' says x={rows['x'][i]}, y={rows['y'][i]}",
                expected=f"coordinates from 0 to {MAX_SIZE - 1}",
                cause="another column order or a damaged file",
                fix="put the columns in the order t x y p, or name them in the first line",
            )
        return pack(t, rows["x"], rows["y"], unify_polarity(rows["p"]))


def _blocks(file: TextIO, n_skipped: int) -> Iterator[tuple[list[int], list[str]]]:
    """Lines that hold events and their numbers in the file, `CHUNK_ROWS` at a time."""
    numbered = islice(enumerate(file, start=1), n_skipped, None)
    rows = ((number, line) for number, line in numbered if line.strip() and not line.lstrip().startswith("#"))
    while block := list(islice(rows, CHUNK_ROWS)):
        yield [number for number, _ in block], [line for _, line in block]


def write_text(path: Path, chunks: Iterable[np.ndarray], width: int, height: int) -> None:
    """Write snnfer's own CSV."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(f"{MAGIC} version=1 width={width} height={height} time_unit=us\nt,x,y,p\n")
        for chunk in chunks:
            for start in range(0, len(chunk), CHUNK_ROWS):
                rows = chunk[start : start + CHUNK_ROWS]
                numbers = np.stack([rows[name].astype(np.int64) for name in ("t", "x", "y", "p")], axis=1)
                file.write("%d,%d,%d,%d\n" * len(rows) % tuple(numbers.ravel().tolist()))
