"""N-MNIST and N-Caltech101 .bin files: 40 bits an event.

Bytes: x, y, then 1 bit polarity and 23 bits time in microseconds. Source: Orchard et al., "Converting static image
datasets to spiking neuromorphic datasets using saccades", Front. Neurosci. 2015.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from snnfer.events.formats.source import ReadOptions, Source, TruncatedFileError, pack, resolve_size

EVENT_BYTES = 5
CHUNK_EVENTS = 1 << 18
SIZE = (34, 34)
OVERFLOW_ROW = 240  # an event in this row is no pixel: the 13-bit counter of the sensor ran over
OVERFLOW_US = 1 << 13


class NmnistSource(Source):
    """A .bin file; 34x34 pixels unless the caller says otherwise."""

    def __init__(self, path: Path, options: ReadOptions) -> None:
        size = SIZE if options.width is None else None
        super().__init__(path, "N-MNIST", *resolve_size(path, size, options))

    def packets(self) -> Iterator[np.ndarray]:
        """Events in blocks."""
        overflows = 0
        with self.path.open("rb") as file:
            while data := file.read(EVENT_BYTES * CHUNK_EVENTS):
                rows = np.frombuffer(data[: len(data) // EVENT_BYTES * EVENT_BYTES], np.uint8).reshape(-1, EVENT_BYTES)
                t = ((rows[:, 2] & 127).astype(np.int64) << 16) | (rows[:, 3].astype(np.int64) << 8) | rows[:, 4]
                overflow = rows[:, 1] == OVERFLOW_ROW if self.height <= OVERFLOW_ROW else np.zeros(len(rows), bool)
                t += OVERFLOW_US * (overflows + np.cumsum(overflow))
                overflows += int(overflow.sum())
                kept = ~overflow
                yield pack(t[kept], rows[kept, 0], rows[kept, 1], rows[kept, 2] >> 7)
        rest = self.path.stat().st_size % EVENT_BYTES
        if rest:
            raise TruncatedFileError(f"the last event has {rest} of {EVENT_BYTES} bytes")
