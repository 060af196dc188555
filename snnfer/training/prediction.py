"""Scores over time for a recording: the trained network on sliding windows of the face."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from snnfer.datasets import ClipInput
from snnfer.datasets.manifest import Box
from snnfer.errors import DatasetError, SnnferError
from snnfer.events import EventStream
from snnfer.models.window_classifier import scores_windows
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

    A model whose input divides whole clips (slicing ``uniform`` or ``count``) takes each window as a clip, and a
    recording shorter than a window as one.

    Args:
        trained: From `load_model`.
        stream: The recording, with frames if the model reads frames.
        box: Square face box ``(x, y, width, height)`` in sensor pixels; None takes the whole sensor.
        span_us: Length of a window in microseconds, rounded to whole steps of the model where these have a length.
        hop_us: Time between the starts of two windows, in microseconds.

    Returns:
        Scores for every window that holds at least one whole step; the last one may be cut by the recording's end.
        Probabilities for classifiers of windows (`WindowClassifier`) and networks made from them, what the network
        gives for others.

    Raises:
        DatasetError: the recording is shorter than one step.
    """
    times, scores = [], []
    for start, end, x in recording_windows(trained.input, stream, box=box, span_us=span_us, hop_us=hop_us):
        times.append((start, end))
        scores.append(to_scores(trained, trained.model(trained.normalise(x[:, None])))[0].numpy())
    starts, ends = np.array(times, dtype=np.int64).T
    return RecordingScores(starts, ends, np.stack(scores), trained.class_names)


def recording_windows(
    input: ClipInput, stream: EventStream, *, box: Box | None, span_us: int, hop_us: int
) -> Iterator[tuple[int, int, torch.Tensor]]:
    """The windows that `predict_recording` scores: start and end in microseconds since the recording began, and tensor.

    Args:
        input: How a stretch becomes a tensor.
        stream, box, span_us, hop_us: As in `predict_recording`.

    Yields:
        The tensor is ``[T, C, H, W]`` without padding, not normalised.

    Raises:
        DatasetError: the recording is shorter than one step.
    """
    for name, value in (("span", span_us), ("hop", hop_us)):
        if value <= 0:
            raise SnnferError(f"a {name} of {value} us", expected="more than 0")
    if input.slicing == "time":
        reader, windows = _windows_of_steps(input, stream, span_us, hop_us)
    else:
        reader, windows = input, _windows_of_clips(stream, span_us, hop_us)
    origin_us = stream.t_start_us
    for start, end in windows:
        n_valid = (end - start) // reader.window_us if reader.slicing == "time" else reader.n_steps
        times = {"t_start_us": origin_us + start, "t_end_us": origin_us + end, "t_origin_us": origin_us}
        yield start, end, reader(stream, n_valid=n_valid, box=box, **times)[:n_valid]


Windows = list[tuple[int, int]]


def _windows_of_steps(input: ClipInput, stream: EventStream, span_us: int, hop_us: int) -> tuple[ClipInput, Windows]:
    """Starts and ends of windows of whole steps since the recording began, and what reads them."""
    step_us = input.window_us
    n_steps = max(1, round(span_us / step_us))
    check_duration(stream, step_us)
    starts = range(0, stream.duration_us - step_us + 1, hop_us)
    windows = [(start, start + step_us * min(n_steps, (stream.duration_us - start) // step_us)) for start in starts]
    return replace(input, n_steps=n_steps), windows


def _windows_of_clips(stream: EventStream, span_us: int, hop_us: int) -> Windows:
    """Starts and ends of whole windows of `span_us`; of a shorter recording, all of it."""
    check_duration(stream, 1)
    duration_us = stream.duration_us + 1
    return [(start, min(start + span_us, duration_us)) for start in range(0, max(duration_us - span_us, 0) + 1, hop_us)]


def to_scores(trained: TrainedModel, output: torch.Tensor) -> torch.Tensor:
    """Output of a network ``[N, K]`` as scores: probabilities for classifiers of windows, votes as they are."""
    return output.softmax(1) if scores_windows(trained.model) else output


def check_duration(stream: EventStream, step_us: int) -> None:
    """Raise `DatasetError` if a recording is shorter than one step."""
    if stream.duration_us < step_us:
        raise DatasetError(
            f"the recording lasts {stream.duration_us / 1e3:.1f} ms",
            expected=f"at least one step of {step_us / 1e3:.0f} ms",
        )
