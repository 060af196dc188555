"""What the reader of every format offers, and what the formats share."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from snnfer.errors import EventFileError
from snnfer.events.stream import EVENT_DTYPE, FrameStream

TimeUnit = Literal["s", "ms", "us"]


class EventFileWarning(UserWarning):
    """Something about an event file that does not stop the work but should be known."""


class TruncatedFileError(Exception):
    """The file ends, or is damaged, behind the packets delivered so far (turned into an `EventFileError` or a warning).

    Args:
        lost: What is lost, as a clause, e.g. "the last 55 % of the file is missing".
    """

    def __init__(self, lost: str) -> None:
        super().__init__(lost)
        self.lost = lost


@dataclass(frozen=True)
class ReadOptions:
    """What the caller says about a file that may not say it itself."""

    width: int | None = None
    height: int | None = None
    time_unit: TimeUnit | None = None


@dataclass
class Source(ABC):
    """An open event file: `packets` delivers its events once, in file order, unchecked."""

    path: Path
    format: str = ""
    width: int = 0
    height: int = 0
    metadata: dict[str, Any] = field(default_factory=dict)

    @abstractmethod
    def packets(self) -> Iterator[np.ndarray]:
        """Arrays of `EVENT_DTYPE` of any length; raises `TruncatedFileError` behind the last one if the file is cut."""

    def frames(self, *, t_end_us: int | None = None) -> dict[str, FrameStream]:
        """Frames of the file, or those before `t_end_us`, for which no more than needed is read."""
        return {}

    def frame_counts(self) -> dict[str, int]:
        """Number of frames by name, without decoding them where the format allows."""
        return {name: len(frames) for name, frames in self.frames().items()}

    def close(self) -> None:  # noqa: B027 (most sources hold nothing open)
        """Release the file."""


def resolve_size(path: Path, known: tuple[int, int] | None, options: ReadOptions) -> tuple[int, int]:
    """Sensor size from the file or, where it says none, from the caller; a contradiction is an error."""
    if (options.width is None) != (options.height is None):
        raise EventFileError("only one of width and height", expected="both", fix="give --width and --height")
    given = None if options.width is None or options.height is None else (options.width, options.height)
    if given and min(given) < 1:
        raise EventFileError(f"a sensor of {given[0]} x {given[1]} pixels", expected="a width and height of 1 or more")
    if known and given and known != given:
        raise EventFileError(
            f"'{path}' says its sensor is {known[0]}x{known[1]}, but {given[0]}x{given[1]} was asked for",
            fix="leave out width and height",
        )
    size = known or given
    if size is None:
        raise EventFileError(
            f"'{path}' does not say its sensor size",
            cause="this format, or this recording's header, has no geometry",
            fix="give it: width= and height= in Python, --width and --height on the command line",
        )
    return size


def pack(t: np.ndarray, x: np.ndarray, y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Columns that are known to fit, as `EVENT_DTYPE`."""
    events = np.empty(len(t), dtype=EVENT_DTYPE)
    events["t"], events["x"], events["y"], events["p"] = t, x, y, p
    return events


def percent_lost(readable: int, total: int) -> str:
    """Clause for `TruncatedFileError`."""
    share = 100 * (1 - readable / total)
    return f"the last {share:.1f} % of the file ({total - readable:,} of {total:,} bytes) cannot be read"


@contextmanager
def decoder_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn errors and panics of the decoding library into `EventFileError`."""
    try:
        yield
    except (RuntimeError, OSError, ValueError) as error:
        raise EventFileError(f"'{path}' cannot be decoded ({error})", cause="a damaged file") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise EventFileError(f"'{path}' cannot be decoded ({error})", cause="a damaged file") from None


def guarded(packets: Iterable[Any], path: str | os.PathLike[str]) -> Iterator[Any]:
    """Iterate over a decoder; its errors become `EventFileError`."""
    with decoder_errors(path):
        iterator = iter(packets)
    while True:
        with decoder_errors(path):
            packet = next(iterator, None)
        if packet is None:
            return
        yield packet
