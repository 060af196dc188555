"""Faces: where they are in an image or in a recording of events."""

from snnfer.faces.boxes import overlap, square_box, suppress
from snnfer.faces.centerface import CenterFace, Face, FaceDetector
from snnfer.faces.event_image import event_image
from snnfer.faces.locate import FaceLocation, locate_face

__all__ = [
    "CenterFace",
    "Face",
    "FaceDetector",
    "FaceLocation",
    "event_image",
    "locate_face",
    "overlap",
    "square_box",
    "suppress",
]
