"""The 68 landmarks of the iBUG scheme on the head.

References:
    Sagonas et al., "300 Faces in-the-Wild Challenge", ICCVW 2013 (order of the points).
"""

from dataclasses import dataclass

import numpy as np

from snnfer.synth.head import HeadMesh
from snnfer.synth.identity import Identity

N_LANDMARKS = 68
_EYE_ROWS = slice(36, 48)


@dataclass(frozen=True)
class Landmarks:
    """Landmarks bound to a head.

    Attributes:
        anchors: Int [68], nearest vertex of each landmark.
        offsets: Float [68, 2], (x, y) from that vertex at rest, in millimetres.
    """

    anchors: np.ndarray
    offsets: np.ndarray
    identity: Identity

    def positions(self, vertices: np.ndarray, eye_opening: np.ndarray) -> np.ndarray:
        """Places [68, 3] in head coordinates of a deformed head; the lids follow `eye_opening` [2] (right, left)."""
        points = vertices[self.anchors].astype(float)
        points[:, :2] += self.offsets
        open_eyes, half_open = (_eyes(self.identity, opening) for opening in (np.ones(2), eye_opening))
        points[_EYE_ROWS, :2] += half_open - open_eyes
        return points


def build_landmarks(identity: Identity, head: HeadMesh) -> Landmarks:
    """Find the landmarks on a head at rest."""
    targets = np.concatenate(
        [_jaw_line(head), _brows(identity), _nose(identity), _eyes(identity, np.ones(2)), _lips(identity)]
    )
    candidates = np.flatnonzero(head.in_front)
    squared = ((head.canonical[candidates][None] - targets[:, None]) ** 2).sum(-1)
    anchors = candidates[squared.argmin(1)]
    return Landmarks(anchors, targets - head.canonical[anchors], identity)


def lid_edges(identity: Identity, across: np.ndarray, opening: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Heights of the upper and the lower lid at `across` = -1 (inner) to 1 (outer corner) of the eye."""
    shape = np.clip(1 - across**2, 0, 1)
    closed = np.clip(1 - opening, 0, None)
    tilt = identity.eye_tilt * across * identity.eye_width
    upper = tilt + (identity.eye_upper * opening - 0.75 * closed * identity.eye_lower) * shape**0.72
    lower = tilt - identity.eye_lower * (1 - 0.25 * closed) * shape**0.82
    return upper, lower


def _jaw_line(head: HeadMesh) -> np.ndarray:
    """Points 0-16: the outline of the lower face, from ear to ear."""
    turn = np.linspace(-1, 1, 17)
    heights = -116 + 108 * np.abs(turn) ** 1.6
    front = head.vertices[np.abs(head.angle) < 1.35]
    nearest = np.abs(front[:, 1][None] - heights[:, None]) < 5
    half_width = np.array([np.abs(front[:, 0][row]).max() for row in nearest])
    return np.stack([half_width * np.sin(0.5 * np.pi * turn), heights], -1)


def _brows(p: Identity) -> np.ndarray:
    along = np.linspace(0, 1, 5)
    x = p.brow_inner + 1.85 * p.brow_length * along
    y = p.brow_y + p.brow_arch * np.sin(0.8 * np.pi * along) - along + 0.3 * p.brow_thickness
    return np.concatenate([np.stack([-x, y], -1)[::-1], np.stack([x, y], -1)])


def _nose(p: Identity) -> np.ndarray:
    bridge = np.stack([np.zeros(4), np.linspace(2, -p.nose_length + 2, 4)], -1)
    x = p.nose_width * np.array([-1, -0.5, 0, 0.5, 1])
    return np.concatenate([bridge, np.stack([x, -p.nose_length - np.array([2, 4, 5, 4, 2.0])], -1)])


def _eyes(p: Identity, opening: np.ndarray) -> np.ndarray:
    """Points 36-47: right eye (image left) from its outer corner, then left eye from its inner corner."""
    across = np.array([-1, -0.42, 0.42, 1, 0.42, -0.42])  # in the direction of x
    eyes = []
    for side, amount in zip((-1, 1), opening, strict=True):
        upper, lower = lid_edges(p, side * across, float(amount))
        y = np.where(np.arange(6) < 4, upper, np.minimum(lower, upper))
        eyes.append(np.stack([side * p.eye_x + p.eye_width * across, y], -1))
    return np.concatenate(eyes)


def _lips(p: Identity) -> np.ndarray:
    up, low = p.lip_upper, -p.lip_lower
    outer_x = np.array([-1, -0.62, -0.2, 0, 0.2, 0.62, 1, 0.6, 0.22, 0, -0.22, -0.6])
    outer_y = np.array([0, 0.7 * up, up, 0.85 * up, up, 0.7 * up, 0, 0.7 * low, 0.95 * low, low, 0.95 * low, 0.7 * low])
    inner_x = np.array([-0.85, -0.3, 0, 0.3, 0.85, 0.3, 0, -0.3])
    inner_y = np.array([0, 1.0, 1.0, 1.0, 0, -1.0, -1.0, -1.0])  # just beside the gap: opens with the jaw
    x = np.concatenate([outer_x, inner_x]) * p.mouth_width
    return np.stack([x, p.mouth_y + np.concatenate([outer_y, inner_y])], -1)
