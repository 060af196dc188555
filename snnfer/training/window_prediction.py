"""Window by window through a recording: the reconstructed face, and the scores of the classes after each window."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from snnfer.datasets.manifest import Box
from snnfer.errors import CheckpointError, ConfigError, DatasetError
from snnfer.events import EventStream
from snnfer.models.window_classifier import scores_windows
from snnfer.representations import CountFrames
from snnfer.training.checkpoint import TrainedModel, load_model
from snnfer.training.prediction import RecordingScores, check_duration, to_scores


@dataclass(frozen=True)
class WindowPrediction:
    """What the networks make of one window.

    Attributes:
        t_start_us, t_end_us: Microseconds since the first event.
        counts: Events of each polarity in the face box, float32 ``[2, H, W]``, channel 0 OFF and 1 ON.
        frame: The reconstruction ``[C, H, W]`` in [0, 1]; None without a generator, or without events.
        scores: float32 ``[K]``; None without a classifier, or where it gives none for lack of events.
    """

    t_start_us: int
    t_end_us: int
    counts: torch.Tensor
    frame: torch.Tensor | None
    scores: np.ndarray | None


def load_networks(folder: str | os.PathLike[str], trained: TrainedModel) -> tuple[TrainedModel | None, TrainedModel]:
    """Classifier, if any, and generator of the model folder that `trained` was loaded from.

    The generator is the model itself if it reconstructs, else the one in the sub-folder ``generator``.

    Raises:
        CheckpointError: there is no such sub-folder, or its model cannot be used with the classifier.
        ConfigError: the classifier cannot go through a recording window by window.
    """
    if is_reconstruction(trained):
        return None, trained
    path = Path(folder) / "generator"
    if not path.is_dir():
        raise CheckpointError(
            f"the model in '{folder}' classifies and holds no generator",
            expected=f"a model folder '{path}', as in the folders of evTransFER, or a model that reconstructs",
            fix="leave out --reconstruct, or give the folder of a reconstruction model",
        )
    generator = load_model(path)
    if not is_reconstruction(generator):
        raise CheckpointError(
            f"the model in '{path}' is a classifier", expected="a model that reconstructs, as pix2pix"
        )
    if trained.input.slicing != "time":
        raise ConfigError(
            f"the classifier in '{folder}' divides whole clips (slicing '{trained.input.slicing}')",
            expected="a model that reads windows of one length, to go through a recording window by window",
            fix="leave out --reconstruct",
        )
    if generator.input.window_us != trained.input.window_us:
        raise CheckpointError(
            f"a generator for windows of {generator.input.window_us} us in '{folder}'",
            expected=f"the {trained.input.window_us} us of its classifier",
            cause="folders of different trainings were put together",
        )
    if not hasattr(trained.model, "forward_with_state"):
        raise ConfigError(
            f"model '{_name(trained)}' reads whole clips",
            expected="a model with forward_with_state to go through a recording window by window, as evtransfer",
            fix="leave out --reconstruct",
        )
    return trained, generator


def is_reconstruction(trained: TrainedModel) -> bool:
    """Whether a model gives frames, not classes."""
    return hasattr(trained.model, "reconstruct")


def count_recording_windows(trained: TrainedModel, stream: EventStream) -> int:
    """Whole windows of the model in a recording."""
    return stream.duration_us // trained.input.window_us


def predict_windows(
    stream: EventStream,
    *,
    classifier: TrainedModel | None = None,
    generator: TrainedModel | None = None,
    box: Box | None,
) -> Iterator[WindowPrediction]:
    """Go through a recording and give each whole window's reconstruction and scores.

    The classifier streams: it keeps its state from window to window, so that every window is computed once. The
    classifiers of evTransFER were trained on windows with events; a window without any gives no scores, and the next
    one starts from rest.

    Args:
        stream: The recording.
        classifier: From `load_model`; a model with ``forward_with_state``.
        generator: From `load_model`; a reconstruction model for windows of the same length.
        box: Square face box ``(x, y, width, height)`` in sensor pixels; None takes the whole sensor.

    Raises:
        DatasetError: the recording is shorter than one window.
        ConfigError: neither classifier nor generator.
    """
    first = generator or classifier
    if first is None:
        raise ConfigError("no network", expected="a classifier, a generator or both")
    window_us = first.input.window_us
    check_duration(stream, window_us)
    count = CountFrames(window_us, n_steps=1, size=first.input.size)
    reads_gaps = classifier is not None and not scores_windows(classifier.model)
    state = None
    for k in range(count_recording_windows(first, stream)):
        start_us = stream.t_start_us + k * window_us
        counts = count(stream, t_start_us=start_us, t_end_us=start_us + window_us, box=box)[0]
        is_empty = not counts.any()
        frame = None if generator is None or is_empty else _reconstruct(generator, stream, start_us, box)
        scores = None
        if is_empty and not reads_gaps:
            state = None
        elif classifier is not None:
            scores, state = _score(classifier, stream, start_us, box, state)
        yield WindowPrediction(k * window_us, (k + 1) * window_us, counts, frame, scores)


def collect_scores(predictions: Iterable[WindowPrediction], class_names: tuple[str, ...]) -> RecordingScores:
    """The scores of all windows that have some, as `predict_recording` gives them.

    Raises:
        DatasetError: no window has scores.
    """
    scored = [(p.t_start_us, p.t_end_us, p.scores) for p in predictions if p.scores is not None]
    if not scored:
        raise DatasetError(
            "no window with events in the face box",
            cause="a box beside the face, or a still face",
            fix="give --box X,Y,W,H, or --no-face whole",
        )
    starts, ends, scores = zip(*scored, strict=True)
    return RecordingScores(np.array(starts), np.array(ends), np.stack(scores), class_names)


@torch.no_grad()
def _reconstruct(generator: TrainedModel, stream: EventStream, start_us: int, box: Box | None) -> torch.Tensor:
    return generator.model.reconstruct(_read(generator, stream, start_us, box))[0, 0]  # type: ignore[operator]


@torch.no_grad()
def _score(
    classifier: TrainedModel, stream: EventStream, start_us: int, box: Box | None, state: Any
) -> tuple[np.ndarray, Any]:
    model: Any = classifier.model
    output, state = model.forward_with_state(_read(classifier, stream, start_us, box), state)
    return to_scores(classifier, output[0])[0].numpy(), state


def _read(trained: TrainedModel, stream: EventStream, start_us: int, box: Box | None) -> torch.Tensor:
    """One window as the network takes it, ``[1, 1, C, H, W]``."""
    reader = replace(trained.input, n_steps=1)
    x = reader(stream, t_start_us=start_us, n_valid=1, box=box, t_origin_us=stream.t_start_us)
    return trained.normalise(x[:, None])


def _name(trained: TrainedModel) -> str:
    config: Any = trained.model.config
    return config["name"]
