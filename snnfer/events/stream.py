"""The event stream: events of one recording, sorted by time, with the sensor size and the frames that belong to it."""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from snnfer.errors import EventFileError, SnnferError

EVENT_DTYPE = np.dtype([("t", "<i8"), ("x", "<u2"), ("y", "<u2"), ("p", "u1")], align=True)
"""One event: time `t` in microseconds, column `x`, row `y` (origin top-left, downwards), polarity `p` (0 OFF, 1 ON)."""

SORT_FIX = (
    "sort them: --sort on the command line, snnfer.events.read(path, sort=True) or "
    "EventStream.from_arrays(..., sort=True) in Python"
)
MAX_SIZE = 65536  # x and y are unsigned 16-bit numbers


@dataclass(frozen=True, eq=False)
class FrameStream:
    """Frames of one camera with their times.

    Args:
        t_us: Time of each frame in microseconds, int64 ``[F]``, non-decreasing, same clock as the events.
        images: ``[F, H, W]`` or ``[F, H, W, 3]`` (RGB), uint8; uint16 for depth in millimetres.

    Raises:
        SnnferError: shapes or types do not fit.

    Examples:
        >>> frames = FrameStream(np.array([0, 33_000]), np.zeros((2, 260, 346), dtype=np.uint8))
        >>> len(frames), frames.width, frames.height
        (2, 346, 260)
    """

    t_us: np.ndarray
    images: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "t_us", np.asarray(self.t_us, dtype=np.int64))
        object.__setattr__(self, "images", np.asarray(self.images))
        shape = self.images.shape
        if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] != 3):
            raise SnnferError(f"frames of shape {list(shape)}", expected="[F, H, W] or [F, H, W, 3]")
        if self.images.dtype not in (np.uint8, np.uint16):
            raise SnnferError(f"frames of type {self.images.dtype}", expected="uint8, or uint16 for depth in mm")
        if self.t_us.shape != shape[:1]:
            raise SnnferError(
                f"{shape[0]} frames with times of shape {list(self.t_us.shape)}", expected="one time each"
            )
        if np.any(np.diff(self.t_us) < 0):
            raise SnnferError("frame times go backwards", expected="non-decreasing times")

    def __len__(self) -> int:
        return len(self.t_us)

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.images.shape[2]

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self.images.shape[1]

    def slice_time(self, t0_us: int, t1_us: int) -> "FrameStream":
        """Frames with ``t0_us <= t < t1_us``."""
        start, stop = (bisect_left(self.t_us, t) for t in (t0_us, t1_us))  # type: ignore[arg-type]
        return FrameStream(self.t_us[start:stop], self.images[start:stop])

    def crop(self, x: int, y: int, width: int, height: int) -> "FrameStream":
        """The box of every frame; parts outside the frame are 0."""
        out = np.zeros((len(self), height, width, *self.images.shape[3:]), dtype=self.images.dtype)
        x0, y0 = max(x, 0), max(y, 0)
        part = self.images[:, y0 : max(y + height, 0), x0 : max(x + width, 0)]
        out[:, y0 - y : y0 - y + part.shape[1], x0 - x : x0 - x + part.shape[2]] = part
        return FrameStream(self.t_us, out)


