"""Controls of a transfer benchmark: what a guess and a linear model reach on the same windows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from snnfer.benchmark.controls import linear_probe_scores, majority_scores
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
    features = coarse_images(samples) if linear_probe else np.empty(0)
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


def coarse_images(samples: WindowSamples, *, side: int = 16) -> np.ndarray:
    """Each sample's windows summed and averaged to ``side x side``, log-compressed: ``[n, C * side * side]``."""
    rows = []
    for i in range(len(samples)):
        x = samples[i][0].float().sum(0, keepdim=True)  # [1, C, H, W]
        rows.append(functional.adaptive_avg_pool2d(x, side).log1p().flatten())
    return torch.stack(rows).numpy()
