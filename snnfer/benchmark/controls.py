"""Controls that every report carries: what a guess and what a linear model reach on the same folds."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from snnfer._optional import require
from snnfer.benchmark.jobs import Variant
from snnfer.benchmark.protocol import ClipFold
from snnfer.datasets import ClipTensors, WindowSamples

CONTROL: Variant = "control"


def majority_scores(labels: np.ndarray, train: list[int], test: list[int], n_classes: int) -> np.ndarray:
    """Class frequencies of the training clips, the same for every test clip: ``[len(test), n_classes]``."""
    frequency = np.bincount(labels[train], minlength=n_classes) / len(train)
    return np.tile(frequency, (len(test), 1))


def linear_probe_scores(
    features: np.ndarray, labels: np.ndarray, train: list[int], test: list[int], n_classes: int
) -> np.ndarray:
    """Scores of a ridge classifier fitted to the training clips alone: ``[len(test), n_classes]``.

    Features are standardised with the training clips' statistics; the penalty is chosen among powers of ten by
    leave-one-out error within the training clips.
    """
    linear = require("sklearn.linear_model", extra="bench")
    pipeline = require("sklearn.pipeline", extra="bench")
    preprocessing = require("sklearn.preprocessing", extra="bench")
    probe = pipeline.make_pipeline(
        preprocessing.StandardScaler(), linear.RidgeClassifierCV(alphas=10.0 ** np.arange(0, 6))
    )
    probe.fit(features[train], labels[train])
    decision = probe.decision_function(features[test])
    known = probe.classes_
    if decision.ndim == 1:  # two classes give one column
        decision = np.stack([-decision, decision], axis=1)
    scores = np.full((len(test), n_classes), decision.min() - 1.0)
    scores[:, known] = decision
    return scores


def summed_features(clips: ClipTensors | WindowSamples, *, side: int = 16) -> np.ndarray:
    """Mean over valid steps of each channel on a coarse ``side x side`` grid, log-compressed: ``[n, C*side*side]``."""
    import torch
    from torch.nn import functional

    rows = []
    for i in range(len(clips)):
        x, _, length = clips[i]
        mean = x[:length].float().mean(0, keepdim=True)  # [1, C, H, W]
        rows.append(functional.adaptive_avg_pool2d(mean, side).log1p().flatten())
    return torch.stack(rows).numpy()


def control_rows(
    clips: ClipTensors, folds: Sequence[ClipFold], modality: str, *, majority: bool, linear_probe: bool
) -> list[dict[str, Any]]:
    """Rows of the predictions table for the controls of one modality."""
    labels, n_classes = np.array(clips.labels), len(clips.data.class_names)
    features = summed_features(clips) if linear_probe else np.empty(0)
    rows = []
    for fold in folds:
        train, test = fold.seen, list(fold.test)
        if majority:
            rows += _rows("majority", modality, fold, clips, test, majority_scores(labels, train, test, n_classes))
        if linear_probe:
            scores = linear_probe_scores(features, labels, train, test, n_classes)
            rows += _rows("linear_probe", modality, fold, clips, test, scores)
    return rows


def _rows(
    name: str, modality: str, fold: ClipFold, clips: ClipTensors, indices: list[int], scores: np.ndarray
) -> list[dict[str, Any]]:
    return [
        {
            "model": name,
            "modality": modality,
            "variant": CONTROL,
            "seed": 0,
            "fold": fold.name,
            "subject": clips.data.clips[i].subject,
            "clip": clips.data.clips[i].clip,
            "y_true": clips.labels[i],
            "scores": row.tolist(),
            "prediction_over_time": None,
        }
        for i, row in zip(indices, scores, strict=True)
    ]
