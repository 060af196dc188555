"""The acting script of a clip: which Action Units move, when and how much.

References:
    Flash and Hogan, "The Coordination of Arm Movements", J. Neurosci. 1985 (minimum jerk); Mastropasqua et al.,
    "Exploring Spatial-Temporal Dynamics in Event-based Facial Micro-Expression Analysis", 2025 (co-activation in posed
    Action Units).
"""

from dataclasses import dataclass

import numpy as np

from snnfer.synth._shapes import minimum_jerk
from snnfer.synth.identity import Identity

AU_TIMING: dict[int, tuple[float, float, float]] = {
    2: (0.25, 0.60, 0.35),
    4: (0.28, 0.60, 0.35),
    5: (0.20, 0.50, 0.30),
    6: (0.30, 0.60, 0.40),
    9: (0.28, 0.50, 0.38),
    12: (0.35, 0.60, 0.45),
    15: (0.35, 0.60, 0.40),
    17: (0.30, 0.55, 0.38),
    23: (0.30, 0.60, 0.35),
    26: (0.35, 0.50, 0.40),
    41: (0.45, 0.70, 0.35),
    43: (0.20, 0.90, 0.25),
    45: (0.085, 0.03, 0.19),
    51: (0.55, 0.50, 0.55),
    52: (0.55, 0.50, 0.55),
    53: (0.50, 0.50, 0.50),
    54: (0.50, 0.50, 0.50),
    61: (0.09, 0.60, 0.09),
    62: (0.09, 0.60, 0.09),
    63: (0.10, 0.60, 0.10),
    64: (0.10, 0.60, 0.10),
}
"""Mean onset, apex and offset in seconds of a posed movement at natural speed."""

HABITUAL_PARTNERS: dict[int, tuple[int, ...]] = {
    2: (5, 1),
    4: (9, 6),
    5: (2,),
    6: (12, 9),
    9: (4, 6, 12),
    12: (6,),
    15: (17,),
    17: (15, 23),
    23: (17,),
    26: (5, 2),
    41: (4,),
    43: (6, 4),
    45: (),
    51: (61,),
    52: (62,),
    53: (63,),
    54: (64, 41),
    61: (51,),
    62: (52,),
    63: (2, 53),
    64: (41, 54),
}
"""Action Units that people tend to move along without meaning to."""

_LEAKING_AUS = (2, 4, 6, 12, 15, 17, 23, 26)
_DRIFTING_AUS = (4, 6, 12, 15, 17, 23)
_LID_AUS = (41, 43, 45)


@dataclass(frozen=True)
class Difficulty:
    """Factors on the variation of the acting.

    Attributes:
        amplitude: Intensity of the acted Action Unit.
        coactivation: Probability of anything that was not asked for.
        pose: Spread of the resting pose of the head.
        timing: Spread of the phases.
        tremor: Idle motion of the head.
        micro: Compress the movement into 170-500 ms.
    """

    amplitude: float = 1.0
    coactivation: float = 1.0
    pose: float = 1.0
    timing: float = 1.0
    tremor: float = 1.0
    micro: bool = False


DIFFICULTIES = {
    "easy": Difficulty(coactivation=0.2, pose=0.4, timing=0.5, tremor=0.5),
    "base": Difficulty(),
    "hard": Difficulty(amplitude=0.75, coactivation=1.6, pose=1.8, timing=1.5, tremor=1.5),
    "micro": Difficulty(amplitude=0.7, micro=True),
}


@dataclass(frozen=True)
class Track:
    """Rise, plateau and fall of one Action Unit; times in seconds."""

    au: int
    amplitude: float
    onset_s: float
    apex_start_s: float
    apex_end_s: float
    offset_s: float

    def level(self, t_s: float) -> float:
        """Intensity at a time."""
        if t_s <= self.onset_s or t_s >= self.offset_s:
            return 0.0
        if t_s < self.apex_start_s:
            return self.amplitude * float(minimum_jerk((t_s - self.onset_s) / (self.apex_start_s - self.onset_s)))
        if t_s <= self.apex_end_s:
            return self.amplitude
        return self.amplitude * float(1 - minimum_jerk((t_s - self.apex_end_s) / (self.offset_s - self.apex_end_s)))


