"""What a synthetic data set is made of."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

from snnfer.errors import ConfigError
from snnfer.synth.acting import AU_TIMING

SYNTH_AUS: tuple[int, ...] = tuple(AU_TIMING)
"""The Action Units that SynthAU can act, in class order: the 21 of the event micro-expression data set."""

EventsFormat = Literal["hdf5", "aedat4"]
DifficultyName = Literal["easy", "base", "hard", "micro"]


@dataclass(frozen=True)
class SynthConfig:
    """Parameters of a synthetic data set; together with the generator's version they determine every byte of it.

    Args:
        n_subjects: Number of people.
        n_repetitions: Clips per person and Action Unit.
        aus: FACS codes to act, out of `SYNTH_AUS`.
        width: Sensor width in pixels.
        height: Sensor height in pixels.
        focal_px: Focal length in pixels; None keeps the field of view of 760 px at a width of 346.
        fps: Frames per second of the gray, RGB and depth cameras.
        difficulty: ``easy`` (less variation), ``base``, ``hard`` (more pose, timing and co-activation, less amplitude),
            ``micro`` (movements of 170-500 ms).
        lux: Illuminance of the scene; None draws 150-1400 lux per person, log-uniformly.
        seed: Seed of everything.
        events_format: File format of the events; with ``aedat4`` the frames stay in an HDF5 file beside it.

    Raises:
        ConfigError: a value is out of range.

    Examples:
        >>> SynthConfig.preset("paper", n_subjects=2).width
        346
    """

    n_subjects: int = 7
    n_repetitions: int = 1
    aus: tuple[int, ...] = SYNTH_AUS
    width: int = 346
    height: int = 260
    focal_px: float | None = None
    fps: float = 30.0
    difficulty: DifficultyName = "base"
    lux: float | None = None
    seed: int = 0
    events_format: EventsFormat = "hdf5"

    def __post_init__(self) -> None:
        object.__setattr__(self, "aus", tuple(self.aus))
        for name, low, high in (
            ("n_subjects", 1, 10_000),
            ("n_repetitions", 1, 1000),
            ("width", 32, 4096),
            ("height", 32, 4096),
            ("focal_px", 20, 100_000),
            ("fps", 1, 200),
            ("lux", 0.01, 200_000),
            ("seed", 0, 2**31 - 1),
        ):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ConfigError(f"{name} = {value}", expected=f"a value from {low} to {high}")
        for name, choices in (("difficulty", ("easy", "base", "hard", "micro")), ("events_format", ("hdf5", "aedat4"))):
            if getattr(self, name) not in choices:
                raise ConfigError(f"{name} = '{getattr(self, name)}'", expected="one of " + ", ".join(choices))
        unknown = [au for au in self.aus if au not in SYNTH_AUS]
        if unknown or not self.aus or len(set(self.aus)) < len(self.aus):
            given = f"aus = {list(self.aus)}"
            raise ConfigError(given, expected="different codes out of " + ", ".join(map(str, SYNTH_AUS)))

    @property
    def focal(self) -> float:
        """Focal length in pixels."""
        return 760.0 * self.width / 346 if self.focal_px is None else self.focal_px

    @classmethod
    def preset(cls, name: str, **changes) -> "SynthConfig":
        """A preset size, with `changes` to its fields: ``tiny``, ``small``, ``paper`` or ``large``."""
        if name not in PRESETS:
            raise ConfigError(f"preset '{name}'", expected="one of " + ", ".join(PRESETS))
        return dataclasses.replace(PRESETS[name], **changes)


PRESETS = {
    "tiny": SynthConfig(n_subjects=3, width=128, height=96),
    "small": SynthConfig(n_subjects=5, width=173, height=130),
    "paper": SynthConfig(),
    "large": SynthConfig(n_subjects=60, n_repetitions=3),
}
"""Sizes: tests (seconds), demo (minutes), the size of the event micro-expression data set, and one for a cluster."""
