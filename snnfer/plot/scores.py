"""Class scores over the time of a recording."""

import os
from collections.abc import Sequence

import numpy as np

from snnfer._files import atomic_path
from snnfer._optional import require


def save_scores_plot(
    path: str | os.PathLike[str],
    t_start_us: np.ndarray,
    t_end_us: np.ndarray,
    scores: np.ndarray,
    class_names: Sequence[str],
) -> None:
    """Write a picture of the scores: one row per class, one column per window, the best class marked if there is one.

    Args:
        path: ``.png``, ``.pdf`` or ``.svg``.
        t_start_us, t_end_us: Start and end of each window in microseconds, ``[W]``.
        scores: ``[W, K]``.
        class_names: K names.
    """
    figure_class = require("matplotlib.figure", extra="plot").Figure
    n_windows, n_classes = scores.shape
    figure = figure_class(figsize=(max(6.0, 0.35 * n_windows + 2.5), 0.24 * n_classes + 1.4), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(scores.T, aspect="auto", cmap="viridis", interpolation="nearest")
    clear = np.flatnonzero(scores.max(axis=1) > scores.min(axis=1))  # windows that have a highest score
    axes.plot(clear, scores[clear].argmax(axis=1), "o", color="white", markeredgecolor="black", markersize=5)
    axes.set_yticks(range(n_classes), class_names, fontsize=8)
    ticks = np.unique(np.linspace(0, n_windows - 1, min(n_windows, 8)).round().astype(int))
    axes.set_xticks(ticks, _format_seconds((t_start_us[ticks] + t_end_us[ticks]) / 2e6))
    axes.set_xlabel("middle of the window (s)")
    axes.set_title("Scores per window; the dot marks the highest", fontsize=10)
    figure.colorbar(image, ax=axes, label="score (target: 1)")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _format_seconds(times: np.ndarray) -> list[str]:
    """Times with two decimals, or with three where two would change one of them."""
    n_decimals = 2 if np.allclose(times, times.round(2), rtol=0, atol=1e-6) else 3
    return [f"{time:.{n_decimals}f}" for time in times]