@dataclass(frozen=True)
class Script:
    """All movements of a clip: the acted Action Unit first, then what came along.

    Attributes:
        tracks: Movements; the first is the label of the clip.
        resting: Constant slight intensity of some Action Units, the person's face of the day.
        duration_s: Length of the clip.
    """

    tracks: tuple[Track, ...]
    resting: dict[int, float]
    duration_s: float

    @property
    def acted(self) -> Track:
        """The movement that was asked for."""
        return self.tracks[0]

    def levels(self, t_s: float) -> dict[int, float]:
        """Intensity of each moving Action Unit at a time."""
        levels: dict[int, float] = {}
        for track in self.tracks:
            level = track.level(t_s)
            if level:
                levels[track.au] = levels.get(track.au, 0.0) + level
        return levels


def write_script(au: int, identity: Identity, difficulty: Difficulty, rng: np.random.Generator) -> Script:
    """Draw how a person acts an Action Unit this time."""
    acted, duration_s = _acted_track(au, identity, difficulty, rng)
    tracks = [acted, *_habitual_tracks(acted, difficulty, rng)]
    if rng.random() < 0.25 * difficulty.coactivation:
        tracks.append(_leak(duration_s, rng))
    if au not in _LID_AUS and rng.random() < 0.18 * difficulty.coactivation:
        tracks.append(_blink(duration_s, rng))
    resting = {other: float(abs(rng.normal(0, 0.05))) for other in _DRIFTING_AUS}
    return Script(tuple(tracks), resting, duration_s)


def _acted_track(au: int, identity: Identity, difficulty: Difficulty, rng: np.random.Generator) -> tuple[Track, float]:
    jitter = identity.speed * np.exp(rng.normal(0, 0.22 * difficulty.timing, 3))
    phases = np.array(AU_TIMING[au]) * jitter
    if difficulty.micro:
        phases *= rng.uniform(0.17, 0.5) / phases.sum()
    lead, trail = rng.uniform(0.25, 0.8, 2)
    times = lead + np.concatenate([[0.0], np.cumsum(phases)])
    amplitude = float(np.clip(rng.normal(0.85, 0.2), 0.35, 1.25)) * difficulty.amplitude
    return Track(au, amplitude, *times.tolist()), float(times[-1] + trail)


def _habitual_tracks(acted: Track, difficulty: Difficulty, rng: np.random.Generator) -> list[Track]:
    tracks = []
    times = np.array([acted.onset_s, acted.apex_start_s, acted.apex_end_s, acted.offset_s])
    for partner in HABITUAL_PARTNERS[acted.au]:
        if rng.random() < 0.45 * difficulty.coactivation:
            amplitude = acted.amplitude * rng.uniform(0.08, 0.4)
            shifted = np.maximum.accumulate(times + 0.3 * rng.normal(0, 0.05, 4).cumsum())
            tracks.append(Track(partner, amplitude, *(shifted + 1e-3 * np.arange(4)).tolist()))
    return tracks


def _leak(duration_s: float, rng: np.random.Generator) -> Track:
    """A slight movement that has nothing to do with the task."""
    start = rng.uniform(0, max(duration_s - 0.6, 0.1))
    return Track(int(rng.choice(_LEAKING_AUS)), rng.uniform(0.06, 0.3), start, start + 0.25, start + 0.4, start + 0.7)


def _blink(duration_s: float, rng: np.random.Generator) -> Track:
    start = rng.uniform(0, max(duration_s - 0.3, 0.1))
    return Track(45, 1.0, start, start + 0.08, start + 0.11, start + 0.28)
