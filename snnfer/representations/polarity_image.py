"""One grey image per window: the polarity of the latest event."""

from dataclasses import dataclass

import numpy as np

from snnfer.representations._base import register_representation
from snnfer.representations._windows import WindowImages

BACKGROUND, ON, OFF = 127, 255, 0


@register_representation("polarity_image")
@dataclass(frozen=True)
class PolarityImage(WindowImages):
    """Grey image of each window: 255 where the latest event is ON, 0 where it is OFF, 127 where there is none.

    The whole sensor is drawn, then the box is cut out (127 outside the sensor), then resized to the nearest pixel.

    Args:
        window_us: Length of a window in microseconds.
        size: Height and width of the images; None keeps those of the box or the sensor.
        n_steps: Fixed number of windows: fewer are padded with zeros, more are cut off. None takes as many as needed.

    Shape:
        - Input: an `EventStream`.
        - Output: :math:`(T, 1, H, W)`, float32, values in {0, 127, 255}.

    Raises:
        SnnferError: a window, size or number of steps below 1.

    Examples:
        >>> from snnfer.events import EventStream
        >>> stream = EventStream.from_arrays(t=[0, 10, 25], x=[1, 1, 3], y=[0, 0, 1], p=[1, 0, 1], width=4, height=2)
        >>> PolarityImage(window_us=100)(stream)[0, 0]
        tensor([[127.,   0., 127., 127.],
                [127., 127., 127., 255.]])
    """

    @property
    def n_channels(self) -> int:
        """1: grey."""
        return 1

    @property
    def value_range(self) -> tuple[float, float]:
        """0 to 255."""
        return (0.0, 255.0)

    @property
    def offset_scale(self) -> tuple[float, float]:
        """Networks see 0 to 1."""
        return (0.0, 255.0)

    @property
    def is_whole(self) -> bool:
        """True: grey levels."""
        return True

    @property
    def background(self) -> float:
        """127."""
        return float(BACKGROUND)

    def draw(self, image: np.ndarray, events: np.ndarray, *, start_us: int, origin_us: int) -> None:
        """Draw one window of the whole sensor; see `WindowImages.draw`."""
        level = np.array([OFF, ON], image.dtype)
        image[0, events["y"], events["x"]] = level[events["p"]]  # of repeated pixels the last one stays
