"""Scores of a recording window by window, as they come: constant memory for any length."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from snnfer.datasets.manifest import Box
from snnfer.errors import ConfigError, DatasetError
from snnfer.events import EventReader, EventStream, split_windows
from snnfer.models import StreamingSession, WindowClassifier
from snnfer.training._event_frames import WindowFrames, make_frames
from snnfer.training.checkpoint import TrainedModel
from snnfer.training.latency import LatencyHistogram
from snnfer.training.prediction import to_scores


@dataclass(frozen=True)
class WindowScores:
    """What a network makes of one window.

    Attributes:
        t_start_us, t_end_us: Microseconds since the first event.
        n_events: Events of the window on the whole sensor.
        scores: float32 ``[K]``; None where a classifier of single windows gets no events (see `predict_windows`).
        latency_s: Seconds from having the events of the window to having its scores.
        delay_s: Seconds from the end of the window, on the clock of the recording, to its scores; without that clock
            the same as `latency_s`.
    """

    t_start_us: int
    t_end_us: int
    n_events: int
    scores: np.ndarray | None
    latency_s: float
    delay_s: float

    @property
    def is_late(self) -> bool:
        """Whether the scores came after the end of the next window."""
        return self.delay_s > (self.t_end_us - self.t_start_us) / 1e6


def stream_recording(
    trained: TrainedModel, recording: EventReader | EventStream, *, box: Box | None, realtime: bool = False
) -> Iterator[WindowScores]:
    """Score every whole window of a recording, one after the other, with the state of the network kept.

    Windows, crop, size, representation and normalisation are those of `predict_recording`, so that the mean over all
    windows (of a network that votes at each step) is what it gives for the whole recording as one window. Before the
    first window the network runs once on an empty frame, so that no latency holds what is loaded on first use.

    Args:
        trained: From `load_model`; a network of events with ``forward_with_state``, or one of single windows.
        recording: An open file, read in chunks, or a stream in memory.
        box: Square face box ``(x, y, width, height)`` in sensor pixels; None takes the whole sensor.
        realtime: Whether each window waits for its end on the clock of the recording.

    Raises:
        ConfigError: the model needs whole clips, frames, or reconstructs images.
        DatasetError: the recording is shorter than one window.

    Examples:
        >>> from snnfer import create_model
        >>> from snnfer.datasets import ClipInput
        >>> model = create_model("au_snn", n_classes=2, size=(8, 8), hidden=16).eval()
        >>> given = ClipInput(window_us=10_000, size=(8, 8))
        >>> trained = TrainedModel(model, given, ("AU1", "AU12"), (0.0, 0.0), (1.0, 1.0), {})
        >>> t = np.arange(0, 35_000, 500)
        >>> recording = EventStream.from_arrays(t, t % 7, t % 5, t % 2, width=16, height=16)
        >>> for window in stream_recording(trained, recording, box=None):
        ...     print(window.t_start_us, window.n_events, window.scores.shape)
        0 20 (2,)
        10000 20 (2,)
        20000 20 (2,)
    """
    scorer = _make_scorer(trained)
    frames = make_frames(trained, width=recording.width, height=recording.height, box=box)
    return _run(trained.input.window_us, recording, scorer, frames, realtime=realtime)


class StreamSummary:
    """Scores and latencies of a stream so far, in constant memory.

    Args:
        trained: The model of the stream.

    Attributes:
        n_windows: Windows seen.
        n_late: How many of them were late, see `WindowScores.is_late`.
        latency: Their latencies.
    """

    def __init__(self, trained: TrainedModel) -> None:
        self._integrates = bool(getattr(trained.model, "integrates", False))
        self._total: np.ndarray | None = None
        self._n_scored = 0
        self.n_windows = self.n_late = 0
        self.latency = LatencyHistogram()

    def add(self, window: WindowScores) -> None:
        """Count a window."""
        self.n_windows += 1
        self.n_late += window.is_late
        self.latency.add(window.latency_s)
        if window.scores is None:
            return
        self._n_scored += 1
        now = window.scores.astype(np.float64)
        self._total = now if self._total is None or self._integrates else self._total + now

    @property
    def scores(self) -> np.ndarray | None:
        """Score of the whole stream ``[K]``: the mean over its windows; of networks that integrate, the last."""
        if self._total is None:
            return None
        return self._total if self._integrates else self._total / self._n_scored


class _Scorer:
    """Networks that go on from a state."""

    def __init__(self, trained: TrainedModel) -> None:
        self._trained = trained
        self._session = StreamingSession(trained.model)

    def __call__(self, frame: torch.Tensor, *, has_events: bool) -> np.ndarray | None:
        return to_scores(self._trained, self._session.step(frame)[None])[0].numpy()

    def reset(self) -> None:
        self._session.reset()


class _GapScorer(_Scorer):
    """Classifiers of windows: one without events gives no scores, and the next one starts from rest."""

    def __call__(self, frame: torch.Tensor, *, has_events: bool) -> np.ndarray | None:
        if has_events:
            return super().__call__(frame, has_events=True)
        self.reset()
        return None


class _SingleScorer(_Scorer):
    """Networks without a state that were trained on single windows."""

    def __init__(self, trained: TrainedModel) -> None:
        self._trained = trained

    @torch.inference_mode()
    def __call__(self, frame: torch.Tensor, *, has_events: bool) -> np.ndarray | None:
        # a copy, because the next window is drawn into the same memory, and a model may return a view
        return to_scores(self._trained, self._trained.model(frame[None, None].clone()))[0].numpy()

    def reset(self) -> None:
        """There is no state."""


def _make_scorer(trained: TrainedModel) -> _Scorer:
    _check_input(trained)
    if isinstance(trained.model, WindowClassifier):
        return _GapScorer(trained)
    if hasattr(trained.model, "forward_with_state"):
        return _Scorer(trained)
    if trained.input.n_steps == 1:
        return _SingleScorer(trained)
    raise ConfigError(
        f"model '{_name(trained)}' reads whole clips of {trained.input.n_steps} steps",
        expected="a model with forward_with_state to stream, such as au_snn, or one of single windows",
        fix="use 'snnfer predict', which scores sliding windows",
    )


def _check_input(trained: TrainedModel) -> None:
    if hasattr(trained.model, "reconstruct"):
        raise ConfigError(
            f"model '{_name(trained)}' reconstructs images",
            expected="a classifier",
            fix="use 'snnfer predict --reconstruct'",
        )
    if trained.input.modality != "events":
        raise ConfigError(
            f"model '{_name(trained)}' reads frames (modality '{trained.input.modality}')",
            expected="a model of events",
            fix="use 'snnfer predict'",
        )
    if trained.input.slicing != "time":
        raise ConfigError(
            f"model '{_name(trained)}' divides whole clips (slicing '{trained.input.slicing}')",
            expected="a model of windows of one length (slicing 'time')",
            fix="use 'snnfer predict'",
        )


def _run(
    window_us: int, recording: EventReader | EventStream, scorer: _Scorer, frames: WindowFrames, *, realtime: bool
) -> Iterator[WindowScores]:
    chunks = recording.chunks() if isinstance(recording, EventReader) else [recording.events]
    clock = _RecordingClock() if realtime else _NoClock()
    origin_us = None
    for k, events in enumerate(split_windows(chunks, window_us)):
        if origin_us is None:
            origin_us = int(events["t"][0])
            _warm_up(scorer, frames, events, origin_us)
        start_us = k * window_us
        due_s = clock.wait_for(start_us + window_us)
        begin_s = time.perf_counter()
        frame = frames(events, t_start_us=origin_us + start_us, t_origin_us=origin_us)
        scores = scorer(frame, has_events=frames.holds_events(events))
        end_s = time.perf_counter()
        due_s = begin_s if due_s is None else due_s
        yield WindowScores(start_us, start_us + window_us, len(events), scores, end_s - begin_s, end_s - due_s)
    if origin_us is None:
        raise DatasetError(
            "the recording is too short to stream", expected=f"at least one window of {window_us / 1e3:g} ms"
        )


def _warm_up(scorer: _Scorer, frames: WindowFrames, events: np.ndarray, origin_us: int) -> None:
    """Run everything once, from rest and back to rest."""
    scorer(frames(events[:0], t_start_us=origin_us, t_origin_us=origin_us), has_events=True)
    scorer.reset()


class _NoClock:
    """Windows come as fast as they are read."""

    def wait_for(self, end_us: int) -> float | None:
        return None


class _RecordingClock(_NoClock):
    """The clock of the recording, started with its first window."""

    def __init__(self) -> None:
        self._start_s: float | None = None

    def wait_for(self, end_us: int) -> float:
        """Sleep until the recording has reached `end_us`; that moment on the clock of `time.perf_counter`."""
        now_s = time.perf_counter()
        if self._start_s is None:
            self._start_s = now_s
        due_s = self._start_s + end_us / 1e6
        if due_s > now_s:
            time.sleep(due_s - now_s)
        return due_s


def _name(trained: TrainedModel) -> str:
    config: Any = trained.model.config
    return config["name"]
