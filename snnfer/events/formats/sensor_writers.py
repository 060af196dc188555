"""Writing AEDAT4, RAW, DAT and Event Stream files with faery, within the limits of each format."""

import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from snnfer._optional import require
from snnfer.errors import EventFileError
from snnfer.events.formats.evt3_writer import write_evt3
from snnfer.events.formats.source import EventFileWarning

RawEncoding = Literal["evt2", "evt3"]
FAERY_DTYPE = np.dtype([("t", "<u8"), ("x", "<u2"), ("y", "<u2"), (("p", "on"), "?")])
DAT_DTYPE = np.dtype([("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("payload", "u1")])
AEDAT4_PACKET_EVENTS = 8192
MAX_SIZES = {"AEDAT4": 32767, "RAW": 2048, "DAT": 16383, "ES": 65535}
ES_MAX_START_US = 60_000_000  # the silence before the first event takes one byte per 127 us
DAT_MAX_SPAN_US = (1 << 32) - 1

Chunks = Iterable[np.ndarray]


def write_aedat4(path: Path, chunks: Chunks, width: int, height: int) -> None:
    """AEDAT4 with one event stream, LZ4."""
    check_size("AEDAT4", width, height)
    aedat = require("faery", extra="data").aedat
    with aedat.Encoder(path, _describe_aedat4(width, height), aedat.LZ4_DEFAULT) as encoder:
        for chunk in _not_negative(chunks, "AEDAT4"):
            for start in range(0, len(chunk), AEDAT4_PACKET_EVENTS):
                encoder.write(0, _convert(chunk[start : start + AEDAT4_PACKET_EVENTS], FAERY_DTYPE))


def write_raw(path: Path, chunks: Chunks, width: int, height: int, encoding: RawEncoding = "evt3") -> None:
    """Prophesee RAW; the time of the first event stands in the header."""
    if encoding not in ("evt2", "evt3"):
        raise EventFileError(f"encoding = '{encoding}'", expected="one of evt2, evt3")
    check_size("RAW", width, height)
    chunks = _not_negative(chunks, "RAW")
    if encoding == "evt3":
        # Not with faery: it writes so few steps of the clock in a silence of seconds that decoders lose a turn.
        write_evt3(path, chunks, width, height)
        return
    evt = require("faery", extra="data").evt
    with evt.Encoder(path, encoding, True, (width, height), True) as encoder:
        for chunk in chunks:
            encoder.write({"events": _convert(chunk, FAERY_DTYPE)})


def write_dat(path: Path, chunks: Chunks, width: int, height: int) -> None:
    """Prophesee DAT version 2; the time of the first event stands in the header."""
    check_size("DAT", width, height)
    first, chunks = _peek(_not_negative(chunks, "DAT"))
    dat = require("faery", extra="data").dat
    with dat.Encoder(path, "dat2", "cd", first is not None, (width, height)) as encoder:
        for chunk in _check_span(chunks):
            encoder.write(_convert(chunk, DAT_DTYPE))


def write_es(path: Path, chunks: Chunks, width: int, height: int) -> None:
    """Event Stream, type dvs; the format has no absolute time, so that recordings that begin late are moved to 0."""
    check_size("ES", width, height)
    first, chunks = _peek(chunks)
    t_zero = 0
    if first is not None and not 0 <= first <= ES_MAX_START_US:
        warnings.warn(
            f"Event Stream files begin at time 0: {first} us were subtracted from all times",
            EventFileWarning,
            stacklevel=4,
        )
        t_zero = first
    es = require("faery", extra="data").es
    with es.Encoder(path, "dvs", False, (width, height)) as encoder:
        for chunk in chunks:
            events = _convert(chunk, FAERY_DTYPE, t_zero=t_zero)
            events["y"] = height - 1 - events["y"]
            encoder.write(events)


def check_size(name: str, width: int, height: int) -> None:
    """Raise `EventFileError` if the sensor is larger than a format can say."""
    limit = MAX_SIZES[name]
    if max(width, height) > limit:
        raise EventFileError(
            f"a sensor of {width}x{height} cannot be written as {name}",
            expected=f"at most {limit} pixels a side",
            fix="write snnfer's HDF5 (.h5)",
        )


def _convert(chunk: np.ndarray, dtype: np.dtype, *, t_zero: int = 0) -> np.ndarray:
    events = np.empty(len(chunk), dtype=dtype)
    events["t"] = chunk["t"] - t_zero
    events["x"], events["y"] = chunk["x"], chunk["y"]
    events["payload" if dtype is DAT_DTYPE else "p"] = chunk["p"]
    return events


def _peek(chunks: Chunks) -> tuple[int | None, Iterator[np.ndarray]]:
    """Time of the first event, None without events, and all chunks again."""
    iterator = iter(chunks)
    first = next((chunk for chunk in iterator if len(chunk)), None)
    if first is None:
        return None, iter(())

    def again() -> Iterator[np.ndarray]:
        yield first
        yield from iterator

    return int(first["t"][0]), again()


def _check_span(chunks: Chunks) -> Iterator[np.ndarray]:
    first = None
    for chunk in chunks:
        first = int(chunk["t"][0]) if first is None and len(chunk) else first
        if len(chunk) and first is not None and int(chunk["t"][-1]) - first > DAT_MAX_SPAN_US:
            raise EventFileError(
                "a recording of more than 71.58 minutes cannot be written as DAT",
                cause="the format has 32 bits for the time in microseconds",
                fix="write EVT2 (encoding='evt2', --encoding evt2), AEDAT4 or snnfer's HDF5",
            )
        yield chunk


def _not_negative(chunks: Chunks, name: str) -> Iterator[np.ndarray]:
    for chunk in chunks:
        if len(chunk) and chunk["t"][0] < 0:
            raise EventFileError(
                f"a negative time ({chunk['t'][0]} us) cannot be written as {name}", fix="write snnfer's HDF5 (.h5)"
            )
        yield chunk


def _describe_aedat4(width: int, height: int) -> list:
    """The tree of stream descriptions that the header of an AEDAT4 file carries."""
    aedat = require("faery", extra="data").aedat
    node, attribute = aedat.DescriptionNode, aedat.DescriptionAttribute
    info = {
        "sizeX": attribute("int", width),
        "sizeY": attribute("int", height),
        "source": attribute("string", "snnfer"),
    }
    stream = {
        "compression": attribute("string", "LZ4"),
        "originalOutputName": attribute("string", "events"),
        "typeIdentifier": attribute("string", "EVTS"),
    }
    root = "/mainloop/Recorder/outInfo/"
    child = node("0", f"{root}0/", stream, [node("info", f"{root}0/info/", info, [])])
    return [node("outInfo", root, {}, [child])]
