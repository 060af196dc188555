"""Scores over time for a recording: the trained network on sliding windows of the face."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from snnfer.datasets.manifest import Box
from snnfer.errors import DatasetError, SnnferError
from snnfer.events import EventStream
from snnfer.models import WindowClassifier
from snnfer.training.checkpoint import TrainedModel


@dataclass(frozen=True)
class RecordingScores:
    """Scores of a recording, one row per window.

    Attributes:
        t_start_us, t_end_us: int64 ``[W]``, microseconds since the start of the recording.
        scores: float32 ``[W, K]``.
        class_names: Names of the K classes.
    """

    t_start_us: np.ndarray
    t_end_us: np.ndarray
    scores: np.ndarray
    class_names: tuple[str, ...]

    def top(self, window: int, k: int = 3) -> list[tuple[str, float]]:
        """The `k` best classes of a window with their scores."""
        order = np.argsort(-self.scores[window], kind="stable")[:k]
        return [(self.class_names[i], float(self.scores[window, i])) for i in order]


@torch.no_grad()
def predict_recording(
    trained: TrainedModel,
    stream: EventStream,
    *,
    box: Box | None,
    span_us: int = 990_000,
    hop_us: int = 495_000,
) -> RecordingScores:
    """Score a recording on sliding windows.

    Args:
        trained: From `load_model`.
        stream: The recording, with frames if the model reads frames.
        box: Square face box ``(x, y, width, height)`` in sensor pixels; None takes the whole sensor.
        span_us: Length of a window in microseconds, rounded to whole steps of the model.
        hop_us: Time between the starts of two windows, in microseconds.

    Returns:
        Scores for every window that holds at least one whole step; the last one may be cut by the recording's end.
        Probabilities for classifiers of windows (`WindowClassifier`), what the network gives for others.

    Raises:
        DatasetError: the recording is shorter than one step.
    """
    step_us = trained.input.window_us
    n_steps = max(1, round(span_us / step_us))
    if hop_us <= 0:
        raise SnnferError(f"a hop of {hop_us} us", expected="more than 0")
    check_duration(stream, step_us)
    reader = replace(trained.input, n_steps=n_steps)
    starts = np.arange(0, stream.duration_us - step_us + 1, hop_us)
    scores, ends = [], []
    for start in starts:
        n_valid = int(min(n_steps, (stream.duration_us - start) // step_us))
        start_us, origin_us = stream.t_start_us + int(start), stream.t_start_us
        x = reader(stream, t_start_us=start_us, n_valid=n_valid, box=box, t_origin_us=origin_us)
        scores.append(to_scores(trained, trained.model(trained.normalise(x[:n_valid, None])))[0].numpy())
        ends.append(int(start) + n_valid * step_us)
    return RecordingScores(starts, np.array(ends), np.stack(scores), trained.class_names)


def to_scores(trained: TrainedModel, output: torch.Tensor) -> torch.Tensor:
    """Output of a network ``[N, K]`` as scores: probabilities for classifiers of windows, votes as they are."""
    return output.softmax(1) if isinstance(trained.model, WindowClassifier) else output


def check_duration(stream: EventStream, step_us: int) -> None:
    """Raise `DatasetError` if a recording is shorter than one step."""
    if stream.duration_us < step_us:
        raise DatasetError(
            f"the recording lasts {stream.duration_us / 1e3:.1f} ms",
            expected=f"at least one step of {step_us / 1e3:.0f} ms",
        )
