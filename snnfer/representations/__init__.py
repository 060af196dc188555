"""Event representations: from an event stream to a tensor ``[T, C, H, W]``."""

from snnfer.representations._base import (
    REPRESENTATIONS,
    Representation,
    create_representation,
    list_representations,
    register_representation,
)
from snnfer.representations.binary_frames import BinaryFrames
from snnfer.representations.count_frames import CountFrames
from snnfer.representations.est import EST
from snnfer.representations.gray_frames import GrayFrames
from snnfer.representations.learned_est import LearnedEST
from snnfer.representations.polarity_image import PolarityImage
from snnfer.representations.ssr import SSREventQueue, SSRHistogram
from snnfer.representations.tie import TIE

__all__ = [
    "EST",
    "REPRESENTATIONS",
    "TIE",
    "BinaryFrames",
    "CountFrames",
    "GrayFrames",
    "LearnedEST",
    "PolarityImage",
    "Representation",
    "SSREventQueue",
    "SSRHistogram",
    "create_representation",
    "list_representations",
    "register_representation",
]
