"""The session of one person: light, illuminance, background and the renderer that shows them."""

from dataclasses import dataclass

import numpy as np

from snnfer.synth._shapes import blurred
from snnfer.synth.identity import Identity
from snnfer.synth.person import Person
from snnfer.synth.renderer import Lighting, Renderer, View

LUX_RANGE = (150.0, 1400.0)
_SHOULDER_DEPTH_MM = 850.0


@dataclass(frozen=True)
class Session:
    """One person in front of the cameras, everything fixed but the person's movements.

    Attributes:
        person: Who.
        renderer: Draws the person in this light and place.
        lux: Illuminance of the scene.
    """

    person: Person
    renderer: Renderer
    lux: float


def build_session(subject: int, view: View, *, seed: int, lux: float | None) -> Session:
    """Set up the session of a subject.

    Args:
        subject: Index of the subject.
        view: The camera.
        seed: Seed of the data set.
        lux: Illuminance, or None to draw one from `LUX_RANGE`.
    """
    rng = np.random.default_rng([seed, subject, 7])
    person = Person(Identity.sample(int(rng.integers(2**31))), detail=view.detail)
    drawn_lux = float(np.exp(rng.uniform(*np.log(LUX_RANGE))))
    lighting = _draw_lighting(rng)
    background, depth = _paint_background(view, rng)
    return Session(person, Renderer(person, view, lighting, background, depth), drawn_lux if lux is None else lux)


def _draw_lighting(rng: np.random.Generator) -> Lighting:
    azimuth, elevation = rng.uniform(-1.1, 1.1), rng.uniform(0.1, 0.9)
    direction = np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])
    share = rng.uniform(0.35, 0.85)
    return Lighting(direction, key=1.1 * share, ambient=1.1 * (1 - share))


def _paint_background(view: View, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A wall with blurred furniture and the shoulders: linear RGB [H, W, 3], and distance in millimetres [H, W]."""
    scale = view.width / 346
    image = np.tile(_muted_colour(rng, 0.08, 0.5), (view.height, view.width, 1)).astype(np.float32)
    for _ in range(int(rng.integers(3, 14))):
        x, y = rng.uniform(-40 * scale, view.width), rng.uniform(-40 * scale, view.height)
        w, h = rng.uniform(15, 160) * scale, rng.uniform(15, 200) * scale
        colour = _muted_colour(rng, 0.04, 0.7)
        image[max(0, int(y)) : max(0, int(y + h)), max(0, int(x)) : max(0, int(x + w))] = colour
    image = blurred(image, rng.uniform(1.0, 4.5) * scale)
    image *= 1 + 0.02 * rng.standard_normal((view.height, view.width, 1)).astype(np.float32)
    depth = np.full((view.height, view.width), rng.uniform(1500, 2600), np.float32)
    shoulders = _shoulder_mask(view)
    clothing = _muted_colour(rng, 0.03, 0.6, saturation=0.5)
    folds = 1 + 0.06 * blurred(rng.standard_normal((view.height, view.width)), 6 * scale) * 12 * scale
    image += shoulders[..., None] * (folds[..., None] * clothing - image)
    depth[shoulders > 0.5] = _SHOULDER_DEPTH_MM
    return np.clip(image, 0.01, 1.0).astype(np.float32), depth


def _shoulder_mask(view: View) -> np.ndarray:
    px_per_mm = view.focal_px / 800
    y, x = np.mgrid[: view.height, : view.width]
    right = (x - view.width / 2) / (215 * px_per_mm)
    down = (y - 0.5 * view.height - 205 * px_per_mm) / (88 * px_per_mm)
    return blurred((right**2 + down**2 <= 1).astype(np.float32), 0.8)


def _muted_colour(rng: np.random.Generator, low: float, high: float, *, saturation: float = 0.14) -> np.ndarray:
    return np.clip(rng.uniform(low, high) * (1 + saturation * rng.normal(0, 0.6, 3)), 0.01, 0.95)
