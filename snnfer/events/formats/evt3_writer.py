"""EVT3 words: 16 bits each; the sensor repeats only what has changed since the last word.

Types (upper 4 bits): 0 row, 2 event (1 bit polarity, 11 bits x), 6 lower 12 bits and 8 upper 12 bits of the time. The
clock of 24 bits turns over every 16.8 s, which decoders notice by the step from 4095 to 0 of the upper part: so every
step of it is written, also in times without events. Source: Prophesee, "EVT 3.0 Format".
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

BLOCK_EVENTS = 1 << 16
ROW, EVENT, TIME_LOW, TIME_HIGH = (np.uint16(kind << 12) for kind in (0, 2, 6, 8))


def write_evt3(path: Path, chunks: Iterable[np.ndarray], width: int, height: int) -> None:
    """Write a RAW file; its header holds the time of the first event, its words the time since then."""
    t_zero, last = None, (-1, -1, -1)
    with path.open("wb") as file:
        header = f"% evt 3.0\n% format EVT3;height={height};width={width}\n% geometry {width}x{height}\n"
        file.write(header.encode())
        for chunk in chunks:
            if len(chunk) == 0:
                continue
            if t_zero is None:
                t_zero = int(chunk["t"][0])
                file.write(f"% t0 {t_zero}\n".encode())
            for start in range(0, len(chunk), BLOCK_EVENTS):
                words, last = encode_evt3(chunk[start : start + BLOCK_EVENTS], t_zero, last)
                file.write(words.tobytes())
        if t_zero is None:
            file.write(b"% end\n")


def encode_evt3(events: np.ndarray, t_zero: int, last: tuple[int, int, int]) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Words of some events; `last` is the upper time, lower time and row before them (-1 at the start), and after."""
    t, row = events["t"] - t_zero, events["y"].astype(np.int64)
    high, low = t >> 12, t & 4095
    n_high = np.diff(high, prepend=last[0])
    has_low = (n_high > 0) | (np.diff(low, prepend=last[1]) != 0)
    has_row = np.diff(row, prepend=last[2]) != 0
    end = np.cumsum(n_high + has_low + has_row + 1)  # one past the words of each event
    words = np.empty(int(end[-1]), dtype="<u2")
    words[end - 1] = EVENT | (events["p"].astype(np.uint16) << np.uint16(11)) | events["x"]
    words[(end - 2)[has_row]] = ROW | events["y"][has_row]
    words[(end - 2 - has_row)[has_low]] = TIME_LOW | low[has_low].astype(np.uint16)
    steps = np.arange(last[0] + 1, int(high[-1]) + 1)  # every value of the upper time once, in order
    first_word = np.repeat(end - 1 - has_row - has_low - n_high, n_high)
    within = np.arange(len(steps)) - np.repeat(np.cumsum(n_high) - n_high, n_high)
    words[first_word + within] = TIME_HIGH | (steps & 4095).astype(np.uint16)
    return words, (int(high[-1]), int(low[-1]), int(row[-1]))
