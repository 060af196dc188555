"""One clip: a person acts, the event camera and the frame cameras record."""

from dataclasses import dataclass, field

import numpy as np

from snnfer.events.emulate import DvsSensor
from snnfer.events.stream import EventStream, FrameStream
from snnfer.synth.acting import DIFFICULTIES, Script, write_script
from snnfer.synth.camera import FrameCamera
from snnfer.synth.config import SYNTH_AUS, SynthConfig
from snnfer.synth.performance import Performance
from snnfer.synth.renderer import Renderer, luminance
from snnfer.synth.scene import Session
from snnfer.synth.state import HeadState

_STEP_US = (1000, 8000)  # shortest and longest time between two images
_STEP_GROWTH = 1.8
_STEP_PX = 0.4  # nothing moves further than this between two images
_MM_PER_OPENING = 10.0  # travel of a lid
_EYEBALL_MM = 12.2
_CAMERA_MM = 800.0
_BOX_MARGIN = 1.25  # the box of a clip, relative to the box of its first frame
_DETECTOR_JITTER = 0.02  # standard deviation, relative to the face


@dataclass(frozen=True)
class Clip:
    """Which clip of a data set: subject and repetition count from 0."""

    subject: int
    au: int
    repetition: int

    @property
    def name(self) -> str:
        """Name, unique in the data set."""
        return f"s{self.subject:02d}_au{self.au:02d}_r{self.repetition}"


@dataclass(frozen=True)
class Recording:
    """A recorded clip.

    Attributes:
        stream: Events, and the frames ``gray``, ``rgb`` and ``depth``.
        labels: Arrays by name, see `Labels`.
        script: What was acted.
        box: Square face box (x, y, width, height), fixed for the clip.
        lux: Illuminance.
        noise_count: Events that were noise.
    """

    stream: EventStream
    labels: dict[str, np.ndarray]
    script: Script
    box: tuple[int, int, int, int]
    lux: float
    noise_count: int


@dataclass
class Labels:
    """Labels of every frame, collected during a recording."""

    t_us: list[int] = field(default_factory=list)
    landmarks: list[np.ndarray] = field(default_factory=list)
    box: list[np.ndarray] = field(default_factory=list)
    rotation: list[np.ndarray] = field(default_factory=list)
    position: list[np.ndarray] = field(default_factory=list)
    gaze: list[np.ndarray] = field(default_factory=list)
    eye_opening: list[np.ndarray] = field(default_factory=list)
    intensity: list[list[float]] = field(default_factory=list)

    def add(self, t_us: int, state: HeadState, landmarks: np.ndarray, rng: np.random.Generator) -> None:
        """Label one frame."""
        self.t_us.append(t_us)
        self.landmarks.append(landmarks)
        self.box.append(detector_box(landmarks, rng))
        self.rotation.append(state.rotation)
        self.position.append(state.position)
        self.gaze.append(state.gaze)
        self.eye_opening.append(state.eye_opening)
        self.intensity.append([state.levels.get(au, 0.0) for au in SYNTH_AUS])

    def arrays(self) -> dict[str, np.ndarray]:
        """``t_us`` int64 [F]; ``landmarks`` [F, 68, 2] and ``box`` [F, 4] (x, y, width, height) in pixels; ``rotation``
        [F, 3] (yaw, pitch, roll, radians); ``position`` [F, 3] (mm); ``gaze`` [F, 2, 2] (radians); ``eye_opening``
        [F, 2]; ``intensity`` [F, 21] of the Action Units ``aus`` [21]; all float32 but the first and the last.
        """
        floats = ("landmarks", "box", "rotation", "position", "gaze", "eye_opening", "intensity")
        arrays = {name: np.array(getattr(self, name), np.float32) for name in floats}
        return {"t_us": np.array(self.t_us, np.int64), "aus": np.array(SYNTH_AUS, np.int64), **arrays}


def record_clip(session: Session, clip: Clip, config: SynthConfig) -> Recording:
    """Let a person act an Action Unit and record it.

    Args:
        session: The person in front of the cameras.
        clip: Which clip; with the seed of the config it decides everything random.
        config: The data set.
    """
    key = [config.seed, clip.subject, clip.au, clip.repetition]
    acting_rng, camera_rng, label_rng = (np.random.default_rng([*key, stream]) for stream in (1, 2, 3))
    difficulty = DIFFICULTIES[config.difficulty]
    script = write_script(clip.au, session.person.identity, difficulty, acting_rng)
    performance = Performance(session.person, script, difficulty, acting_rng)
    lux = session.lux * float(np.exp(acting_rng.normal(0, 0.08)))
    noise_seed = int(np.random.default_rng([*key, 4]).integers(2**31))
    sensor = DvsSensor(config.height, config.width, seed=config.seed, noise_seed=noise_seed)
    shoot = _Shoot(session.renderer, performance, sensor, lux, config.fps, camera_rng, label_rng)
    box = clip_box(detector_box(shoot.first_landmarks, label_rng))
    events = shoot.run(int(script.duration_s * 1e6))
    stream = EventStream(events, config.width, config.height, frames=shoot.frames())
    return Recording(stream, shoot.labels.arrays(), script, box, lux, sensor.noise_count)


