"""Rigid parts beside the head: neck, long hair, glasses. Same millimetres and axes as the head."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from snnfer.synth._shapes import smoothstep
from snnfer.synth.head import AXIS_Z, HeadMesh, grid_triangles
from snnfer.synth.identity import Identity


@dataclass(frozen=True)
class Part:
    """A rigid, plainly coloured surface.

    Attributes:
        vertices: Float32 [V, 3].
        normals: Float32 [V, 3], unit length.
        triangles: Int32 [F, 3].
        colour: Float32 [V, 3], linear RGB albedo.
        follows_head: Moves fully with the head; otherwise it follows a part of the turn, as a neck does.
    """

    vertices: np.ndarray
    normals: np.ndarray
    triangles: np.ndarray
    colour: np.ndarray
    follows_head: bool


def build_parts(identity: Identity, head: HeadMesh, rng: np.random.Generator) -> list[Part]:
    """All parts this person wears or has."""
    parts = [_neck(identity)]
    if identity.long_hair:
        parts.append(_long_hair(identity, rng))
    if identity.glasses:
        parts.append(_glasses(identity, head))
    return parts


def _neck(identity: Identity, columns: int = 40, rows: int = 12) -> Part:
    """A tube that widens to the shoulders, darker in the shadow of the chin."""
    base = (57.0 if identity.male else 49.0) * identity.head_width
    angle, down = np.meshgrid(np.linspace(-0.62, 0.62, columns) * np.pi, np.linspace(1, 0, rows))
    y = -45 - 170 * down
    radius = base * (1 + 0.9 * smoothstep((-125 - y) / 115) ** 1.5)
    vertices = np.stack([radius * np.sin(angle), y, radius * np.cos(angle) - 86 - 6 * down], -1)
    normals = np.stack([np.sin(angle), np.zeros_like(angle), np.cos(angle)], -1)
    shadow = 0.5 + 0.5 * smoothstep((-118 - y) / 45)
    colour = 0.92 * shadow[..., None] * np.array(identity.skin)
    return _part(vertices, normals, grid_triangles(rows, columns), colour, follows_head=False)


def _long_hair(identity: Identity, rng: np.random.Generator, columns: int = 64, rows: int = 30) -> Part:
    """A curtain around the sides and the back, in locks of different tone and length."""
    turn, down = np.meshgrid(np.linspace(-1, 1, columns), np.linspace(1, 0, rows))
    angle = np.pi + turn * (np.pi - 1.2 - 0.1 * smoothstep(down / 0.4))  # from one side over the back to the other
    locks = gaussian_filter1d(rng.standard_normal(columns), 1.5, mode="nearest")
    y = 66 - rng.uniform(135, 235) * (1 + 0.12 * locks) * down
    waves = 2.2 * np.sin(7 * angle + rng.uniform(0, 6) + 4 * down) * down + 3.0 * locks * down
    fall = np.sin(np.pi * np.minimum(1.05 * down, 1)) - 0.9 * smoothstep((down - 0.55) / 0.45)
    width = 77 * identity.head_width + 0.8 * identity.hair_volume + 9 * fall + waves
    depth = 98 * identity.head_depth + waves
    closing = 1 - 0.16 * smoothstep((0.22 - down) / 0.22)
    direction = np.stack([np.sin(angle), np.full_like(angle, 0.2), np.cos(angle) + 0.5], -1)
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    vertices = np.stack([closing * width * np.sin(angle), y, closing * depth * np.cos(angle) + AXIS_Z], -1)
    tone = np.exp(0.45 * locks + rng.normal(0, 0.15, columns) + rng.normal(0, 0.04, (rows, columns)))
    colour = tone[..., None] * np.array(identity.hair) * (1 - 0.3 * smoothstep(1.4 * down - 0.3))[..., None]
    triangles = grid_triangles(rows, columns)
    both_sides = np.concatenate([triangles, triangles[:, ::-1]])
    return _part(vertices, direction, both_sides, colour, follows_head=True)


def _glasses(identity: Identity, head: HeadMesh, segments: int = 40, rim: float = 1.5) -> Part:
    """Two rims, a bridge and the hinge ends of the temples, as flat ribbons in front of the eyes."""
    ribbons = []
    half_width, half_height = 0.80 * identity.eye_x, 0.62 * identity.eye_x
    front = _depth_at(head, 0.0, 4.0) - 1.5
    for side in (-1, 1):
        turn = np.linspace(0, 2 * np.pi, segments + 1)
        cosine, sine = np.cos(turn), np.sin(turn)
        shape = (np.abs(cosine) ** 3 + np.abs(sine) ** 3) ** (-1 / 3)
        rings = [
            np.stack(
                [
                    side * identity.eye_x * 1.04 + (half_width + grow) * shape * cosine,
                    -1 + (half_height + grow) * shape * sine,
                    np.full_like(turn, front),
                ],
                -1,
            )
            for grow in (rim, -rim)
        ]
        ribbons.append(np.stack(rings))
        hinge_x = side * (identity.eye_x * 1.04 + half_width)
        temple = np.array([[hinge_x, 8.0, front], [side * 78 * identity.head_width, 8.0, front - 85]])
        ribbons.append(_widen(temple, 1.8))
    inner = identity.eye_x * 1.04 - half_width
    bridge_x = np.linspace(-inner, inner, 9)
    arch = np.stack([bridge_x, 4 + 2.5 * (1 - (bridge_x / inner) ** 2), np.full(9, front + 1.5)], -1)
    ribbons.append(_widen(arch, rim))
    vertices, triangles, offset = [], [], 0
    for ribbon in ribbons:
        cells = grid_triangles(2, ribbon.shape[1]) + offset
        triangles += [cells, cells[:, ::-1]]
        vertices.append(ribbon.reshape(-1, 3))
        offset += 2 * ribbon.shape[1]
    positions = np.concatenate(vertices)
    normals = np.tile([0.0, 0.2, 0.98], (len(positions), 1))
    colour = np.tile(identity.glasses_colour, (len(positions), 1))
    return _part(positions, normals, np.concatenate(triangles), colour, follows_head=True)


def _widen(line: np.ndarray, half_height: float) -> np.ndarray:
    """Ribbon [2, N, 3] of a line [N, 3], upper edge first."""
    up = np.array([0.0, half_height, 0.0])
    return np.stack([line + up, line - up])


def _depth_at(head: HeadMesh, x: float, y: float) -> float:
    distance = (head.canonical[:, 0] - x) ** 2 + (head.canonical[:, 1] - y) ** 2 + 1e6 * ~head.in_front
    return float(head.vertices[np.argmin(distance), 2])


def _part(
    vertices: np.ndarray, normals: np.ndarray, triangles: np.ndarray, colour: np.ndarray, *, follows_head: bool
) -> Part:
    return Part(
        vertices.reshape(-1, 3).astype(np.float32),
        normals.reshape(-1, 3).astype(np.float32),
        triangles.astype(np.int32),
        colour.reshape(-1, 3).astype(np.float32),
        follows_head,
    )
