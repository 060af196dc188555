"""Wrinkles that deepen as muscles contract."""

from collections.abc import Callable

import numpy as np

from snnfer.synth._shapes import sigmoid
from snnfer.synth.identity import Identity
from snnfer.synth.texture import Canvas

WRINKLE_AUS: dict[str, dict[int, float]] = {
    "forehead": {2: 0.45, 1: 0.5},
    "glabella": {4: 0.55, 9: 0.3},
    "nose": {9: 0.55},
    "crows_feet": {6: 0.45, 12: 0.2, 9: 0.15},
    "nasolabial": {12: 0.4, 9: 0.4, 6: 0.2, 15: 0.15},
    "chin": {17: 0.5, 15: 0.2},
    "mouth_corners": {12: 0.35, 15: 0.45, 23: 0.2},
}
"""Darkening of each wrinkle group per unit of Action Unit intensity."""

RESTING_DEPTH: dict[str, float] = {"nasolabial": 0.12, "forehead": 0.05, "crows_feet": 0.06, "mouth_corners": 0.06}
"""Darkening at rest, times the wrinkle strength of the person."""

MAX_DEPTH = 0.75


def paint_wrinkles(identity: Identity, canvas: Canvas) -> np.ndarray:
    """Masks [G, H, W] in [0, 1], float32, in the order of `WRINKLE_AUS`."""
    return np.stack([np.clip(_PAINTERS[name](identity, canvas), 0, 1) for name in WRINKLE_AUS]).astype(np.float32)


def wrinkle_depths(levels: dict[int, float], identity: Identity) -> np.ndarray:
    """Darkening [G] of each group at the given Action Unit intensities."""
    depths = [
        RESTING_DEPTH.get(name, 0.0) + sum(gain * levels.get(au, 0.0) for au, gain in aus.items())
        for name, aus in WRINKLE_AUS.items()
    ]
    return np.clip(np.array(depths) * identity.wrinkles, 0, MAX_DEPTH)


def _line(distance: np.ndarray, width: float) -> np.ndarray:
    return np.exp(-((distance / width) ** 2))


def _forehead(p: Identity, c: Canvas) -> np.ndarray:
    lines = [_line(c.y - (p.brow_y + 17 + 8 * k + 1.5 * np.sin(c.x / 9 + k)), 1.1) for k in range(4)]
    return np.sum(lines, 0) * np.exp(-((c.x / 38) ** 4))


def _glabella(p: Identity, c: Canvas) -> np.ndarray:
    lines = _line(c.x - 5, 1.2) + _line(c.x + 6, 1.2) + 0.6 * _line(c.x, 1.2)
    return lines * _line(c.y - p.brow_y - 1, 9)


def _nose(p: Identity, c: Canvas) -> np.ndarray:
    lines = [_line(c.y + 2 + 4.5 * k - 0.006 * c.x**2, 1.0) for k in range(3)]
    return np.sum(lines, 0) * np.exp(-((c.x / 12) ** 4))


def _crows_feet(p: Identity, c: Canvas) -> np.ndarray:
    total = np.zeros(c.shape)
    for side in (-1, 1):
        outward = side * c.x - p.eye_x - p.eye_width
        for slope in (-0.5, -0.1, 0.3):
            total += _line(c.y - 1 - slope * outward, 1.0) * sigmoid(outward - 2) * _line(outward - 9, 9)
    return total


def _nasolabial(p: Identity, c: Canvas) -> np.ndarray:
    total = np.zeros(c.shape)
    top, bottom = -p.nose_length + 4, p.mouth_y - 8
    down = np.clip((top - c.y) / (top - bottom), 0, 1.2)
    for side in (-1, 1):
        fold = p.nose_width + 3 + (p.mouth_width + 4 - p.nose_width) * down**0.8
        total += _line(side * c.x - fold, 1.8) * sigmoid((top + 3 - c.y) / 1.5) * sigmoid((c.y - bottom + 1) / 2)
    return total


def _chin(p: Identity, c: Canvas) -> np.ndarray:
    dimples = np.clip(c.noise(2.2), 0, 1) * np.exp(-((c.x / 15) ** 2) - ((c.y + 98) / 9) ** 2)
    return dimples + _line(c.y - (p.mouth_y - p.lip_lower - 6), 1.6) * _line(c.x, 16)


def _mouth_corners(p: Identity, c: Canvas) -> np.ndarray:
    corners = [_line(side * c.x - p.mouth_width - 2.5, 1.6) * _line(c.y - p.mouth_y + 3, 5) for side in (-1, 1)]
    return np.sum(corners, 0)


_PAINTERS: dict[str, Callable[[Identity, Canvas], np.ndarray]] = {
    "forehead": _forehead,
    "glabella": _glabella,
    "nose": _nose,
    "crows_feet": _crows_feet,
    "nasolabial": _nasolabial,
    "chin": _chin,
    "mouth_corners": _mouth_corners,
}
