"""Prophesee RAW (EVT2, EVT2.1, EVT3) and DAT files: headers, reading and writing."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snnfer._optional import require
from snnfer.errors import EventFileError
from snnfer.events.formats.evt21 import decode_evt21
from snnfer.events.formats.source import (
    ReadOptions,
    Source,
    TruncatedFileError,
    decoder_errors,
    guarded,
    pack,
    resolve_size,
)

RAW_VERSIONS = {
    "EVT2": "evt2",
    "EVT2.0": "evt2",
    "EVT21": "evt2.1",
    "EVT2.1": "evt2.1",
    "EVT3": "evt3",
    "EVT3.0": "evt3",
}
WORD_BYTES = {"evt2": 4, "evt2.1": 8, "evt3": 2}


@dataclass(frozen=True)
class Header:
    """Lines ``% key value`` at the start of a file, keys in lower case, and their length in bytes."""

    fields: dict[str, str]
    n_bytes: int

    @property
    def size(self) -> tuple[int, int] | None:
        """Sensor width and height, if the header has them."""
        format_fields = dict(part.split("=", 1) for part in self.fields.get("format", "").split(";") if "=" in part)
        fields = {**self.fields, **format_fields}
        geometry = re.fullmatch(r"(\d+)x(\d+)", fields.get("geometry", ""))
        pair = geometry.groups() if geometry else (fields.get("width", ""), fields.get("height", ""))
        return (int(pair[0]), int(pair[1])) if all(value.isdigit() for value in pair) else None

    @property
    def raw_version(self) -> str | None:
        """ "evt2", "evt2.1" or "evt3"; None if the header names none of them."""
        name = self.fields.get("format", "").split(";")[0].upper() or "EVT" + self.fields.get("evt", "")
        return RAW_VERSIONS.get(name)


def parse_header(head: bytes) -> Header:
    """Header at the start of a file; without fields if there is none."""
    fields: dict[str, str] = {}
    position = 0
    while head[position : position + 1] == b"%":
        end = head.find(b"\n", position)
        line = head[position + 1 : end].strip()
        if end < 0 or any(byte < 9 or byte > 126 for byte in line):
            break
        key, _, value = line.decode("ascii").partition(" ")
        fields[key.lower()] = value.strip()
        position = end + 1
        if key.lower() == "end":
            break
    return Header(fields, position)


def read_header(path: Path) -> Header:
    """Header of a RAW or DAT file."""
    with path.open("rb") as file:
        return parse_header(file.read(65536))


class RawSource(Source):
    """A RAW file; faery decodes EVT2 and EVT3.

    Some sensors let the EVT3 clock step back by a few microseconds; faery holds the time until it has caught up.
    """

    def __init__(self, path: Path, options: ReadOptions) -> None:
        self.header = read_header(path)
        version = self.header.raw_version
        if version is None:
            raise EventFileError(
                f"'{path}' is a RAW file whose header names no encoding snnfer knows",
                expected="a line '% format EVT3', '% evt 2.0' or similar",
                cause="a cut header or another encoding, such as EVT4",
            )
        self.version = version
        super().__init__(path, f"RAW {version.upper()}", *resolve_size(path, self.header.size, options))

    def packets(self) -> Iterator[np.ndarray]:
        """Events; a partial last word means that the file was cut."""
        if self.version == "evt2.1":
            yield from decode_evt21(self.path, self.header.n_bytes, self.header.fields)
        else:
            evt = require("faery", extra="data").evt
            with decoder_errors(self.path):
                decoder = evt.Decoder(self.path, (2048, 2048), None)  # the largest size; the reader checks the true one
            for packet in guarded(decoder, self.path):
                if "events" in packet:
                    events = packet["events"]
                    yield pack(events["t"], events["x"], events["y"], events["p"])
        check_whole_words(self.path, self.header.n_bytes, WORD_BYTES[self.version])


class DatSource(Source):
    """A DAT file of version 1 or 2, also of the old "2d" type."""

    def __init__(self, path: Path, options: ReadOptions) -> None:
        self.header = read_header(path)
        super().__init__(path, "DAT", *resolve_size(path, self.header.size, options))

    def packets(self) -> Iterator[np.ndarray]:
        """Events; a partial last word means that the file was cut."""
        start = self.header.n_bytes + 2
        if self.path.stat().st_size <= start:
            return
        dat = require("faery", extra="data").dat
        with decoder_errors(self.path):
            decoder = dat.Decoder(self.path, (16383, 16383), "dat2")
        if decoder.event_type not in ("cd", "2d"):
            raise EventFileError(f"'{self.path}' holds events of type '{decoder.event_type}'", expected="pixel events")
        for events in guarded(decoder, self.path):
            yield pack(events["t"], events["x"], events["y"], np.minimum(events["payload"], 1))
        check_whole_words(self.path, start, 8)


def check_whole_words(path: Path, start: int, word_bytes: int) -> None:
    """Raise `TruncatedFileError` unless the data behind `start` are whole words."""
    rest = (path.stat().st_size - start) % word_bytes
    if rest:
        raise TruncatedFileError(
            f"the last word has {rest} of {word_bytes} bytes, so the end of the recording is missing"
        )
