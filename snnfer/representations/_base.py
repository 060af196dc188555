"""What every event representation is: a frozen dataclass that maps an `EventStream` to a tensor."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch

from snnfer._registry import look_up, names, register
from snnfer.errors import ShapeError, SnnferError
from snnfer.events import EventStream
from snnfer.representations._ranges import Box, count_windows, time_range


@dataclass(frozen=True)
class Representation(ABC):
    """Base of all representations; a subclass adds its own parameters and `__call__`.

    A representation maps a stream to ``[T, C, H, W]`` float32 and a list of streams to ``[T, N, C, H, W]``.

    Args:
        window_us: Length of a step in microseconds.
        size: Height and width of the frames; None keeps those of the box or the sensor.
        n_steps: Fixed number of steps: fewer are padded with zeros, more are cut off. None takes as many as needed.

    Raises:
        SnnferError: a window, size or number of steps below 1.
    """

    window_us: int = 33_000
    size: tuple[int, int] | None = field(default=None, kw_only=True)
    n_steps: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        values = {"window_us": self.window_us, "n_steps": self.n_steps if self.n_steps is not None else 1}
        values |= dict(zip(("height in size", "width in size"), self.size, strict=True)) if self.size else {}
        for name, value in values.items():
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise SnnferError(f"{name} = {value}", expected="a whole number of at least 1")

    @property
    @abstractmethod
    def n_channels(self) -> int:
        """Number of channels C."""

    @property
    def value_range(self) -> tuple[float, float]:
        """Lowest and highest value that an output can have; infinite where there is no bound."""
        return (0.0, float("inf"))

    @property
    def offset_scale(self) -> tuple[float, float]:
        """How networks take the values: ``(value - offset) / scale``. As they are unless a paper says otherwise."""
        return (0.0, 1.0)

    @property
    def needs_origin(self) -> bool:
        """Whether values depend on the time since the recording began; `__call__` then takes ``t_origin_us``."""
        return False

    @property
    def is_whole(self) -> bool:
        """Whether all values are whole numbers, so that uint8 holds them (counts above 255 saturate)."""
        return False

    @abstractmethod
    def __call__(
        self,
        stream: EventStream,
        *,
        t_start_us: int | None = None,
        t_end_us: int | None = None,
        box: Box | None = None,
    ) -> torch.Tensor:
        """Tensor ``[T, C, H, W]`` of the events inside the time range and the box."""

    def batch(
        self,
        streams: Sequence[EventStream],
        *,
        t_start_us: Sequence[int] | None = None,
        t_end_us: Sequence[int] | None = None,
        boxes: Sequence[Box] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Several streams, padded with zeros behind the shorter ones.

        Args:
            streams: N streams; without `size` their sensors (or boxes) must have the same size.
            t_start_us: N start times, as in `__call__`.
            t_end_us: N end times, as in `__call__`.
            boxes: N boxes, as in `__call__`.

        Returns:
            The batch ``[T, N, C, H, W]`` and the number of valid steps of each stream, int64 ``[N]``.

        Raises:
            ShapeError: the streams give frames of different sizes.
            SnnferError: no stream, or an argument with another number of entries than `streams`.
        """
        if not streams:
            raise SnnferError("an empty list of streams", expected="at least one EventStream")
        options = {"t_start_us": t_start_us, "t_end_us": t_end_us, "box": boxes}
        for name, values in options.items():
            if values is not None and len(values) != len(streams):
                raise SnnferError(f"{len(values)} values of {name} for {len(streams)} streams", expected="one each")
        given = {name: values for name, values in options.items() if values is not None}
        each = [{name: values[i] for name, values in given.items()} for i in range(len(streams))]
        tensors = [self(stream, **chosen) for stream, chosen in zip(streams, each, strict=True)]
        sizes = {tuple(x.shape[2:]) for x in tensors}
        if len(sizes) > 1:
            raise ShapeError(
                f"streams that give frames of sizes {sorted(sizes)}",
                expected="one size in a batch",
                fix=f"set the size, e.g. {type(self).__name__}(size=(64, 64))",
            )
        lengths = [self.count_steps(stream, **chosen) for stream, chosen in zip(streams, each, strict=True)]
        return torch.nn.utils.rnn.pad_sequence(tensors), torch.tensor(lengths)  # [T, N, C, H, W], [N]

    def count_steps(
        self,
        stream: EventStream,
        *,
        t_start_us: int | None = None,
        t_end_us: int | None = None,
        box: Box | None = None,
    ) -> int:
        """Number of windows that the time range fills, at most `n_steps`."""
        n_windows = count_windows(*time_range(stream, t_start_us, t_end_us), self.window_us)
        return min(n_windows, self.n_steps) if self.n_steps else n_windows


R = TypeVar("R", bound=Callable[..., Representation])

REPRESENTATIONS: dict[str, Callable[..., Representation]] = {}


def register_representation(name: str) -> Callable[[R], R]:
    """Decorator that enters a representation into the registry; the contract tests run over all entries."""
    return lambda factory: register(REPRESENTATIONS, factory, name=name)


def create_representation(name: str, **parameters: Any) -> Representation:
    """Build a registered representation by name.

    Raises:
        ConfigError: unknown name.

    Examples:
        >>> create_representation("count_frames", window_us=10_000).n_channels
        2
    """
    return look_up(REPRESENTATIONS, name, kind="representation")(**parameters)


def list_representations(pattern: str = "*") -> list[str]:
    """Names of the registered representations that match a shell pattern.

    Examples:
        >>> list_representations("count*")
        ['count_frames']
    """
    return names(REPRESENTATIONS, pattern)
