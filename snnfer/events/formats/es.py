"""Event Stream files (.es), of types dvs and atis; their y axis points up, ours down."""

from collections.abc import Iterator
from pathlib import Path

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
    resolve_size,
)

MAGIC = b"Event Stream"
DVS_HEADER_BYTES = 20
OVERFLOW_US = 127  # one byte 0xFF stands for this much time without events


class EsSource(Source):
    """An Event Stream file; faery decodes."""

    def __init__(self, path: Path, options: ReadOptions) -> None:
        with decoder_errors(path):
            decoder = require("faery", extra="data").es.Decoder(path, 0)
        if decoder.event_type not in ("dvs", "atis"):
            raise EventFileError(f"'{path}' holds events of type '{decoder.event_type}'", expected="dvs or atis events")
        self.event_type = decoder.event_type
        super().__init__(path, f"ES {decoder.event_type}", *resolve_size(path, decoder.dimensions, options))

    def packets(self) -> Iterator[np.ndarray]:
        """Change events (of atis files, without the exposure measurements)."""
        decoder = require("faery", extra="data").es.Decoder(self.path, 0)
        n_bytes, last = DVS_HEADER_BYTES, 0
        for packet in guarded(decoder, self.path):
            events = packet[~packet["exposure"]] if self.event_type == "atis" else packet
            polarity = events["polarity"] if self.event_type == "atis" else events["p"]
            packed = pack(events["t"], events["x"], self.height - 1 - events["y"], polarity)
            if len(packed) == 0:
                continue
            n_bytes += 5 * len(packed) + int((np.diff(packed["t"], prepend=last) // OVERFLOW_US).sum())
            last = packed["t"][-1]
            yield packed
        if self.event_type == "dvs":
            self._check_end(n_bytes)

    def _check_end(self, n_bytes: int) -> None:
        """A dvs event takes 5 bytes and one for each overflow; other bytes behind the last are a cut event."""
        with self.path.open("rb") as file:
            file.seek(n_bytes)
            rest = file.read(5).lstrip(b"\xff")
        if 0 < len(rest) < 5:
            raise TruncatedFileError("the last event is incomplete, so the end of the recording is missing")
