"""From the acting script to the state of the head at any time."""

import numpy as np

from snnfer.synth.acting import Difficulty, Script
from snnfer.synth.muscles import AU_MUSCLES
from snnfer.synth.person import Person
from snnfer.synth.state import HeadState
from snnfer.synth.wrinkles import wrinkle_depths

JAW_DROP_RAD = np.deg2rad(13.5)
CAMERA_DISTANCE_MM = 800.0
_EYES_ABOVE_CENTRE_MM = 6.0
_VERGENCE_RAD = 0.04
_EYE_CONTACT = 0.85  # how much of the resting pose the eyes undo to look into the camera
_IDLE_RMS = np.array([0.006, 0.005, 0.004, 1.2, 1.0, 1.5])  # yaw, pitch, roll (rad), right, up, away (mm)
_POSE_SD = np.array([0.07, 0.06, 0.03, 12.0, 8.0, 25.0])


class Performance:
    """One person acting one script.

    Args:
        person: Who acts.
        script: What is acted.
        difficulty: Factors on pose and idle motion.
        rng: Draws the resting pose, idle motion and eye movements of this clip.
    """

    def __init__(self, person: Person, script: Script, difficulty: Difficulty, rng: np.random.Generator) -> None:
        self.person, self.script = person, script
        identity, muscles = person.identity, person.muscles
        self._contraction = {au: muscles.activation(au, identity) for au in AU_MUSCLES}
        self._resting_pose = rng.normal(0, 1, 6) * _POSE_SD * difficulty.pose
        self._idle = _IdleMotion(identity.tremor * difficulty.tremor, rng)
        self._fixation = _Fixation(script.duration_s, rng)
        self._eye_contact = _EYE_CONTACT * np.array([-self._resting_pose[0], self._resting_pose[1]])
        turn_deg = rng.normal(27, 6) if script.acted.au in (51, 52) else rng.normal(17, 4)
        glance_deg = rng.normal(26, 5) if script.acted.au in (61, 62) else rng.normal(20, 4)
        self._turn_rad, self._glance_rad = np.deg2rad(turn_deg), np.deg2rad(glance_deg)
        self._resting_opening = float(np.clip(rng.normal(1, 0.05), 0.8, 1.1))
        self._crosstalk = rng.normal(0, 0.12, 2)
        self._gaze_stays = rng.uniform(0, 0.5)

    def state(self, t_s: float) -> HeadState:
        """State of the head at a time."""
        levels = self.script.levels(t_s)
        skin_levels = dict(levels)
        for au, level in self.script.resting.items():
            skin_levels[au] = skin_levels.get(au, 0.0) + level
        turn = self._head_turn(levels)
        gaze = self._gaze(levels, t_s, turn)
        pose = self._resting_pose + self._idle.at(t_s)
        return HeadState(
            contraction=sum(
                (level * self._contraction[au] for au, level in skin_levels.items() if au in self._contraction),
                np.zeros(len(self.person.muscles.names)),
            ),
            wrinkles=wrinkle_depths(skin_levels, self.person.identity),
            jaw=float(JAW_DROP_RAD * levels.get(26, 0.0)),
            eye_opening=np.full(2, self._lid_opening(levels, gaze[1])),
            gaze=np.array([[gaze[0] + _VERGENCE_RAD, gaze[1]], [gaze[0] - _VERGENCE_RAD, gaze[1]]]),
            rotation=pose[:3] + np.array([*turn, 0.0]),
            position=pose[3:] + np.array([0.0, _EYES_ABOVE_CENTRE_MM, CAMERA_DISTANCE_MM]),
            levels=levels,
        )

    def _head_turn(self, levels: dict[int, float]) -> np.ndarray:
        """Yaw and pitch; people do not turn about one axis alone."""
        yaw = self._turn_rad * (levels.get(51, 0.0) - levels.get(52, 0.0))
        pitch = self._turn_rad * (levels.get(54, 0.0) - levels.get(53, 0.0))
        return np.array([yaw + self._crosstalk[0] * pitch, pitch + self._crosstalk[1] * yaw])

    def _gaze(self, levels: dict[int, float], t_s: float, turn: np.ndarray) -> np.ndarray:
        """Azimuth and elevation relative to the head; the eyes partly stay on the camera while the head turns."""
        glance = [levels.get(61, 0.0) - levels.get(62, 0.0), levels.get(63, 0.0) - levels.get(64, 0.0)]
        gaze = self._eye_contact + self._fixation.at(t_s) + self._glance_rad * np.array(glance)
        return gaze + self._gaze_stays * np.array([-turn[0], turn[1]])

    def _lid_opening(self, levels: dict[int, float], elevation: float) -> float:
        """Opening of the lids, which also follow the vertical gaze."""

        def part(au: int, closing: float) -> float:
            return 1 - min(closing * min(levels.get(au, 0.0), 1.0), 1.0)

        opening = self._resting_opening + 0.38 * levels.get(5, 0.0) + 0.08 * levels.get(2, 0.0)
        opening *= part(6, 0.42) * part(9, 0.28) * part(4, 0.25) * part(12, 0.15)
        opening *= part(41, 0.55) * part(43, 1.02) * part(45, 1.05)
        return float(np.clip(opening * (1 + 0.9 * np.clip(elevation, -0.6, 0.6)), 0, 1.7))


class _IdleMotion:
    """Slow wandering and tremor of the head: a sum of sinusoids of 0.12 to 3 Hz."""

    def __init__(self, amount: float, rng: np.random.Generator, n: int = 7) -> None:
        self._hz = np.exp(rng.uniform(np.log(0.12), np.log(3.0), (6, n)))
        amplitude = rng.normal(0, 1, (6, n)) / self._hz**0.9
        amplitude /= np.sqrt((amplitude**2).sum(1, keepdims=True) / 2)
        self._amplitude = amplitude * (_IDLE_RMS * amount)[:, None]
        self._phase = rng.uniform(0, 2 * np.pi, (6, n))

    def at(self, t_s: float) -> np.ndarray:
        return (self._amplitude * np.sin(2 * np.pi * self._hz * t_s + self._phase)).sum(1)


class _Fixation:
    """Small jumps of the eyes while they rest on one point."""

    def __init__(self, duration_s: float, rng: np.random.Generator) -> None:
        n = int(duration_s / 0.2) + 3
        self._times = np.cumsum(rng.gamma(4, 0.1, n))
        self._jumps = rng.normal(0, 0.007, (n + 1, 2))
        self._centre = rng.normal(0, 0.02, 2)

    def at(self, t_s: float) -> np.ndarray:
        return self._centre + self._jumps[np.searchsorted(self._times, t_s)]