def detector_box(landmarks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Box (x, y, width, height) from the forehead to the chin, with the jitter of a face detector."""
    low, high = landmarks.min(0), landmarks.max(0)
    height = high[1] - low[1]
    corners = np.array([low[0], low[1] - 0.25 * height, high[0], high[1] + 0.02 * height])
    corners += rng.normal(0, _DETECTOR_JITTER * height, 4)
    return np.concatenate([corners[:2], corners[2:] - corners[:2]])


def clip_box(box: np.ndarray) -> tuple[int, int, int, int]:
    """Generous square of whole pixels around a box."""
    side = int(np.ceil(_BOX_MARGIN * max(box[2], box[3])))
    x, y = np.round(box[:2] + 0.5 * box[2:] - 0.5 * side)
    return int(x), int(y), side, side


class _Shoot:
    """The loop over time: state, image, events, exposure, in steps as long as the motion allows."""

    def __init__(
        self,
        renderer: Renderer,
        performance: Performance,
        sensor: DvsSensor,
        lux: float,
        fps: float,
        camera_rng: np.random.Generator,
        label_rng: np.random.Generator,
    ) -> None:
        self.renderer, self.performance, self.sensor, self.lux, self.fps = renderer, performance, sensor, lux, fps
        self.labels = Labels()
        self._label_rng = label_rng
        self._gray, self._rgb, self._depth = [], [], []
        self._state = self._before = performance.state(0.0)
        light = renderer.render(self._state)
        self._camera = FrameCamera(lux, light, camera_rng)
        self.sensor.step(lux * luminance(light), 0)
        self.first_landmarks = self._landmarks = renderer.landmarks(self._state)

    def run(self, duration_us: int) -> np.ndarray:
        """Record; returns all events."""
        parts, t_us, step_us = [], 0, 2000
        while t_us < duration_us:
            frame_us = self._frame_time(len(self._gray))
            next_us = min(t_us + step_us, frame_us, duration_us)
            parts.append(self._advance(t_us, next_us, frame_us))
            if next_us == frame_us:
                self._take_frame(next_us)
            step_us = self._next_step(next_us - t_us, step_us)
            t_us = next_us
        return np.concatenate(parts)

    def frames(self) -> dict[str, FrameStream]:
        """The frames taken; their time is the end of the exposure."""
        t_us = np.array(self.labels.t_us, np.int64)
        stacks = {"gray": self._gray, "rgb": self._rgb, "depth": self._depth}
        return {name: FrameStream(t_us, np.stack(images)) for name, images in stacks.items()}

    def _frame_time(self, index: int) -> int:
        return round((index + 1) / self.fps * 1e6)

    def _advance(self, t_us: int, next_us: int, frame_us: int) -> np.ndarray:
        self._state = self.performance.state(next_us * 1e-6)
        light = self.renderer.render(self._state)
        shutter_us = frame_us - self._camera.exposure_s * 1e6
        self._camera.expose(light, (next_us - max(t_us, shutter_us)) * 1e-6)
        return self.sensor.step(self.lux * luminance(light), next_us)

    def _take_frame(self, t_us: int) -> None:
        gray, rgb = self._camera.read_out()
        self._gray.append(gray)
        self._rgb.append(rgb)
        self._depth.append(np.round(self.renderer.depth()).astype(np.uint16))
        self.labels.add(t_us, self._state, self.renderer.landmarks(self._state), self._label_rng)

    def _next_step(self, passed_us: int, step_us: int) -> int:
        """Longest step in which nothing moves by more than `_STEP_PX` at the speed just seen."""
        before, self._before = self._before, self._state
        landmarks = self.renderer.landmarks(self._state)
        moved_px = np.linalg.norm(landmarks - self._landmarks, axis=1).max()
        self._landmarks = landmarks
        px_per_mm = self.renderer.view.focal_px / _CAMERA_MM
        lids = _MM_PER_OPENING * np.abs(self._state.eye_opening - before.eye_opening).max()
        pupils = _EYEBALL_MM * np.abs(self._state.gaze - before.gaze).max()
        speed = max(moved_px, lids * px_per_mm, pupils * px_per_mm) / passed_us
        wanted = min(_STEP_PX / max(speed, 1e-9), _STEP_GROWTH * step_us)
        return int(np.clip(wanted, *_STEP_US))
