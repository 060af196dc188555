"""The head: a deformable grid around a vertical axis, in millimetres.

Coordinates: x to the right in the image, y up, z towards the camera, origin between the eyes. Columns of the grid run
around the head (angle 0 = nose), rows from the chin to the crown; both are denser where the face has detail.
"""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from snnfer.synth._shapes import bump, sigmoid, smoothstep
from snnfer.synth.identity import Identity

SKIN, MOUTH, PLAIN = 0, 1, 2
"""Materials: skin and hair (textured), the strip between the lips, plain colour."""

AXIS_Z = -88.0
CHIN_Y, CROWN_Y = -122.0, 118.0
TEXTURE_ANGLE = 2.0
"""Largest angle the texture covers, in radians to each side."""
LIP_GAP = 0.7
"""The rows of the lips at rest lie this far above and below the mouth line."""

_PROFILE_Y = np.array([-122, -117, -110, -100, -86, -68, -45, -20, 0, 25, 50], float)
_HALF_WIDTH = np.array([20, 27.5, 34, 41.5, 50, 57, 63.5, 68.5, 70.5, 72, 72.5])
_FRONT = np.array([50, 66, 77, 83.5, 85.5, 87, 86, 84.5, 83, 91, 90.5])
_BACK = np.array([42, 46, 52, 58, 66, 76, 88, 97, 102, 105, 104], float)
_ROUNDNESS = np.array([2.0, 2.0, 2.0, 2.0, 2.05, 2.1, 2.15, 2.2, 2.3, 2.3, 2.15])


@dataclass(frozen=True)
class HeadMesh:
    """The head at rest.

    Attributes:
        vertices: Float32 [V, 3], millimetres; V = rows * columns, row by row from the chin up.
        canonical: Float32 [V, 2], the (x, y) at which the skin is painted.
        angle: Float32 [V], radians around the axis, 0 at the nose.
        texture_uv: Float32 [V, 2] in [0, 1].
        triangles: Int32 [F, 3].
        material: Uint8 [F].
        rows: Rows of the grid.
        columns: Columns of the grid.
        upper_lip_row: Row of the edge of the upper lip.
        lower_lip_row: Row of the edge of the lower lip, one below.
    """

    vertices: np.ndarray
    canonical: np.ndarray
    angle: np.ndarray
    texture_uv: np.ndarray
    triangles: np.ndarray
    material: np.ndarray
    rows: int
    columns: int
    upper_lip_row: int
    lower_lip_row: int

    @property
    def in_front(self) -> np.ndarray:
        """Bool [V]: the part that faces the camera, ears excluded."""
        return np.abs(self.angle) < 1.5


def build_head(identity: Identity, *, columns: int = 84, rows: int = 92) -> HeadMesh:
    """Build the head of a person."""
    angles = _column_angles(columns)
    heights, upper_lip_row = _row_heights(rows, identity.mouth_y)
    angle, y = np.meshgrid(angles, heights)
    x, z = _skull(angle, y, identity)
    z = z + _face_relief(x, y, identity) * np.clip(np.cos(angle), 0, 1) ** 0.5
    x = x + _ears(angle, y) * np.sign(x)
    canonical = np.stack([x, y], -1)
    x, y, z = _raise_hair(x, y, z, angle, identity)
    triangles, material = _triangulate(len(heights), columns, angles, upper_lip_row - 1)
    return HeadMesh(
        vertices=np.stack([x, y, z], -1).reshape(-1, 3).astype(np.float32),
        canonical=canonical.reshape(-1, 2).astype(np.float32),
        angle=angle.ravel().astype(np.float32),
        texture_uv=texture_coordinates(angle, canonical[..., 1]).reshape(-1, 2).astype(np.float32),
        triangles=triangles,
        material=material,
        rows=len(heights),
        columns=columns,
        upper_lip_row=upper_lip_row,
        lower_lip_row=upper_lip_row - 1,
    )


