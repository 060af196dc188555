"""Networks side by side: scores per subject, and cost."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from snnfer.errors import ShapeError
from snnfer.plot.style import COLOURS, GREY, new_figure, si, style_of, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_subject_scores(
    scores: Mapping[str, Sequence[float]],
    intervals: Mapping[str, tuple[float, float | None, float | None]],
    *,
    chance: float,
    xlabel: str = "top-1 accuracy (%)",
) -> "Figure":
    """One row per network: a dot per held-out subject, the pooled score and its interval.

    Args:
        scores: Network name to the score of each subject, 0 to 1.
        intervals: Network name to (estimate, low, high), 0 to 1; low and high may be None.
        chance: Score of guessing, 0 to 1, drawn as a line.
        xlabel: Name of the score with its unit.

    Examples:
        >>> figure = plot_subject_scores({"au_snn": [0.4, 0.6]}, {"au_snn": (0.5, 0.4, 0.6)}, chance=1 / 21)
        >>> figure.axes[0].get_xlabel()
        'top-1 accuracy (%)'
    """
    figure = new_figure(1.4 + 0.62 * len(scores))
    axes = figure.subplots()
    for row, (name, values) in enumerate(scores.items()):
        estimate, low, high = intervals[name]
        colour = style_of(row)["color"]
        axes.plot(
            100 * np.asarray(values), row - 0.2 - _stacked(values), "o", color=colour, markersize=5, alpha=0.6, mew=0
        )
        if low is not None and high is not None:
            axes.plot([100 * low, 100 * high], [row + 0.15] * 2, color=colour, linewidth=3, solid_capstyle="butt")
        axes.plot(100 * estimate, row + 0.15, "D", color=colour, markersize=8, markeredgecolor="black")
    axes.axvline(100 * chance, color=GREY, linestyle="--", linewidth=1.2)
    axes.set_yticks(range(len(scores)), list(scores))
    axes.set_ylim(len(scores) - 0.5, -0.75)
    top = max(100 * max(max(values), intervals[name][2] or 0) for name, values in scores.items())
    axes.set_xlim(0, min(103.0, 1.1 * top + 3))
    tidy(axes, xlabel=xlabel, grid="x")
    _subject_legend(figure, chance)
    return figure


def plot_operations(
    names: Sequence[str],
    parameters: Sequence[float | None],
    macs: Sequence[float | None],
    acs: Sequence[float | None],
) -> "Figure":
    """Bars of the parameters and of the operations per clip of each network, on logarithmic axes.

    Args:
        names: Networks.
        parameters: Number of parameters of each.
        macs: Multiply-accumulates per clip of each.
        acs: Accumulates (additions caused by a spike) per clip of each.

    A value that is None or 0 has no bar and is written out instead.

    Raises:
        ShapeError: the four differ in length.

    Examples:
        >>> len(plot_operations(["au_snn"], [4_312_470], [2.4e9], [1.1e9]).axes)
        2
    """
    if not len(names) == len(parameters) == len(macs) == len(acs):
        raise ShapeError(f"{len(names)} names, {len(parameters)} parameters, {len(macs)} MACs, {len(acs)} ACs")
    figure = new_figure(2.3 + 0.55 * len(names))
    upper, lower = figure.subplots(2, 1, height_ratios=[1.0, 1.6])
    _log_bars(upper, names, [(COLOURS[0], "parameters", parameters)])
    tidy(upper, xlabel="parameters", grid="x")
    _log_bars(lower, names, [(COLOURS[1], "MACs (multiply and add)", macs), (COLOURS[5], "ACs (add only)", acs)])
    tidy(lower, xlabel="operations per clip", grid="x")
    figure.legend(*lower.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    return figure


def _log_bars(axes: "Axes", names: Sequence[str], series: list[tuple[str, str, Sequence[float | None]]]) -> None:
    height = 0.8 / len(series)
    known = [value for _, _, values in series for value in values if value]
    left = 10 ** np.floor(np.log10(min(known, default=1.0)) - 0.5)
    for i, (colour, label, values) in enumerate(series):
        rows = np.arange(len(names)) + (i - (len(series) - 1) / 2) * height
        axes.barh(rows, [value or np.nan for value in values], height=0.9 * height, color=colour, label=label)
        for row, value in zip(rows, values, strict=True):
            text = "not counted" if value is None else si(value)
            axes.annotate(text, (value or left, row), (3, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_xscale("log")
    axes.set_xlim(left, 12 * max(known, default=10.0))
    axes.set_yticks(range(len(names)), list(names))
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.minorticks_off()


def _stacked(values: Sequence[float]) -> np.ndarray:
    """Heights that stack equal values instead of hiding them behind each other; at most half a row high."""
    places = np.round(50 * np.asarray(values)).astype(int)  # dots closer than 2 % of the axis would overlap
    levels = np.array([(places[:i] == place).sum() for i, place in enumerate(places)])
    return levels * min(0.11, 0.5 / max(1, levels.max(initial=0)))


def _subject_legend(figure: "Figure", chance: float) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], marker="o", color=GREY, linestyle="", alpha=0.6, label="one subject"),
        Line2D([], [], marker="D", color=GREY, markeredgecolor="black", linewidth=3, label="all clips, interval"),
        Line2D([], [], color=GREY, linestyle="--", label=f"chance {100 * chance:.1f} %"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8.5, frameon=False,
                  columnspacing=1.0, handletextpad=0.5)  # fmt: skip
