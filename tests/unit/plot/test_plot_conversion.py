"""Curves of converted networks: what is drawn is what was given."""

import pytest

from snnfer.errors import SnnferError
from snnfer.plot.conversion import plot_accuracy_over_steps


def test_lines_reference_and_mark():
    curves = {"rate": [(1, 0.4), (4, 0.9)], "qcfs": [(1, 0.7), (4, 0.95)]}
    axes = plot_accuracy_over_steps(curves, reference=0.97, recommended=4).axes[0]
    rate, qcfs, reference, mark = axes.lines
    assert list(rate.get_xdata()) == [1, 4]
    assert list(qcfs.get_ydata()) == [70, 95]
    assert list(reference.get_ydata()) == [97, 97]
    assert list(mark.get_xdata()) == [4, 4]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "4"]


def test_nothing_to_draw():
    with pytest.raises(SnnferError, match="no scores to draw"):
        plot_accuracy_over_steps({"rate": []})
