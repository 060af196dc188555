"""EVT2.1: 64-bit words, each up to 32 events of one row, time and polarity.

A word is, from the top: 4 bits type, 6 bits low time, 11 bits x, 11 bits y, 32 bits mask (bit k: an event at x + k).
Type 0 is OFF, 1 is ON, 8 carries the upper 28 bits of the time. IMX636 sensors swap the two halves of a word
("endianness=legacy" in the header), GenX320 sensors do not. Source: Prophesee, "EVT 2.1 Format".
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from snnfer.events.formats.source import pack

TIME_HIGH = 8
KNOWN_TYPES = (0, 1, TIME_HIGH, 10, 14, 15)
CHUNK_WORDS = 1 << 17
ROLLOVER_US = 1 << 34


def decode_evt21(path: Path, start: int, header: Mapping[str, str]) -> Iterator[np.ndarray]:
    """Events of a file whose words begin at byte `start`."""
    high, offset, swapped = -1, 0, None
    with path.open("rb") as file:
        file.seek(start)
        while data := file.read(8 * CHUNK_WORDS):
            words = np.frombuffer(data[: len(data) // 8 * 8], dtype="<u8")
            if swapped is None:
                swapped = _halves_are_swapped(words, header)
            words = (words << np.uint64(32)) | (words >> np.uint64(32)) if swapped else words
            events, high, offset = _decode_words(words, high, offset)
            if len(events):
                yield events


def _halves_are_swapped(words: np.ndarray, header: Mapping[str, str]) -> bool:
    """From the header, else the order in which more words have a known type."""
    text = header.get("format", "") + ";endianness=" + header.get("endianness", "")
    if "endianness=legacy" in text:
        return True
    if "endianness=little" in text:
        return False
    plain, swapped = (np.isin((words >> np.uint64(shift)) & np.uint64(15), KNOWN_TYPES).mean() for shift in (60, 28))
    return bool(swapped > plain)


def _decode_words(words: np.ndarray, high: int, offset: int) -> tuple[np.ndarray, int, int]:
    """Events of some words, with the time state (`high` is -1 before the first time word) carried in and out."""
    kind = (words >> np.uint64(60)).astype(np.uint8)
    is_time = kind == TIME_HIGH
    highs = ((words >> np.uint64(32)) & np.uint64((1 << 28) - 1)).astype(np.int64) << 6
    known = np.concatenate([[high], highs[is_time]])
    wraps = np.concatenate([[0], np.cumsum(np.diff(known) < -(ROLLOVER_US >> 1))])
    base = (known + offset + wraps * ROLLOVER_US)[np.cumsum(is_time)]  # one per word
    is_event = (kind <= 1) & (known[np.cumsum(is_time)] >= 0)
    chosen = words[is_event]
    mask = (chosen & np.uint64(0xFFFFFFFF)).astype("<u4").view(np.uint8).reshape(-1, 4)
    word, bit = np.nonzero(np.unpackbits(mask, axis=1, bitorder="little"))
    chosen = chosen[word]
    t = base[is_event][word] + ((chosen >> np.uint64(54)) & np.uint64(63)).astype(np.int64)
    x = ((chosen >> np.uint64(43)) & np.uint64(2047)).astype(np.int64) + bit
    y = (chosen >> np.uint64(32)) & np.uint64(2047)
    events = pack(t, x, y, kind[is_event][word])
    return events, int(known[-1]), offset + int(wraps[-1]) * ROLLOVER_US
