"""Inputs of Asynet, whose pixels change only where events arrive: a histogram and a queue of the newest events."""

from dataclasses import dataclass, field

import numpy as np
import torch

from snnfer.errors import SnnferError
from snnfer.representations._base import register_representation
from snnfer.representations._windows import WindowImages


@register_representation("ssr_histogram")
@dataclass(frozen=True)
class SSRHistogram(WindowImages):
    """Number of OFF and ON events per pixel and window, resized to the nearest pixel.

    At the size of the sensor these are the values of `CountFrames`. At another size `CountFrames` counts every event
    once, while this takes the count of the nearest pixel, as the authors do, so that active sites stay few.

    Args:
        window_us: Length of a window in microseconds.
        size: Height and width of the frames, (191, 255) in the paper; None keeps those of the box or the sensor.
        n_steps: Fixed number of windows: fewer are padded with zeros, more are cut off. None takes as many as needed.

    Shape:
        - Input: an `EventStream`.
        - Output: :math:`(T, 2, H, W)`, float32, channel 0 OFF and channel 1 ON.

    Raises:
        SnnferError: a window, size or number of steps below 1.

    References:
        Messikommer et al., "Event-based Asynchronous Sparse Convolutional Networks", ECCV 2020, section 4.

    Examples:
        >>> from snnfer.events import EventStream
        >>> stream = EventStream.from_arrays(t=[0, 10, 25], x=[1, 1, 3], y=[0, 0, 1], p=[1, 1, 0], width=4, height=2)
        >>> SSRHistogram(window_us=100)(stream)[0, 1]
        tensor([[0., 2., 0., 0.],
                [0., 0., 0., 0.]])
    """

    @property
    def n_channels(self) -> int:
        """2: OFF and ON."""
        return 2

    @property
    def is_whole(self) -> bool:
        """True: counts."""
        return True

    def draw(self, image: np.ndarray, events: np.ndarray, *, start_us: int, origin_us: int) -> None:
        """Draw one window of the whole sensor; see `WindowImages.draw`."""
        height, width = image.shape[1:]
        index = (events["p"].astype(np.int64) * height + events["y"]) * width + events["x"]
        torch.from_numpy(image.reshape(-1)).scatter_add_(0, torch.from_numpy(index), torch.ones(len(index)))


@register_representation("ssr_event_queue")
@dataclass(frozen=True)
class SSREventQueue(WindowImages):
    r"""The newest events of every pixel in a window, newest first: their ages and polarities.

    Channel :math:`2j` holds the age of the :math:`j`-th newest event of the pixel and channel :math:`2j + 1` its
    polarity, -1 or 1. The age is :math:`(t_\text{newest} - t) / m`, where :math:`t_\text{newest}` is the time of the
    window's last event and :math:`m` the greatest such difference among the events held in the window's queues, so
    that ages lie in [0, 1]; it is 0 if all have one time. Places that no event fills are 0 in both channels. Which
    maximum divides and the order of the channels are inferred.

    Args:
        window_us: Length of a window in microseconds.
        size: Height and width of the frames (nearest pixel); None keeps those of the box or the sensor.
        n_steps: Fixed number of windows: fewer are padded with zeros, more are cut off. None takes as many as needed.
        n_events: Events held per pixel, K.

    Shape:
        - Input: an `EventStream`.
        - Output: :math:`(T, 2K, H, W)`, float32, values in [-1, 1].

    Raises:
        SnnferError: a window, size, number of steps or number of events below 1.

    References:
        Messikommer et al., "Event-based Asynchronous Sparse Convolutional Networks", ECCV 2020; the queue is that of
        Tulyakov et al., "Learning an event sequence embedding for dense event-based deep stereo", ICCV 2019.

    Examples:
        >>> from snnfer.events import EventStream
        >>> stream = EventStream.from_arrays(t=[0, 10, 20], x=[1, 1, 1], y=[0, 0, 0], p=[1, 0, 1], width=2, height=1)
        >>> SSREventQueue(window_us=100, n_events=2)(stream)[0, :, 0, 1]  # age, polarity, age, polarity
        tensor([ 0.,  1.,  1., -1.])
    """

    n_events: int = field(default=15, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.n_events, bool) or not isinstance(self.n_events, int | np.integer) or self.n_events < 1:
            raise SnnferError(f"n_events = {self.n_events}", expected="a whole number of at least 1")

    @property
    def n_channels(self) -> int:
        """Twice the number of events held per pixel: ages and polarities."""
        return 2 * self.n_events

    @property
    def value_range(self) -> tuple[float, float]:
        """-1 to 1."""
        return (-1.0, 1.0)

    def draw(self, image: np.ndarray, events: np.ndarray, *, start_us: int, origin_us: int) -> None:
        """Draw one window of the whole sensor; see `WindowImages.draw`."""
        height, width = image.shape[1:]
        order = np.argsort(events["x"], kind="stable")  # two sorts of 16-bit keys are radix sorts
        order = order[np.argsort(events["y"][order], kind="stable")]
        pixel = (events["y"].astype(np.int64) * width + events["x"])[order]
        is_last = np.append(pixel[1:] != pixel[:-1], True)
        ends = np.flatnonzero(is_last)
        rank = np.repeat(ends, np.diff(ends, prepend=-1)) - np.arange(len(pixel))  # 0 for the newest of the pixel
        held = rank < self.n_events
        order, index = order[held], (2 * rank * (height * width) + pixel)[held]
        age_us = events["t"][-1] - events["t"][order]
        flat = image.reshape(-1)
        flat[index] = age_us / max(1, int(age_us.max()))
        flat[index + height * width] = events["p"][order] * 2.0 - 1.0
