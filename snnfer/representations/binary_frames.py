"""Where events of each polarity have been, per window."""

from dataclasses import dataclass

import numpy as np

from snnfer.representations._base import register_representation
from snnfer.representations._windows import WindowImages


@register_representation("binary_frames")
@dataclass(frozen=True)
class BinaryFrames(WindowImages):
    r"""1 where a window holds an event of a polarity, else 0: input that is made of spikes.

    .. math:: X_{k,c,i,j} = \min(1, N_{k,c,i,j})

    with the counts :math:`N` of `CountFrames` at the size of the sensor. The whole sensor is drawn, then the box is cut
    out, then resized to the nearest pixel, so that values stay 0 and 1.

    Args:
        window_us: Length of a window in microseconds.
        size: Height and width of the frames (nearest pixel); None keeps those of the box or the sensor.
        n_steps: Fixed number of windows: fewer are padded with zeros, more are cut off. None takes as many as needed.

    Shape:
        - Input: an `EventStream`.
        - Output: :math:`(T, 2, H, W)`, float32, values in {0, 1}, channel 0 OFF and channel 1 ON.

    Raises:
        SnnferError: a window, size or number of steps below 1.

    References:
        Barchid et al., "Spiking-FER: Spiking Neural Network for Facial Expression Recognition With Event Cameras",
        CBMI 2023 (on slices of 2500 events, see `snnfer.representations.slicing`).

    Examples:
        >>> from snnfer.events import EventStream
        >>> stream = EventStream.from_arrays(t=[0, 10, 25], x=[1, 1, 3], y=[0, 0, 1], p=[1, 1, 0], width=4, height=2)
        >>> BinaryFrames(window_us=100)(stream)[0, 1]
        tensor([[0., 1., 0., 0.],
                [0., 0., 0., 0.]])
    """

    @property
    def n_channels(self) -> int:
        """2: OFF and ON."""
        return 2

    @property
    def value_range(self) -> tuple[float, float]:
        """0 to 1."""
        return (0.0, 1.0)

    @property
    def is_whole(self) -> bool:
        """True: 0 and 1."""
        return True

    def draw(self, image: np.ndarray, events: np.ndarray, *, start_us: int, origin_us: int) -> None:
        """Draw one window of the whole sensor; see `WindowImages.draw`."""
        image[events["p"], events["y"], events["x"]] = 1
