"""Random changes of event streams, for training: pure functions with an explicit generator.

Every function takes a stream and gives another one on the same sensor and in the same time range, sorted, without
frames (which would no longer belong to the events).

Examples:
    >>> stream = EventStream.from_arrays(t=[0, 10, 25], x=[1, 2, 3], y=[0, 0, 1], p=[1, 0, 1], width=4, height=2)
    >>> flip_horizontally(stream).events["x"]
    array([2, 1, 0], dtype=uint16)
    >>> augmented = augment_spiking_fer(stream, np.random.default_rng(0))
    >>> augmented.width, augmented.height
    (4, 2)
"""

from collections.abc import Callable

import numpy as np

from snnfer.errors import SnnferError
from snnfer.events.stream import EVENT_DTYPE, EventStream

NOISE_SHARE = 0.2
"""Noise events per event in Spiking-FER, its severity 5."""


def augment_spiking_fer(stream: EventStream, generator: np.random.Generator) -> EventStream:
    """The changes of Spiking-FER, in its order.

    Mirror left to right (probability 0.5), background activity (0.5), time reversal (0.2), polarity flip (0.2),
    then `event_drop`.

    Args:
        stream: The events of one clip, cut to its face.
        generator: The same state gives the same result.

    References:
        Barchid et al., "Spiking-FER: Spiking Neural Network for Facial Expression Recognition With Event Cameras",
        CBMI 2023, and its public code.
    """
    steps: tuple[tuple[float, Callable[[EventStream], EventStream]], ...] = (
        (0.5, flip_horizontally),
        (0.5, lambda s: add_background_activity(s, generator)),
        (0.2, reverse_time),
        (0.2, flip_polarity),
    )
    for probability, change in steps:
        if generator.random() < probability:
            stream = change(stream)
    return event_drop(stream, generator)


def flip_horizontally(stream: EventStream) -> EventStream:
    r"""Mirror left to right: :math:`x \to W - 1 - x`."""
    events = stream.events.copy()
    events["x"] = stream.width - 1 - stream.events["x"].astype(np.int64)
    return _with_events(stream, events)


def flip_polarity(stream: EventStream) -> EventStream:
    """Make ON events of OFF events and the reverse.

    Examples:
        >>> stream = EventStream.from_arrays(t=[0, 1], x=[0, 0], y=[0, 0], p=[1, 0], width=1, height=1)
        >>> flip_polarity(stream).events["p"]
        array([0, 1], dtype=uint8)
    """
    events = stream.events.copy()
    events["p"] ^= 1
    return _with_events(stream, events)


def reverse_time(stream: EventStream) -> EventStream:
    r"""Play backwards: :math:`t \to t_\text{first} + t_\text{last} - t`, and what grew brighter grows darker.

    Examples:
        >>> stream = EventStream.from_arrays(t=[5, 6, 9], x=[0, 1, 2], y=[0, 0, 0], p=[1, 1, 0], width=3, height=1)
        >>> reverse_time(stream).events["t"], reverse_time(stream).events["p"]
        (array([5, 8, 9]), array([1, 0, 0], dtype=uint8))
    """
    events = stream.events[::-1].copy()
    if len(events):
        events["t"] = stream.events["t"][0] + stream.events["t"][-1] - events["t"]
    events["p"] ^= 1
    return _with_events(stream, events)


def add_background_activity(
    stream: EventStream, generator: np.random.Generator, *, share: float = NOISE_SHARE
) -> EventStream:
    """Add noise events, uniform over the sensor, the time from the first to the last event, and both polarities.

    Args:
        stream: The events.
        generator: Of the noise.
        share: Noise events per event of the stream, rounded down to whole events; 0.2 is severity 5 of Spiking-FER.

    Raises:
        SnnferError: `share` is below 0.
    """
    if not share >= 0:
        raise SnnferError(f"share = {share}", expected="0 or more noise events per event")
    noise = np.empty(int(share * len(stream)), dtype=EVENT_DTYPE)
    if not len(noise):
        return _with_events(stream, stream.events)
    noise["t"] = generator.integers(stream.t_start_us, stream.t_start_us + stream.duration_us + 1, len(noise))
    noise["x"] = generator.integers(0, stream.width, len(noise))
    noise["y"] = generator.integers(0, stream.height, len(noise))
    noise["p"] = generator.integers(0, 2, len(noise))
    events = np.concatenate([stream.events, noise])
    return _with_events(stream, events[np.argsort(events["t"], kind="stable")])


def event_drop(stream: EventStream, generator: np.random.Generator) -> EventStream:
    """EventDrop: nothing, `drop_by_time`, `drop_by_area` or `drop_randomly`, each with probability 1/4.

    The ratios are drawn uniformly: 0.1, 0.2 ... 0.9 of the time or of the events, 0.05, 0.1 ... 0.25 of both sides.

    References:
        Gu et al., "EventDrop: Data Augmentation for Event-based Learning", IJCAI 2021, algorithm 1.
    """
    choice = generator.integers(4)
    if choice == 1:
        return drop_by_time(stream, generator, ratio=_tenth(generator))
    if choice == 2:
        return drop_by_area(stream, generator, ratio=int(generator.integers(1, 6)) / 20)
    if choice == 3:
        return drop_randomly(stream, generator, ratio=_tenth(generator))
    return _with_events(stream, stream.events)


def drop_by_time(stream: EventStream, generator: np.random.Generator, *, ratio: float) -> EventStream:
    """Drop the events of one interval of `ratio` times the duration, whose start is uniform where it fits.

    Args:
        stream: The events.
        generator: Of the start.
        ratio: Length of the interval as a share of the time from the first to the last event, in [0, 1].
    """
    _check_ratio(ratio)
    length = ratio * stream.duration_us
    start = stream.t_start_us + generator.uniform(0, stream.duration_us - length)
    t = stream.events["t"]
    return _with_events(stream, stream.events[(t < start) | (t > start + length)])


def drop_by_area(stream: EventStream, generator: np.random.Generator, *, ratio: float) -> EventStream:
    """Drop the events of one box of `ratio` times the width and the height, anywhere inside the sensor.

    Args:
        stream: The events.
        generator: Of the place.
        ratio: Sides of the box as a share of those of the sensor, in [0, 1]; rounded to whole pixels.
    """
    _check_ratio(ratio)
    width, height = round(ratio * stream.width), round(ratio * stream.height)
    left = int(generator.integers(0, stream.width - width + 1))
    top = int(generator.integers(0, stream.height - height + 1))
    column, row = stream.events["x"].astype(np.int64) - left, stream.events["y"].astype(np.int64) - top
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return _with_events(stream, stream.events[~inside])


def drop_randomly(stream: EventStream, generator: np.random.Generator, *, ratio: float) -> EventStream:
    """Drop a share `ratio` (in [0, 1], rounded to whole events) of the events, drawn without replacement."""
    _check_ratio(ratio)
    n = len(stream)
    dropped = generator.choice(n, round(ratio * n), replace=False) if n else np.empty(0, dtype=np.int64)
    kept = np.ones(n, dtype=bool)
    kept[dropped] = False
    return _with_events(stream, stream.events[kept])


def _tenth(generator: np.random.Generator) -> float:
    return int(generator.integers(1, 10)) / 10


def _check_ratio(ratio: float) -> None:
    if not 0 <= ratio <= 1:
        raise SnnferError(f"ratio = {ratio}", expected="a share from 0 to 1")


def _with_events(stream: EventStream, events: np.ndarray) -> EventStream:
    return EventStream(events, stream.width, stream.height, metadata=stream.metadata)
