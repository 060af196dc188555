"""Colour of the skin, lips, brows, beard and hair, painted on the head."""

import numpy as np
from scipy.interpolate import RegularGridInterpolator

from snnfer.synth._shapes import blurred, bump, sigmoid, smoothstep
from snnfer.synth.head import CHIN_Y, CROWN_Y, TEXTURE_ANGLE, HeadMesh, hair_mask
from snnfer.synth.identity import Identity


class Canvas:
    """The texture grid: where each texel lies on the head, and smooth noise over it."""

    def __init__(self, head: HeadMesh, rng: np.random.Generator, *, height: int = 448, width: int = 416) -> None:
        self.rng = rng
        self.shape = (height, width)
        u, v = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
        self.y, self.angle = np.meshgrid(CROWN_Y - v * (CROWN_Y - CHIN_Y), (2 * u - 1) * TEXTURE_ANGLE, indexing="ij")
        grid = head.canonical.reshape(head.rows, head.columns, 2)
        heights, angles = grid[:, 0, 1], head.angle[: head.columns]
        across = RegularGridInterpolator((heights, angles), grid[..., 0], bounds_error=False, fill_value=None)  # type: ignore[arg-type]
        self.x = across(np.stack([self.y, self.angle], -1))

    def noise(self, scale: float) -> np.ndarray:
        """Gaussian noise of about unit size whose grain is `scale` texels wide."""
        white = self.rng.standard_normal(self.shape).astype(np.float32)
        return blurred(white, scale) * scale * 2

    def spot(self, x0: float, y0: float, width: float, height: float) -> np.ndarray:
        """Gaussian spot of height 1."""
        return bump(self.x, self.y, x0, y0, width, height)


def paint_head(identity: Identity, canvas: Canvas) -> np.ndarray:
    """Linear RGB albedo of the whole head, float32 [H, W, 3]."""
    lip = _lip_mask(identity, canvas)
    albedo = _paint_skin(identity, canvas)
    albedo = _blend(albedo, _lip_colour(identity, canvas), lip)
    albedo *= _static_shading(identity, canvas)[..., None]
    albedo = _blend(albedo, _hair_colour(identity, canvas), identity.brow_density * _brow_mask(identity, canvas))
    albedo = _blend(albedo, 0.8 * _hair_colour(identity, canvas), _beard_mask(identity, canvas) * (1 - lip))
    scalp = hair_mask(canvas.x, canvas.y + 2.5 * canvas.noise(5), canvas.angle, identity, softness=1.1)
    albedo = _blend(albedo, _hair_colour(identity, canvas), scalp * (0.35 if identity.bald else 1.0))
    return np.clip(albedo, 0.004, 0.98).astype(np.float32)


def _blend(below: np.ndarray, above: np.ndarray, cover: np.ndarray) -> np.ndarray:
    return below + np.clip(cover, 0, 1)[..., None] * (above - below)


def _paint_skin(p: Identity, c: Canvas) -> np.ndarray:
    tone = np.exp(0.035 * c.noise(18) + 0.035 * c.noise(6) + 0.03 * c.noise(1.6))
    albedo = tone[..., None] * np.array(p.skin)
    flush = np.zeros(c.shape)
    for side in (-1, 1):
        flush = flush + c.spot(side * 38, -32, 13, 12) + 0.6 * c.spot(side * 72, -8, 8, 20)
    flush = flush + 0.7 * c.spot(0, -p.nose_length + 4, 9, 9) + 0.3 * c.noise(9)
    albedo *= np.exp(np.clip(flush, -0.6, 1)[..., None] * np.array([0.05, -0.12, -0.10]))
    under_eyes = c.spot(3 - p.eye_x, -12, 11, 4) + c.spot(p.eye_x - 3, -12, 11, 4)
    albedo *= np.exp(-under_eyes[..., None] * (0.10 + 0.04 * p.wrinkles) * np.array([0.8, 1.0, 0.7]))
    for _ in range(70 if p.freckles else 0):
        place = c.rng.normal(0, 24), c.rng.normal(-16, 12)
        albedo *= 1 - c.spot(*place, 1.0, 1.0)[..., None] * np.array([0.12, 0.2, 0.25])
    for _ in range(p.moles):
        place = c.rng.uniform(-50, 50), c.rng.uniform(-90, 55)
        albedo *= 1 - 0.55 * c.spot(*place, 1.1, 1.1)[..., None]
    return albedo