def texture_coordinates(angle: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Texture position (u to the right, v down, both in [0, 1]) of points at `angle` and height `y`."""
    u = np.clip(angle / (2 * TEXTURE_ANGLE) + 0.5, 0, 1)
    v = np.clip((CROWN_Y - y) / (CROWN_Y - CHIN_Y), 0, 1)
    return np.stack([u, v], -1)


def hair_mask(x: np.ndarray, y: np.ndarray, angle: np.ndarray, identity: Identity, *, softness: float) -> np.ndarray:
    """How much a point of the head is covered by hair, 0 to 1; `softness` is the width of the border in millimetres."""
    receding = (4.0 + 10.0 * smoothstep((identity.age - 30) / 30)) if identity.male else 0.0
    line = identity.hairline - 7 * (x / 45) ** 2 + receding * np.exp(-(((np.abs(x) - 34) / 12) ** 2))
    top = sigmoid((y - line) / softness)
    border = 1.2 + 0.14 * smoothstep((20 - y) / 40)
    if identity.long_hair:
        line = line - 2 - 14 * smoothstep((np.abs(x - identity.parting) - 6) / 42)
        top = sigmoid((y - line) / softness)
        border = 1.04 + 0.10 * smoothstep((30 - y) / 60)
    side = sigmoid((np.abs(angle) - border) * 60 / softness) * sigmoid((y - identity.sideburn) / (2 * softness))
    if identity.bald:
        top = top * sigmoid((np.abs(angle) - 1.6) * 60 / softness)
        side = side * sigmoid((45 - y) / (4 * softness))
    ear = np.exp(-(((np.abs(angle) - 1.72) / 0.14) ** 4)) * sigmoid((y + 34) / 3) * sigmoid((20 - y) / 3)
    return np.clip(top + side, 0, 1) * (1 - ear)


def _column_angles(columns: int) -> np.ndarray:
    u = np.linspace(-1, 1, columns)
    return np.pi * (0.46 * u + 0.54 * u**3)


def _row_heights(rows: int, mouth_y: float) -> tuple[np.ndarray, int]:
    """Heights of the rows, with four rows around the mouth line; returns the row of the upper lip too."""
    y = np.linspace(CHIN_Y, CROWN_Y, 2000)
    density = 0.5 + sum(
        amount * np.exp(-(((y - centre) / width) ** 2))
        for amount, centre, width in (
            (1.4, 0, 16),
            (1.7, mouth_y, 13),
            (0.8, 22, 14),
            (0.9, -40, 12),
            (1.6, CROWN_Y, 6),
        )
    )
    cumulative = np.cumsum(density)
    position = (cumulative - cumulative[0]) / (cumulative[-1] - cumulative[0])
    heights = np.interp(np.linspace(0, 1, rows), position, y)
    heights = heights[np.abs(heights - mouth_y) > 2.4]
    heights = np.sort(np.append(heights, mouth_y + np.array([-2.0, -LIP_GAP, LIP_GAP, 2.0])))
    return heights, int(np.argmin(np.abs(heights - (mouth_y + LIP_GAP))))


def _skull(angle: np.ndarray, y: np.ndarray, identity: Identity) -> tuple[np.ndarray, np.ndarray]:
    """Superelliptic cross-sections whose width and depth change with height, closed at the crown."""
    height = np.clip(y / identity.face_length, CHIN_Y, CROWN_Y)
    profile_y = np.minimum(height, 50)
    jaw = identity.jaw_width ** np.interp(profile_y, [-110, -86, -45, -10], [0.7, 1.0, 0.6, 0.0])
    crown = np.clip((y - 50) / (CROWN_Y - 50), 0, 1)
    closing = np.maximum(1 - crown**2.2, 1e-4) ** (1 / 2.2)
    half_width = PchipInterpolator(_PROFILE_Y, _HALF_WIDTH)(profile_y) * identity.head_width * jaw * closing
    chin = identity.chin * np.exp(-(((profile_y + 104) / 14) ** 2))
    front = (PchipInterpolator(_PROFILE_Y, _FRONT)(profile_y) + chin) * closing
    back = PchipInterpolator(_PROFILE_Y, _BACK)(profile_y) * identity.head_depth * closing
    power = PchipInterpolator(_PROFILE_Y, _ROUNDNESS)(profile_y)
    cosine, sine = np.cos(angle), np.sin(angle)
    radius = (np.abs(cosine) ** power + np.abs(sine) ** power) ** (-1 / power)
    return half_width * sine * radius, np.where(cosine >= 0, front, back) * cosine * radius + AXIS_Z


def _face_relief(x: np.ndarray, y: np.ndarray, identity: Identity) -> np.ndarray:
    """Depth of the features over the skull, in millimetres."""
    p, mouth = identity, identity.mouth_y
    relief = _nose(x, y, p)
    for side in (-1, 1):
        relief += -8.0 * bump(x, y, side * p.eye_x, 3, 13, 9)
        relief += -3.0 * bump(x, y, side * (p.eye_x - 15), 2, 5, 7)
        relief += p.brow_ridge * bump(x, y, side * p.eye_x * 0.85, p.brow_y - 3, 17, 5.5)
        relief += (4.0 + p.cheek) * bump(x, y, side * 43, -26, 13, 13)
        relief += -2.5 * bump(x, y, side * 38, -62, 10, 15)
        relief += -2.0 * bump(x, y, side * (p.mouth_width + 4), mouth, 4, 5)
    relief += 4.5 * bump(x, y, 0, mouth, 24, 13)
    relief += 3.6 * bump(x, y, 0, mouth + 0.5 * p.lip_upper, 15, 0.55 * p.lip_upper)
    relief += 4.2 * bump(x, y, 0, mouth - 0.5 * p.lip_lower, 14, 0.5 * p.lip_lower)
    relief += -2.2 * bump(x, y, 0, mouth, 21, 1.5)
    relief += -3.8 * bump(x, y, 0, mouth - p.lip_lower - 6, 16, 4.5)
    relief += 5.5 * bump(x, y, 0, -103, 13, 9)
    relief += -1.3 * bump(x, y, 0, mouth + p.lip_upper + 7, 2.4, 5)
    return relief


def _nose(x: np.ndarray, y: np.ndarray, p: Identity) -> np.ndarray:
    along = np.clip(-y / p.nose_length, -0.5, 1.3)  # 0 at the eyes, 1 at the tip
    bridge = 0.55 * p.nose_bridge
    ridge_height = PchipInterpolator(
        [-0.5, 0.0, 0.5, 0.85, 0.98, 1.1, 1.22, 1.3],
        [0, bridge, 0.5 * (bridge + p.nose_depth), 0.96 * p.nose_depth, p.nose_depth, 0.55 * p.nose_depth, 2, 0],
    )(along)
    ridge_width = PchipInterpolator([-0.5, 0.0, 0.6, 1.0, 1.3], [9, 5.6, 6.6, 0.5 * p.nose_width, 0.55 * p.nose_width])(
        along
    )
    nose = ridge_height * np.exp(-0.5 * (x / ridge_width) ** 2)
    for side in (-1, 1):
        nose += 7.0 * bump(x, y, side * 0.72 * p.nose_width, -p.nose_length + 1.5, 0.27 * p.nose_width, 4.6)
    return nose


def _ears(angle: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Outward bulge of the ears, in millimetres."""
    return 12 * np.exp(-(((np.abs(angle) - 1.72) / 0.13) ** 2)) * np.exp(-(((y + 8) / 25) ** 4))


def _raise_hair(
    x: np.ndarray, y: np.ndarray, z: np.ndarray, angle: np.ndarray, identity: Identity
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lift the scalp by the volume of the hair."""
    volume = 1.0 if identity.bald else identity.hair_volume + (3.0 if identity.long_hair else 0.0)
    lift = volume * hair_mask(x, y, angle, identity, softness=3.0)
    direction = np.stack([x, np.maximum(y - 20, 0), z - AXIS_Z])
    direction = direction / (np.linalg.norm(direction, axis=0) + 1e-6)
    return x + lift * direction[0], y + lift * direction[1], z + lift * direction[2]


def grid_triangles(rows: int, columns: int) -> np.ndarray:
    """Two triangles per cell of a grid whose rows go up and columns to the right; int32 [F, 3], front faces outward."""
    corner = np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)[None]
    a, b, c, d = (index.ravel() for index in (corner, corner + 1, corner + columns, corner + columns + 1))
    return np.stack([np.stack([a, b, d], -1), np.stack([a, d, c], -1)], 1).reshape(-1, 3).astype(np.int32)


def _triangulate(rows: int, columns: int, angles: np.ndarray, mouth_row: int) -> tuple[np.ndarray, np.ndarray]:
    triangles = grid_triangles(rows, columns)
    cell_row = np.repeat(np.arange(rows - 1), 2 * (columns - 1))
    cell_column = np.tile(np.repeat(np.arange(columns - 1), 2), rows - 1)
    in_mouth = (cell_row == mouth_row) & (np.abs(angles[cell_column]) < 1.2)
    return triangles, np.where(in_mouth, MOUTH, SKIN).astype(np.uint8)
