"""What a model reads: the kind of input that it was published with."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Reads:
    """What a model reads, where its arguments do not say.

    Args:
        representation: Of events, by its name in `snnfer.representations`; empty for models of frames.
        modality: As in `snnfer.datasets.ClipInput`.
        n_steps: Steps of a sample; a model's own ``n_steps`` or ``n_windows`` goes first.
        any_length: Whether it reads clips of any number of steps, whole.
        slicing: How a clip is cut into steps: windows of one length, equal parts, or equal numbers of events.
    """

    representation: str = "count_frames"
    modality: Literal["events", "rgb", "gray", "depth", "rgbd"] = "events"
    n_steps: int = 1
    any_length: bool = False
    slicing: Literal["time", "uniform", "count"] = "time"


CLIPS = Reads(n_steps=76, any_length=True)
"""Event counts of a whole clip, 76 windows of 33 ms."""
GRAY_CLIPS = Reads("gray_frames", n_steps=16, slicing="uniform")
"""A clip as 16 gray images of equal parts."""
BINARY_CLIPS = Reads("binary_frames", n_steps=6, slicing="count")
"""A clip as 6 binary images of equal numbers of events."""
TIE = Reads("tie")
"""Time-interval images of single windows."""
RGB = Reads("", "rgb")
"""Single colour images."""
