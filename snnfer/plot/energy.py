"""Energy over activity: where a spiking network begins to cost more than another one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from snnfer.plot.style import COLOURS, GREY, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_break_even(
    rates: Sequence[float],
    energies_pj: Sequence[float],
    *,
    reference_pj: float,
    measured: float,
    measured_pj: float,
    rate: float,
    quantity: str = "firing rate",
    name: str = "this network",
    reference: str = "dense twin",
    scenario: str = "",
) -> "Figure":
    """Energy per sample over the activity of a network, the energy it is compared with, and where they meet.

    Args:
        rates: Activities above 0, up to 1.
        energies_pj: Energy at each, in pJ.
        reference_pj: Energy of what it is compared with, in pJ.
        measured: Activity that was counted, and
        measured_pj: the energy there.
        rate: Activity at which both cost the same; outside of 0 to 1 it is not drawn.
        quantity: Name of the activity.
        name: Name of the network.
        reference: Name of what it is compared with.
        scenario: Name of the energy scenario.

    Examples:
        >>> figure = plot_break_even([0.1, 1], [1e6, 1e7], reference_pj=5e6, measured=0.2, measured_pj=2e6, rate=0.5)
        >>> figure.axes[0].get_ylabel()
        'energy per sample (mJ), estimated'
    """
    figure = new_figure(3.9)
    axes = figure.subplots()
    to_mj = 1e-9
    axes.plot(rates, to_mj * np.asarray(energies_pj), color=COLOURS[0], linewidth=1.8, label=name)
    axes.axhline(to_mj * reference_pj, color=GREY, linestyle="--", linewidth=1.4, label=reference)
    axes.plot([measured], [to_mj * measured_pj], "D", color=COLOURS[1], markeredgecolor="black", markersize=8,
              linestyle="", label=f"measured: {measured:.3g}")  # fmt: skip
    if 0 < rate <= 1:
        axes.plot([rate], [to_mj * reference_pj], "o", color="white", markeredgecolor="black", markersize=8,
                  linestyle="", label=f"break-even: {rate:.3g}")  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    unit = "spikes / neuron / step" if quantity == "firing rate" else "share of dense operations"
    tidy(axes, xlabel=f"{quantity} ({unit})", ylabel="energy per sample (mJ), estimated", grid="y",
         title=f"{scenario}\nestimates, not measurements".lstrip())  # fmt: skip
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    return figure
