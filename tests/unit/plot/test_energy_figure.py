"""The break-even figure, read back from its artists."""

import pytest

matplotlib = pytest.importorskip("matplotlib", reason="figures need matplotlib; it comes with snnfer[plot]")

from snnfer.plot.energy import plot_break_even  # noqa: E402


def draw(**changes):
    arguments = {"reference_pj": 5e8, "measured": 0.05, "measured_pj": 1e8, "rate": 0.3, "scenario": "45nm_fp32"}
    return plot_break_even([0.01, 0.1, 1.0], [5e7, 1.5e8, 1.2e9], **arguments | changes)


def test_curve_reference_measured_and_break_even_are_drawn_where_they_are():
    lines = {line.get_label(): line for line in draw().axes[0].lines}
    assert list(lines["this network"].get_ydata()) == pytest.approx([0.05, 0.15, 1.2])  # mJ
    assert list(lines["dense twin"].get_ydata()) == pytest.approx([0.5, 0.5])
    measured, crossing = lines["measured: 0.05"], lines["break-even: 0.3"]
    assert (measured.get_xdata()[0], measured.get_ydata()[0]) == pytest.approx((0.05, 0.1))
    assert (crossing.get_xdata()[0], crossing.get_ydata()[0]) == pytest.approx((0.3, 0.5))


def test_it_says_that_these_are_estimates_and_names_units():
    axes = draw().axes[0]
    assert axes.get_title(loc="left") == "45nm_fp32\nestimates, not measurements"
    assert axes.get_xlabel() == "firing rate (spikes / neuron / step)"
    assert axes.get_ylabel() == "energy per sample (mJ), estimated"
    assert draw(quantity="input density").axes[0].get_xlabel() == "input density (share of dense operations)"


@pytest.mark.parametrize("rate", [-0.1, 7.0])
def test_a_break_even_outside_the_axis_is_not_drawn(rate):
    assert not [line for line in draw(rate=rate).axes[0].lines if "break-even" in str(line.get_label())]
