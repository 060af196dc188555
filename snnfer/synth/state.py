"""What the head does at one moment."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class HeadState:
    """State of the head that determines one image.

    Attributes:
        contraction: Float [M], contraction of each muscle field.
        wrinkles: Float [G], darkening of each wrinkle group.
        jaw: Opening of the jaw in radians.
        eye_opening: Float [2], right (image left) and left eye; 1 = open, 0 = closed.
        gaze: Float [2, 2], azimuth and elevation of each eye relative to the head, in radians.
        rotation: Yaw, pitch and roll in radians; positive yaw turns to the right of the image, positive pitch down.
        position: Place of the point between the eyes in millimetres: right, up, and distance from the camera.
        levels: Intensity of each active Action Unit.
    """

    contraction: np.ndarray
    wrinkles: np.ndarray
    jaw: float
    eye_opening: np.ndarray
    gaze: np.ndarray
    rotation: np.ndarray
    position: np.ndarray
    levels: dict[int, float]


def rotation_matrix(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Rotation by roll about z, then pitch about x, then yaw about y."""
    (cy, cp, cr), (sy, sp, sr) = np.cos([yaw, pitch, roll]), np.sin([yaw, pitch, roll])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return about_y @ about_x @ about_z
