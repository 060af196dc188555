"""Scores by class: confusion matrix and recall."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from snnfer.errors import ShapeError
from snnfer.plot.style import new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_confusion_matrix(matrix: np.ndarray, class_names: Sequence[str], *, title: str = "") -> "Figure":
    """Confusion matrix with counts in the cells; colour is the share of the true class.

    Args:
        matrix: Counts ``[K, K]``, row = true class, column = predicted class.
        class_names: K names.
        title: Printed above.

    Raises:
        ShapeError: the matrix is not ``[K, K]``.

    Examples:
        >>> figure = plot_confusion_matrix(np.array([[6, 1], [2, 5]]), ["AU4", "AU12"])
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['6', '1', '2', '5']
    """
    matrix = np.asarray(matrix)
    n_classes = len(class_names)
    if matrix.shape != (n_classes, n_classes):
        raise ShapeError(f"a matrix of shape {list(matrix.shape)} for {n_classes} classes", expected="[K, K]")
    side = float(np.clip(0.265 * n_classes, 2.6, 9.0))
    figure = new_figure(side + 0.85, width=side + 0.75)
    axes = figure.subplots()
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for true, predicted in np.argwhere(matrix > 0):
        _number(axes, predicted, true, f"{matrix[true, predicted]:g}", dark=share[true, predicted] > 0.55)
    axes.set_xticks(range(n_classes), list(class_names), rotation=90)
    axes.set_yticks(range(n_classes), list(class_names))
    tidy(axes, xlabel="predicted", ylabel="true", title=title)
    _cell_borders(axes, n_classes, n_classes)
    return figure


def plot_recall(recall: np.ndarray, class_names: Sequence[str], networks: Sequence[str]) -> "Figure":
    """Recall of each class under each network, as coloured cells with numbers in per cent.

    Args:
        recall: ``[K, M]``, 0 to 1; NaN where a class has no clips.
        class_names: K names.
        networks: M names.

    Raises:
        ShapeError: `recall` is not ``[K, M]``.

    Examples:
        >>> figure = plot_recall(np.array([[0.5, 1.0]]), ["AU12"], ["au_snn, events", "au_snn, rgb"])
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['50', '100']
    """
    recall = np.asarray(recall, dtype=float)
    if recall.shape != (len(class_names), len(networks)):
        raise ShapeError(
            f"recall of shape {list(recall.shape)}", expected=f"[{len(class_names)} classes, {len(networks)} networks]"
        )
    figure = new_figure(1.1 + 0.24 * len(class_names))
    axes = figure.subplots()
    axes.imshow(recall, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for k, m in np.ndindex(*recall.shape):
        value = recall[k, m]
        _number(axes, m, k, f"{100 * value:.0f}" if np.isfinite(value) else "n/a", dark=bool(value > 0.55), size=9)
    axes.set_xticks(range(len(networks)), [name.replace(", ", "\n") for name in networks])
    axes.set_yticks(range(len(class_names)), list(class_names))
    axes.xaxis.tick_top()
    tidy(axes)
    _cell_borders(axes, len(class_names), len(networks))
    return figure


def _number(axes: "Axes", column: int, row: int, text: str, *, dark: bool, size: float = 8) -> None:
    axes.text(column, row, text, ha="center", va="center", fontsize=size, color="white" if dark else "black")


def _cell_borders(axes: "Axes", n_rows: int, n_columns: int) -> None:
    axes.set_xticks(np.arange(n_columns + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(n_rows + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#e4e4e4", linewidth=0.6)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
