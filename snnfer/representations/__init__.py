"""Event representations: from an event stream to a tensor ``[T, C, H, W]``."""

from snnfer.representations._base import (
    REPRESENTATIONS,
    Representation,
    create_representation,
    list_representations,
    register_representation,
)
from snnfer.representations.count_frames import CountFrames
from snnfer.representations.tie import TIE

__all__ = [
    "REPRESENTATIONS",
    "TIE",
    "CountFrames",
    "Representation",
    "create_representation",
    "list_representations",
    "register_representation",
]
