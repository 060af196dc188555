"""Accuracy as a clip goes on."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from snnfer.plot.style import GREY, new_figure, style_of, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_accuracy_over_time(
    curves: Mapping[str, Sequence[float] | None], *, chance: float, step_s: float | None = None
) -> "Figure":
    """Top-1 accuracy of the prediction after each step.

    Args:
        curves: Network name to its accuracy after steps 1, 2, ..., 0 to 1. None draws nothing, but keeps the
            colours of the others as in figures that show all networks.
        chance: Accuracy of guessing, 0 to 1.
        step_s: Length of a step in seconds; None counts steps instead.

    Examples:
        >>> plot_accuracy_over_time({"au_snn": [0.05, 0.4]}, chance=1 / 21, step_s=0.033).axes[0].get_xlabel()
        'time since the start of the clip (s)'
    """
    figure = new_figure(3.1)
    axes = figure.subplots()
    for i, (name, curve) in enumerate(curves.items()):
        if curve is None:
            continue
        time = (np.arange(len(curve)) + 1) * (step_s or 1)
        axes.plot(time, 100 * np.asarray(curve), label=name, markersize=4, markevery=max(1, len(curve) // 10),
                  linewidth=1.6, **style_of(i))  # fmt: skip
    axes.axhline(100 * chance, color=GREY, linestyle="--", linewidth=1.2, label="chance")
    axes.set_ylim(0)
    axes.set_xlim(0)
    tidy(axes, xlabel="time since the start of the clip (s)" if step_s else "steps since the start of the clip",
         ylabel="top-1 accuracy (%)", grid="y")  # fmt: skip
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    return figure
