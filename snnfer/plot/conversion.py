"""Accuracy of converted networks over the number of simulation steps."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from snnfer._words import count
from snnfer.errors import SnnferError
from snnfer.plot.style import GREY, new_figure, style_of, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_accuracy_over_steps(
    curves: Mapping[str, Sequence[tuple[int, float]]],
    *,
    reference: float | None = None,
    recommended: int | None = None,
    ylabel: str = "accuracy (%)",
) -> "Figure":
    """A line per conversion over the number of steps, which is drawn in powers of two.

    Args:
        curves: Name to (steps, share of right samples, 0 to 1), ascending.
        reference: Accuracy of the network without spikes, 0 to 1.
        recommended: Number of steps to mark.
        ylabel: What the curves are, such as "agreement (%)" without labels.

    Raises:
        SnnferError: there is nothing to draw.

    Examples:
        >>> figure = plot_accuracy_over_steps({"rate": [(1, 0.4), (2, 0.8), (4, 0.9)]}, reference=0.95, recommended=4)
        >>> figure.axes[0].get_xscale()
        'log'
    """
    if not any(curves.values()):
        raise SnnferError("no scores to draw", expected="at least one number of steps")
    figure = new_figure(3.4)
    axes = figure.subplots()
    for i, (name, points) in enumerate(curves.items()):
        steps, scores = zip(*points, strict=True) if points else ((), ())
        axes.plot(steps, [100 * score for score in scores], label=name, markersize=5, linewidth=1.6, **style_of(i))
    if reference is not None:
        axes.axhline(100 * reference, color=GREY, linestyle="--", linewidth=1.2,
                     label=f"without spikes {100 * reference:.1f} %")  # fmt: skip
    if recommended is not None:
        label = f"recommended: {count(recommended, 'step')}"
        axes.axvline(recommended, color=GREY, linestyle=":", linewidth=1.4, label=label)
    axes.set_xscale("log", base=2)
    ticks = sorted({step for points in curves.values() for step, _ in points})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(0, 102)
    tidy(axes, xlabel="simulation steps per image", ylabel=ylabel, grid="y")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8.5, frameon=False)
    return figure
