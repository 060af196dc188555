"""Who is seen: the parameters of one person, drawn from a seed."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from snnfer.synth._shapes import LUMINANCE, srgb_to_linear

Colour = tuple[float, float, float]

N_MUSCLE_GAINS = 64
"""Room for one expressivity gain per muscle and side."""


class Trait(NamedTuple):
    """Distribution of one measure over people: ``mean + sd * z + male * m + age * a``, clipped.

    `m` runs from about -1 (feminine) to 1 (masculine), `a` is (age - 40) / 20. Lengths are in millimetres.
    """

    mean: float
    sd: float
    low: float
    high: float
    male: float = 0.0
    age: float = 0.0

    def draw(self, rng: np.random.Generator, masculinity: float, age: float) -> float:
        value = self.mean + self.sd * rng.standard_normal() + self.male * masculinity + self.age * age
        return float(np.clip(value, self.low, self.high))


TRAITS = {
    "head_width": Trait(1.0, 0.04, 0.88, 1.12, male=0.02),
    "head_depth": Trait(1.0, 0.03, 0.9, 1.1),
    "face_length": Trait(1.0, 0.035, 0.9, 1.1, male=0.015),
    "jaw_width": Trait(1.0, 0.06, 0.82, 1.2, male=0.055, age=0.015),
    "cheek": Trait(0.0, 1.5, -4, 4, age=-0.5),
    "chin": Trait(0.0, 2.0, -5, 6, male=1.0),
    "brow_ridge": Trait(3.2, 1.0, 0.5, 7, male=1.5),
    "eye_x": Trait(31.5, 1.2, 28, 35),
    "eye_width": Trait(15.2, 0.8, 13, 17.5),
    "eye_upper": Trait(5.6, 0.7, 3.8, 7.6, male=-0.3, age=-0.35),
    "eye_lower": Trait(4.7, 0.4, 3.5, 5.8),
    "eye_tilt": Trait(0.05, 0.05, -0.08, 0.18),
    "iris_radius": Trait(5.9, 0.15, 5.4, 6.4),
    "pupil_radius": Trait(2.0, 0.35, 1.2, 3.0),
    "lid_crease": Trait(4.6, 1.0, 1.5, 7.5),
    "lid_crease_depth": Trait(0.28, 0.12, 0.0, 0.55),
    "brow_y": Trait(18.0, 1.4, 14, 22, male=-1.2),
    "brow_thickness": Trait(5.0, 1.1, 2.2, 9, male=1.0),
    "brow_length": Trait(21.0, 1.3, 17, 25),
    "brow_arch": Trait(3.2, 1.1, 0.5, 6, male=-0.8),
    "brow_inner": Trait(10.5, 1.1, 7, 14),
    "brow_density": Trait(0.72, 0.12, 0.3, 0.95, male=0.06),
    "nose_length": Trait(42.0, 2.4, 35, 50, male=1.2, age=0.6),
    "nose_depth": Trait(21.5, 2.2, 15, 29, male=1.2),
    "nose_width": Trait(15.0, 1.6, 11.5, 20, male=0.7),
    "nose_bridge": Trait(8.5, 1.5, 4.5, 13, male=0.8),
    "mouth_y": Trait(-66.0, 1.8, -72, -61, male=-0.8, age=-0.5),
    "mouth_width": Trait(26.0, 1.9, 21, 31, male=0.6),
    "lip_upper": Trait(6.4, 1.3, 2.8, 10.5, male=-0.6, age=-0.9),
    "lip_lower": Trait(8.6, 1.4, 4.0, 13, male=-0.4, age=-0.7),
    "hairline": Trait(65.0, 4.0, 56, 82, male=2.0, age=1.5),
    "parting": Trait(0.0, 13.0, -28, 28),
    "hair_volume": Trait(6.5, 2.5, 1.0, 15, male=-1.5, age=-1.0),
    "sideburn": Trait(-2.0, 12.0, -40, 20, male=-6.0),
    "wrinkles": Trait(0.75, 0.2, 0.2, 2.2, male=0.05, age=0.45),
    "shine": Trait(0.08, 0.035, 0.015, 0.17),
}

_SKIN_TONES = srgb_to_linear(
    np.array([[250, 216, 196], [238, 190, 160], [217, 165, 128], [189, 130, 92], [141, 89, 62], [98, 62, 46]]) / 255
)
_SKIN_LUMINANCE = (0.62, 0.12)  # lightest, darkest
_HAIR_COLOURS = srgb_to_linear(
    np.array([[24, 20, 19], [46, 33, 26], [84, 58, 41], [110, 58, 36], [142, 108, 70], [196, 164, 112]]) / 255
)
_GREY = srgb_to_linear(np.array([176, 174, 170]) / 255)
_IRIS_COLOURS = srgb_to_linear(
    np.array([[62, 38, 24], [92, 62, 34], [112, 106, 66], [96, 116, 104], [98, 130, 158]]) / 255
)


@dataclass(frozen=True)
class Identity:
    """One person: measures of the head (see `TRAITS`, millimetres), colours (linear RGB) and habits of the muscles.

    Examples:
        >>> Identity.sample(3) == Identity.sample(3), Identity.sample(3) == Identity.sample(4)
        (True, False)
    """

    seed: int
    male: bool
    age: float
    head_width: float
    head_depth: float
    face_length: float
    jaw_width: float
    cheek: float
    chin: float
    brow_ridge: float
    eye_x: float
    eye_width: float
    eye_upper: float
    eye_lower: float
    eye_tilt: float
    iris_radius: float
    pupil_radius: float
    lid_crease: float
    lid_crease_depth: float
    brow_y: float
    brow_thickness: float
    brow_length: float
    brow_arch: float
    brow_inner: float
    brow_density: float
    nose_length: float
    nose_depth: float
    nose_width: float
    nose_bridge: float
    mouth_y: float
    mouth_width: float
    lip_upper: float
    lip_lower: float
    hairline: float
    parting: float
    hair_volume: float
    sideburn: float
    wrinkles: float
    shine: float
    skin: Colour
    lips: Colour
    hair: Colour
    iris: Colour
    long_hair: bool
    bald: bool
    beard: float  # 0 shaven ... 0.9 full
    moustache: float
    freckles: bool
    moles: int
    lashes: float  # darkness of the lash line
    glasses: bool
    glasses_colour: Colour
    laterality: tuple[float, ...]  # per muscle: right-left imbalance
    gain: tuple[float, ...]  # per muscle and side: expressivity
    speed: float  # > 1: slower than the average
    tremor: float

    eyeball_radius = 12.2

    @classmethod
    def sample(cls, seed: int) -> "Identity":
        """Draw a person."""
        rng = np.random.default_rng([seed, 11])
        male = bool(rng.random() < 0.5)
        masculinity = float(rng.normal(0.9 if male else -0.9, 0.25))
        age = float(rng.triangular(18, 32, 76))
        measures = {name: trait.draw(rng, masculinity, (age - 40) / 20) for name, trait in TRAITS.items()}
        return cls(
            seed=seed,
            male=male,
            age=age,
            **measures,
            **_draw_colours(rng, male, age),
            **_draw_style(rng, male, age),
            laterality=tuple(rng.normal(0, 0.12, N_MUSCLE_GAINS).tolist()),
            gain=tuple(np.exp(rng.normal(0, 0.22, N_MUSCLE_GAINS)).tolist()),
            speed=float(np.exp(rng.normal(0, 0.2))),
            tremor=float(np.exp(rng.normal(0, 0.35))),
        )


def _draw_colours(rng: np.random.Generator, male: bool, age: float) -> dict[str, Colour]:
    darkness = float(rng.random())
    skin = _interpolate(_SKIN_TONES, darkness)
    skin = 0.85 * skin + 0.15 * (skin @ LUMINANCE)
    luminance = np.exp(np.interp(darkness, [0, 1], np.log(_SKIN_LUMINANCE)))
    skin = skin * luminance / (skin @ LUMINANCE)
    redness = np.array([0.96, 0.62, 0.62]) * (1.0 - (0.0 if male else 0.12) * rng.random())
    made_up = not male and rng.random() < 0.35
    lips = skin * (np.array([0.8, 0.34, 0.38]) if made_up else redness)
    fair = max(0.0, 1.0 - 2.2 * darkness)
    hair = _interpolate(_HAIR_COLOURS, float(rng.beta(1.2, 1.6)) * (0.12 + 0.88 * fair))
    grey = float(np.clip(rng.normal((age - 48) / 22, 0.2), 0, 1))
    hair = hair + grey * (_GREY - hair)
    iris = _interpolate(_IRIS_COLOURS, float(rng.random()) * fair)
    return {"skin": _tuple(skin), "lips": _tuple(lips), "hair": _tuple(hair), "iris": _tuple(iris)}


def _draw_style(rng: np.random.Generator, male: bool, age: float) -> dict:
    bald = bool(male and rng.random() < 0.05 + max(0.0, (age - 35) / 110))
    beard = float(rng.choice([0.0, 0.18, 0.4, 0.75], p=[0.45, 0.25, 0.15, 0.15])) if male else 0.0
    return {
        "bald": bald,
        "long_hair": bool(not bald and rng.random() < (0.04 if male else 0.72)),
        "beard": beard,
        "moustache": float(beard if rng.random() < 0.8 else 0.0),
        "freckles": bool(rng.random() < 0.2),
        "moles": int(rng.integers(0, 5)),
        "lashes": float(rng.uniform(0.45, 0.65) if male else rng.uniform(0.65, 0.9)),
        "glasses": bool(rng.random() < 0.18),
        "glasses_colour": _tuple(rng.choice([[0.015, 0.015, 0.018], [0.08, 0.035, 0.015], [0.3, 0.28, 0.24]])),
    }


def _interpolate(colours: np.ndarray, position: float) -> np.ndarray:
    knots = np.linspace(0, 1, len(colours))
    return np.stack([np.interp(position, knots, colours[:, c]) for c in range(3)])


def _tuple(colour: np.ndarray) -> Colour:
    red, green, blue = (float(value) for value in colour)
    return red, green, blue
