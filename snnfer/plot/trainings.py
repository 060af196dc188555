"""Scores of a network that was trained in several ways, side by side."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from snnfer.errors import SnnferError
from snnfer.plot.style import GREY, new_figure, style_of, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Interval = tuple[float, float | None, float | None]


def plot_trainings(
    panels: Mapping[str, Mapping[str, Mapping[str, Interval]]],
    *,
    chance: float,
    xlabel: str = "top-1 accuracy (%)",
) -> "Figure":
    """A panel per network, a row per input, and in each row a dot with its interval per way of training.

    Args:
        panels: Network to input to training to (estimate, low, high), 0 to 1; low and high may be None. A training
            that a row lacks leaves its place empty.
        chance: Score of guessing, 0 to 1, drawn as a line.
        xlabel: Name of the score with its unit.

    Raises:
        SnnferError: there is nothing to draw.

    Examples:
        >>> row = {"from scratch": (0.4, 0.3, 0.5), "transferred": (0.6, 0.5, 0.7)}
        >>> figure = plot_trainings({"without LSTM": {"t0_t": row}, "with LSTM": {"t0_t": row}}, chance=1 / 7)
        >>> len(figure.axes)
        2
    """
    trainings = list(dict.fromkeys(name for rows in panels.values() for row in rows.values() for name in row))
    if not trainings:
        raise SnnferError("no scores to draw", expected="at least one network, input and training")
    n_rows = sum(max(1, len(rows)) for rows in panels.values())
    figure = new_figure(1.0 + 0.62 * n_rows + 0.35 * len(panels))
    heights = [max(1, len(rows)) for rows in panels.values()]
    all_axes = figure.subplots(len(panels), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
    for axes, (title, rows) in zip(all_axes, panels.items(), strict=True):
        for row, scores in enumerate(rows.values()):
            _draw_row(axes, row, scores, trainings)
        axes.axvline(100 * chance, color=GREY, linestyle="--", linewidth=1.2)
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set_ylim(max(1, len(rows)) - 0.5, -0.5)
        tidy(axes, title=title, xlabel=xlabel if axes is all_axes[-1] else "", grid="x")
    all_axes[0].set_xlim(left=0)
    _legend(figure, trainings, chance)
    return figure


def _draw_row(axes: "Axes", row: int, scores: Mapping[str, Interval], trainings: list[str]) -> None:
    offsets = np.linspace(-0.26, 0.26, len(trainings)) if len(trainings) > 1 else np.zeros(1)
    for series, name in enumerate(trainings):
        if name not in scores:
            continue
        (estimate, low, high), style, height = scores[name], style_of(series), row + offsets[series]
        if low is not None and high is not None:
            axes.plot([100 * low, 100 * high], [height] * 2, color=style["color"], linewidth=2.2)
        axes.plot(100 * estimate, height, style["marker"], color=style["color"], markersize=7,
                  markeredgecolor="black", markeredgewidth=0.6)  # fmt: skip


def _legend(figure: "Figure", trainings: list[str], chance: float) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], marker=style_of(i)["marker"], color=style_of(i)["color"], markeredgecolor="black",
               markeredgewidth=0.6, linewidth=2.2, label=name)
        for i, name in enumerate(trainings)
    ]  # fmt: skip
    handles.append(Line2D([], [], color=GREY, linestyle="--", label=f"chance {100 * chance:.1f} %"))
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8.5, frameon=False)
