"""The figure of encoder trainings: every score and interval is drawn where it belongs."""

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="figures need matplotlib; it comes with snnfer[plot]")

from snnfer.errors import SnnferError
from snnfer.plot import figure_png, plot_trainings

PANELS = {
    "without LSTM": {
        "t_t": {"scratch": (0.2, 0.1, 0.3), "tuned": (0.5, 0.4, 0.6)},
        "t0_t": {"tuned": (0.7, None, None)},
    },
    "with LSTM": {"t_t": {"scratch": (0.25, 0.2, 0.3)}},
}


def lines(axes):
    """x data of what is drawn, dots and interval bars apart, without the line of chance."""
    drawn = [np.asarray(line.get_xdata(), dtype=float) for line in axes.lines[:-1]]
    return [float(x[0]) for x in drawn if len(x) == 1], [x.tolist() for x in drawn if len(x) == 2]


def test_dots_and_bars_are_the_scores_in_per_cent():
    figure = plot_trainings(PANELS, chance=1 / 7)
    upper, lower = figure.axes
    dots, bars = lines(upper)
    assert dots == pytest.approx([20, 50, 70])
    assert np.allclose(bars, [[10, 30], [40, 60]])  # the third score has no interval
    assert lines(lower)[0] == pytest.approx([25])
    assert [text.get_text() for text in upper.get_yticklabels()] == ["t_t", "t0_t"]
    assert upper.lines[-1].get_xdata()[0] == pytest.approx(100 / 7)
    assert len(figure_png(figure)) > 1000


def test_trainings_do_not_lie_on_each_other():
    upper = plot_trainings(PANELS, chance=1 / 7).axes[0]
    heights = [float(line.get_ydata()[0]) for line in upper.lines[:-1] if len(line.get_xdata()) == 1]
    assert len(set(heights)) == 3
    assert np.abs(np.array(heights) - [0, 0, 1]).max() < 0.5


def test_nothing_to_draw_is_refused():
    with pytest.raises(SnnferError, match="no scores to draw"):
        plot_trainings({"without LSTM": {}}, chance=0.1)