@dataclass(frozen=True, eq=False)
class EventStream:
    """Events of one recording, with the size of the sensor.

    Args:
        events: Structured array of `EVENT_DTYPE`, non-decreasing in ``t``; `from_arrays` builds it from columns.
        width: Sensor width in pixels.
        height: Sensor height in pixels.
        frames: Frames of the same recording by name: "gray", "rgb" (uint8), "depth" (uint16, millimetres).
        metadata: Anything JSON can hold.

    Raises:
        EventFileError: times go backwards, an event lies outside the sensor, or a polarity is neither 0 nor 1.

    Examples:
        >>> stream = EventStream.from_arrays(t=[0, 10, 25], x=[1, 2, 3], y=[0, 0, 1], p=[1, 0, 1], width=4, height=2)
        >>> len(stream), stream.t_start_us, stream.duration_us
        (3, 0, 25)
        >>> stream.slice_time(10, 25).events["x"]
        array([2], dtype=uint16)
        >>> stream.crop(2, 0, 2, 2).events["x"]
        array([0, 1], dtype=uint16)
    """

    events: np.ndarray
    width: int
    height: int
    frames: Mapping[str, FrameStream] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_sensor(self.width, self.height)
        check_events(self.events, self.width, self.height)

    @classmethod
    def from_arrays(
        cls,
        t: npt.ArrayLike,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        p: npt.ArrayLike,
        width: int,
        height: int,
        *,
        sort: bool = False,
        frames: Mapping[str, FrameStream] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> "EventStream":
        """Build a stream from columns of equal length.

        Args:
            t: Times in microseconds, integers.
            x: Columns in pixels.
            y: Rows in pixels, downwards.
            p: Polarities: {0, 1}, {-1, 1} or bool.
            width: Sensor width in pixels.
            height: Sensor height in pixels.
            sort: Sort by time first (stable: events of equal time keep their order).
            frames: See `EventStream`.
            metadata: See `EventStream`.

        Raises:
            EventFileError: as `EventStream`; also for times that are not integers, or columns of unequal length.
        """
        columns = {name: np.asarray(value) for name, value in (("t", t), ("x", x), ("y", y), ("p", p))}
        events = pack_columns(columns, width, height)
        if sort:
            events = events[np.argsort(events["t"], kind="stable")]
        return cls(events, width, height, dict(frames or {}), dict(metadata or {}))

    def __len__(self) -> int:
        return len(self.events)

    @property
    def t_start_us(self) -> int:
        """Time of the first event in microseconds; 0 for a stream without events."""
        return int(self.events["t"][0]) if len(self) else 0

    @property
    def duration_us(self) -> int:
        """Time from the first to the last event in microseconds."""
        return int(self.events["t"][-1] - self.events["t"][0]) if len(self) else 0

    def slice_time(self, t0_us: int, t1_us: int) -> "EventStream":
        """Events and frames with ``t0_us <= t < t1_us``; times stay absolute."""
        start, stop = (bisect_left(self.events["t"], t) for t in (t0_us, t1_us))
        frames = {name: frames.slice_time(t0_us, t1_us) for name, frames in self.frames.items()}
        return replace(self, events=self.events[start:stop], frames=frames)

    def crop(self, x: int, y: int, width: int, height: int) -> "EventStream":
        """Events and frames inside a box, with coordinates relative to it; the box may reach outside the sensor.

        Raises:
            SnnferError: the box is empty, or frames have another size than the sensor, so the box means nothing there.
        """
        check_sensor(width, height)
        for name, frames in self.frames.items():
            if (frames.width, frames.height) != (self.width, self.height):
                raise SnnferError(
                    f"frames '{name}' of {frames.width}x{frames.height} on a sensor of {self.width}x{self.height}",
                    expected="frames of the sensor's size, so that one box fits both",
                    fix="drop them first with dataclasses.replace(stream, frames={})",
                )
        column, row = self.events["x"].astype(np.int32) - x, self.events["y"].astype(np.int32) - y
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        events = self.events[inside]
        events["x"], events["y"] = column[inside], row[inside]
        frames = {name: frames.crop(x, y, width, height) for name, frames in self.frames.items()}
        return EventStream(events, width, height, frames, self.metadata)


def check_sensor(width: int, height: int) -> None:
    """Raise `EventFileError` unless both sides lie in 1..65536."""
    if not (1 <= width <= MAX_SIZE and 1 <= height <= MAX_SIZE):
        raise EventFileError(f"a size of {width}x{height} pixels", expected=f"width and height in 1..{MAX_SIZE}")


def check_events(events: np.ndarray, width: int, height: int) -> None:
    """Raise `EventFileError` unless `events` have the right type, order, places and polarities."""
    if not isinstance(events, np.ndarray) or events.dtype != EVENT_DTYPE or events.ndim != 1:
        raise EventFileError(
            f"events of type {getattr(events, 'dtype', type(events).__name__)}",
            expected="a one-dimensional structured array of snnfer.events.EVENT_DTYPE (t, x, y, p)",
            fix="EventStream.from_arrays(t, x, y, p, width, height)",
        )
    check_inside(events["x"], events["y"], width, height)
    check_sorted(events["t"])
    if len(events) and events["p"].max() > 1:
        raise EventFileError(f"polarity {events['p'].max()}", expected="0 (OFF) or 1 (ON)")


def check_inside(x: np.ndarray, y: np.ndarray, width: int, height: int) -> None:
    """Raise `EventFileError` that counts the events outside the sensor and names the first."""
    outside = find_outside(x, y, width, height)
    if len(outside):
        i = int(outside[0])
        raise outside_error(len(outside), len(x), (i, int(x[i]), int(y[i])), width, height)


def find_outside(x: np.ndarray, y: np.ndarray, width: int, height: int) -> np.ndarray:
    """Indices of the events outside the sensor."""
    if len(x) == 0 or (x.max() < width and y.max() < height and x.min() >= 0 and y.min() >= 0):
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero((x >= width) | (y >= height) | (x < 0) | (y < 0))


def outside_error(
    n_outside: int, n_events: int, first: tuple[int, int, int], width: int, height: int
) -> EventFileError:
    """The error for events outside the sensor; `first` is index, x and y of the first of them."""
    return EventFileError(
        f"{n_outside:,} of {n_events:,} events lie outside the sensor of {width}x{height}, "
        f"the first is event {first[0]:,} at x={first[1]}, y={first[2]}",
        cause="a wrong sensor size or a damaged file",
        fix="give the true width and height (--width, --height)",
    )


def check_sorted(t: np.ndarray) -> None:
    """Raise `EventFileError` that names the first step back in time."""
    back = np.flatnonzero(t[1:] < t[:-1])
    if len(back):
        i = int(back[0]) + 1
        n_times = "1 time" if len(back) == 1 else f"{len(back):,} times"
        raise EventFileError(
            f"event times go backwards {n_times}, first at event {i} ({t[i - 1]} us, then {t[i]} us)",
            expected="non-decreasing times",
            cause="merged or damaged recordings",
            fix=SORT_FIX,
        )


def pack_columns(columns: Mapping[str, np.ndarray], width: int, height: int) -> np.ndarray:
    """Structured array of `EVENT_DTYPE` from the columns t, x, y, p; nothing wraps or rounds on the way."""
    lengths = {name: column.shape for name, column in columns.items()}
    if len(set(lengths.values())) != 1 or columns["t"].ndim != 1:
        raise EventFileError(f"columns of shape {lengths}", expected="four columns of the same length")
    events = np.empty(len(columns["t"]), dtype=EVENT_DTYPE)
    if len(events) == 0:
        return events
    for name in ("t", "x", "y"):
        if columns[name].dtype.kind not in "iu":
            raise EventFileError(
                f"column {name} of type {columns[name].dtype}",
                expected="integers",
                cause="times in seconds" if name == "t" else "",
                fix=f"convert {name} with np.round(...).astype(np.int64)" + (" after * 1e6" if name == "t" else ""),
            )
    check_inside(columns["x"], columns["y"], width, height)
    for name in ("t", "x", "y"):
        events[name] = columns[name]
    events["p"] = unify_polarity(columns["p"])
    return events


def unify_polarity(p: np.ndarray) -> np.ndarray:
    """Polarities {0, 1}, {-1, 1} or bool as uint8 in {0, 1}.

    Examples:
        >>> unify_polarity(np.array([-1, 1, 1]))
        array([0, 1, 1], dtype=uint8)
    """
    if p.dtype.kind not in "biuf" or (p.dtype.kind == "f" and not np.all(np.isin(p, (-1, 0, 1)))):
        raise EventFileError(f"polarities of type {p.dtype}", expected="{0, 1}, {-1, 1} or bool")
    low, high = (p.min(), p.max()) if p.size else (0, 0)
    if low < -1 or high > 1 or (low < 0 and np.any(p == 0)):
        raise EventFileError(f"polarities between {low} and {high}", expected="{0, 1}, {-1, 1} or bool")
    return (p > 0).astype(np.uint8)
