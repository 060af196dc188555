"""Controls of a transfer benchmark: what a guess and a linear model reach on the same windows."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from snnfer.benchmark.controls import linear_probe_scores, majority_scores, summed_features
from snnfer.benchmark.protocol import ClipFold
from snnfer.benchmark.transfer.tasks import prediction_rows
from snnfer.datasets import WindowSamples


def control_rows(
    samples: WindowSamples,
    folds: Sequence[ClipFold],
    representation: str,
    *,
    majority: bool,
    linear_probe: bool,
) -> list[dict[str, Any]]:
    """Rows of the predictions table for the controls."""
    labels, n_classes = np.array(samples.labels), len(samples.data.class_names)
    features = summed_features(samples) if linear_probe else np.empty(0)
    rows = []
    for fold in folds:
        train, test = samples.of_clips(fold.train), samples.of_clips(fold.test)
        identity = {"encoder_training": "", "variant": "control", "seed": 0, "fold": fold.name}
        if majority:
            scores = majority_scores(labels, train, test, n_classes)
            rows += prediction_rows(samples, test, scores, {"system": "majority", "representation": "", **identity})
        if linear_probe:
            scores = linear_probe_scores(features, labels, train, test, n_classes)
            name = {"system": "linear_probe", "representation": representation}
            rows += prediction_rows(samples, test, scores, {**name, **identity})
    return rows
