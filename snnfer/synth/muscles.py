"""Muscles of the face as displacement fields of the skin, after Waters (1987).

References:
    Waters, "A Muscle Model for Animating Three-Dimensional Facial Expression", SIGGRAPH 1987; Ekman and Friesen,
    "Facial Action Coding System", 1978 (which muscle makes which Action Unit).
"""

from dataclasses import dataclass

import numpy as np

from snnfer.synth._shapes import smoothstep
from snnfer.synth.head import HeadMesh
from snnfer.synth.identity import Identity

JAW_PIVOT_Y, JAW_PIVOT_Z = -12.0, -72.0
"""Hinge of the jaw, in millimetres."""

AU_MUSCLES: dict[int, dict[str, float]] = {
    1: {"frontalis_inner": 1.0},
    2: {"frontalis_outer": 1.0, "frontalis_inner": 0.25},
    4: {"corrugator": 1.0, "procerus": 0.8},
    6: {"orbicularis_oculi": 1.0, "cheek_raiser": 1.0},
    9: {"levator_labii": 1.0, "nasalis": 1.0, "procerus": 0.8, "corrugator": 0.35, "cheek_raiser": 0.35},
    12: {"zygomaticus": 1.0, "cheek_raiser": 0.35, "levator_labii": 0.12},
    15: {"depressor_anguli": 1.0, "mentalis": 0.2},
    17: {"mentalis": 1.0, "lower_lip_raiser": 1.0},
    23: {"orbicularis_oris": 1.0},
}
"""Action Unit to muscles. Jaw (26), lids (5, 41, 43, 45), head (51-54) and eyes (61-64) move without skin muscles."""


@dataclass(frozen=True)
class Muscles:
    """Displacement fields of all muscles of one person.

    Attributes:
        names: Name of each field; a muscle with two sides has two, right (image left) first.
        fields: Float32 [M, V, 3], displacement in millimetres at full contraction.
        jaw: Float32 [V], how much a vertex follows the jaw, 0 to 1.
    """

    names: tuple[str, ...]
    fields: np.ndarray
    jaw: np.ndarray

    def activation(self, au: int, identity: Identity) -> np.ndarray:
        """Contraction of each field [M] at intensity 1 of an Action Unit, with this person's gains and laterality."""
        weights = AU_MUSCLES.get(au, {})
        contraction = np.zeros(len(self.names))
        for index, name in enumerate(self.names):
            muscle, _, side = name.partition("/")
            imbalance = {"right": 1, "left": -1}.get(side, 0) * identity.laterality[au]
            contraction[index] = weights.get(muscle, 0.0) * identity.gain[index] * (1 + 0.8 * imbalance)
        return contraction


def build_muscles(identity: Identity, head: HeadMesh) -> Muscles:
    """Place the muscles on a head."""
    fields = _upper_face(identity, head) | _lower_face(identity, head)
    for field in fields.values():
        _keep_lips_closed(field, head)
    return Muscles(tuple(fields), np.stack(list(fields.values())).astype(np.float32), _jaw_weights(identity, head))


def linear_muscle(
    head: HeadMesh,
    origin: tuple[float, float],
    insertion: tuple[float, float],
    *,
    pull_mm: float,
    half_angle_deg: float,
) -> np.ndarray:
    """Field [V, 3] of a muscle that pulls the skin around `insertion` towards `origin` on the bone (both (x, y)).

    Strongest at the insertion, falling off as a cosine with the angle from the muscle and with the distance beyond it.
    """
    flat = np.array([1.0, 1.0, 0.35])  # skin slides along the face more than into it
    start, end = np.array([*origin, 0.0]), np.array([*insertion, 0.0])
    length = np.linalg.norm(end - start)
    from_origin = (head.vertices - start) * flat
    distance = np.linalg.norm(from_origin, axis=1) + 1e-9
    cosine = from_origin @ (end - start) / (distance * length)
    angle = np.arccos(np.clip(cosine, -1, 1)) / np.deg2rad(half_angle_deg)
    angular = np.where(angle < 1, np.cos(0.5 * np.pi * np.minimum(angle, 1)), 0.0)
    reach = 1.44 * length
    rise = np.sin(0.5 * np.pi * np.clip(distance / length, 0, 1))
    fall = np.cos(0.5 * np.pi * np.clip((distance - length) / (reach - length), 0, 1))
    strength = pull_mm * angular * np.where(distance < length, rise, fall) * head.in_front
    direction = (start - head.vertices) * flat
    direction /= np.linalg.norm(direction, axis=1, keepdims=True) + 1e-9
    field = strength[:, None] * direction
    field[:, 2] += 0.25 * strength  # the skin bulges a little
    return field