def _static_shading(p: Identity, c: Canvas) -> np.ndarray:
    """Light that does not reach hollows: eye sockets, sides of the nose, nostrils, under the lower lip."""
    shade = np.ones(c.shape)
    for side in (-1, 1):
        shade *= 1 - 0.22 * c.spot(side * (p.eye_x - 12), 6, 7, 7)
        shade *= 1 - 0.10 * c.spot(side * p.eye_x, 8, 14, 4)
        shade *= 1 - 0.20 * c.spot(side * (p.nose_width + 2.0), -p.nose_length + 1, 2.0, 5)
        nostril = ((c.x - side * 0.48 * p.nose_width) / 3.4) ** 2 + ((c.y + p.nose_length + 3.0) / 1.7) ** 2
        shade *= 1 - 0.8 * np.exp(-nostril)
        shade *= 1 - 0.18 * c.spot(side * (p.mouth_width + 1), p.mouth_y, 2.5, 2.5)
    shade *= 1 - 0.16 * c.spot(0, -p.nose_length - 6, 11, 2.5)
    shade *= 1 - 0.16 * c.spot(0, p.mouth_y - p.lip_lower - 4, 14, 2.6)
    return shade * (1 - 0.25 * smoothstep((-108 - c.y) / 14))


def _lip_mask(p: Identity, c: Canvas) -> np.ndarray:
    rest = np.clip(1 - (c.x / p.mouth_width) ** 2, 0, 1)
    cupids_bow = 1 - 0.2 * np.exp(-((c.x / 3.5) ** 2)) + 0.06 * np.exp(-(((np.abs(c.x) - 6) / 4) ** 2))
    upper = p.mouth_y + p.lip_upper * rest**0.85 * cupids_bow
    lower = p.mouth_y - p.lip_lower * rest**0.7
    return sigmoid((upper - c.y) * 2.2) * sigmoid((c.y - lower) * 1.8) * (rest > 0)


def _lip_colour(p: Identity, c: Canvas) -> np.ndarray:
    grooves = np.exp(0.10 * np.sin(2.4 * c.x + 0.8 * c.noise(3)) + 0.06 * c.noise(1.5))
    upper_darker = 0.82 + 0.18 * smoothstep((p.mouth_y - c.y) / 2)
    return (grooves * upper_darker)[..., None] * np.array(p.lips)


def _brow_mask(p: Identity, c: Canvas) -> np.ndarray:
    mask = np.zeros(c.shape)
    hairs = np.clip(0.85 + 0.45 * c.noise(1.2), 0.3, 1.2)
    for side in (-1, 1):
        along = (side * c.x - p.brow_inner) / (2 * p.brow_length)
        middle = p.brow_y + p.brow_arch * np.sin(np.clip(along, 0, 1) * 0.8 * np.pi) - along
        half = 0.5 * p.brow_thickness * np.interp(along, [-0.05, 0.08, 0.5, 1.0], [0.35, 1, 0.85, 0.12])
        ends = sigmoid((along + 0.02) * 30) * sigmoid((1 - along) * 25)
        mask += sigmoid((half - np.abs(c.y - middle)) * 1.5) * ends * hairs
    return mask


def _beard_mask(p: Identity, c: Canvas) -> np.ndarray:
    stubble = np.clip(1 + 0.25 * c.noise(0.8), 0.4, 1.4)
    cheek_line = p.mouth_y + 4 + 30 * np.clip((np.abs(c.x) - 32) / 30, 0, 1) ** 1.5
    cheeks = sigmoid((cheek_line - c.y) / 2.5) * (1 - 0.7 * c.spot(0, p.mouth_y - 9, 16, 3))
    lip_top = p.mouth_y + p.lip_upper
    upper_lip = sigmoid((c.y - lip_top + 3) / 1.5) * sigmoid((-p.nose_length - 6 - c.y) / 1.5)
    upper_lip *= sigmoid((p.mouth_width + 7 - np.abs(c.x)) / 2)
    return (p.beard * cheeks * (1 - upper_lip) + p.moustache * upper_lip) * stubble * (np.abs(c.angle) < 1.6)


def _hair_colour(p: Identity, c: Canvas) -> np.ndarray:
    strands = blurred(c.rng.standard_normal(c.shape).astype(np.float32), (7.0, 1.0))
    return np.exp(1.6 * strands + 0.12 * c.noise(6))[..., None] * np.array(p.hair)