def sphincter_muscle(
    head: HeadMesh, centre: tuple[float, float], half_width: float, half_height: float, *, pull_mm: float
) -> np.ndarray:
    """Field [V, 3] of a ring muscle that draws the skin of an ellipse towards its centre."""
    towards = np.array([*centre, 0.0]) - head.vertices
    towards[:, 2] = 0
    radius = np.hypot(towards[:, 0] / half_width, towards[:, 1] / half_height)
    strength = pull_mm * np.sin(np.pi * np.clip(radius, 0, 1)) * head.in_front
    return strength[:, None] * towards / (np.linalg.norm(towards, axis=1, keepdims=True) + 1e-9)


def _pair(name: str, make) -> dict[str, np.ndarray]:
    """The right (x < 0) and the left field of a muscle."""
    return {f"{name}/right": make(-1), f"{name}/left": make(1)}


def _upper_face(p: Identity, head: HeadMesh) -> dict[str, np.ndarray]:
    def pull(origin, insertion, millimetres, half_angle):
        return lambda s: linear_muscle(
            head,
            (s * origin[0], origin[1]),
            (s * insertion[0], insertion[1]),
            pull_mm=millimetres,
            half_angle_deg=half_angle,
        )

    brow, nose = p.brow_y, p.nose_length
    return {
        **_pair("frontalis_outer", pull((44, brow + 44), (36, brow + 1), 8.5, 32)),
        **_pair("frontalis_inner", pull((14, brow + 42), (13, brow + 1), 6.0, 28)),
        **_pair("corrugator", pull((3, brow - 13), (20, brow + 1), 7.5, 45)),
        "procerus": pull((0, -14), (0, brow + 3), 4.5, 30)(1),
        **_pair("orbicularis_oculi", lambda s: sphincter_muscle(head, (s * p.eye_x, 1), 32, 27, pull_mm=4.2)),
        **_pair("cheek_raiser", pull((42, 6), (40, -30), 6.5, 50)),
        **_pair("levator_labii", pull((11, 6), (15, -nose - 2), 6.0, 34)),
        "nasalis": pull((0, 8), (0, -0.55 * nose), 3.0, 40)(1),
    }


def _lower_face(p: Identity, head: HeadMesh) -> dict[str, np.ndarray]:
    mouth, half = p.mouth_y, p.mouth_width

    def zygomaticus(s):
        return linear_muscle(head, (s * 58, -22), (s * half, mouth), pull_mm=11.0, half_angle_deg=38)

    def depressor(s):
        return linear_muscle(head, (s * (half + 12), -108), (s * half, mouth), pull_mm=8.0, half_angle_deg=34)

    x, y = head.vertices[:, 0], head.vertices[:, 1]
    lip = np.exp(-((x / half) ** 2) - ((y - mouth + 4) / 7) ** 2) * head.in_front * (y < mouth)
    return {
        **_pair("zygomaticus", zygomaticus),
        **_pair("depressor_anguli", depressor),
        "mentalis": linear_muscle(head, (0, mouth - 2), (0, -99), pull_mm=9.0, half_angle_deg=60),
        "orbicularis_oris": sphincter_muscle(head, (0, mouth), half + 12, 18, pull_mm=6.5),
        "lower_lip_raiser": lip[:, None] * np.array([0.0, 4.5, 3.0]),
    }


def _keep_lips_closed(field: np.ndarray, head: HeadMesh) -> None:
    """Give both edges of the lips the mean displacement, so that only the jaw opens the mouth."""
    grid = field.reshape(head.rows, head.columns, 3)
    edges = [head.upper_lip_row, head.lower_lip_row]
    grid[edges] = grid[edges].mean(0)


def _jaw_weights(p: Identity, head: HeadMesh) -> np.ndarray:
    """1 below the mouth, 0 above; the border is sharp at the lips and soft from the corners outwards."""
    across, y = np.abs(head.vertices[:, 0]), head.vertices[:, 1]
    relative = across / p.mouth_width
    softness = 0.8 + 9 * np.clip(relative, 0, 1) ** 4 + 22 * np.clip(relative - 1, 0, 0.75) / 0.75
    below = smoothstep((p.mouth_y - y) / softness * 0.5 + 0.5)
    return (below * np.clip((1.75 - np.abs(head.angle)) / 0.5, 0, 1)).astype(np.float32)
