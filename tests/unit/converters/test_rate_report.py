"""Numbers of the conversion report against sums by hand."""

import pytest
import torch

from snnfer.converters.ann_to_snn import ConversionReport, StepReport, accuracy_curve, recommend_steps
from snnfer.converters.ann_to_snn.build import build_network
from snnfer.converters.ann_to_snn.measure import layer_reports
from snnfer.converters.graph import Activation, Dense, Graph
from snnfer.errors import ConfigError

GRAPH = Graph(
    (Dense("a", torch.eye(2), torch.zeros(2)), Activation("act"), Dense("b", torch.eye(2), torch.zeros(2))), (2,)
)
THETA = {"act": torch.tensor([1.0, 1.0])}
X = torch.tensor([[0.5, 1.5], [0.25, -1.0], [1.0, 0.75]])


def test_one_layer_by_hand():
    """T = 4: spikes are 2 4, 1 0, 4 3; decoded 0.5 1, 0.25 0, 1 0.75 instead of 0.5 1.5, 0.25 0, 1 0.75."""
    (report,) = layer_reports(build_network(GRAPH, THETA, n_steps=4), GRAPH, THETA, X, n_steps=4)
    a = torch.tensor([0.5, 1.5, 0.25, 0.0, 1.0, 0.75])
    r = torch.tensor([0.5, 1.0, 0.25, 0.0, 1.0, 0.75])
    assert report.relative_error == pytest.approx(((a - r).norm() / a.norm()).item())
    assert report.correlation == pytest.approx(torch.corrcoef(torch.stack([a, r]))[0, 1].item(), abs=1e-6)
    assert report.clipped_share == pytest.approx(1 / 5)  # 1.5 of five positive values
    assert report.spikes == pytest.approx(14 / 3)
    assert report.firing_rate == pytest.approx(14 / (3 * 2 * 4))
    assert report.neurons == 2


def test_curve_by_hand():
    """Step 1: h = 0.5 + x fires where x >= 0.5: outputs 1 1, 0 0, 1 1; the network says class 1, 0, 0."""
    snn = build_network(GRAPH, THETA, n_steps=4)
    one, four = accuracy_curve(snn, lambda x: x.relu(), X, steps=(1, 4), labels=torch.tensor([1, 0, 1]))
    assert one.spikes == pytest.approx(4 / 3)
    assert four.spikes == pytest.approx(14 / 3)
    assert one.accuracy == pytest.approx(1 / 3)  # ties are class 0
    assert four.accuracy == pytest.approx(2 / 3)
    assert four.agreement == 1
    error = (torch.tensor([1.0, 1, 0, 0, 1, 1]) - X.relu().flatten()).norm() / X.relu().norm()
    assert one.relative_error == pytest.approx(error.item())


def test_few_steps_of_a_weak_network_that_are_right_by_luck_are_not_recommended():
    curve = [StepReport(n, 0.0, a, 0.2, 0.0) for n, a in ((1, 0.3), (2, 0.6), (4, 0.895), (8, 0.9))]
    assert recommend_steps(curve, ann_accuracy=0.2, tolerance=0.01) == 4
    wrong = [StepReport(n, 0.0, 0.8, 0.0, 0.0) for n in (1, 2, 4)]
    assert recommend_steps(wrong, ann_accuracy=0.0, tolerance=0.01) is None


def test_the_report_says_why_nothing_is_recommended():
    def report(accuracy, *shares):
        curve = tuple(StepReport(2**i, 0.0, share, share, 0.0) for i, share in enumerate(shares))
        return ConversionReport("rate", 1, (), curve, accuracy, None, 0.01, 1, 1, False, chance=0.5)

    assert report(0.5, 0.5).recommended_steps is None
    assert "recommended: none, because the network without spikes is no better than guessing (50.0%)" in (
        report(0.5, 0.5).table()
    )
    assert "recommended: none, because no measured number" in report(0.9, 0.6, 0.8).table()
    assert "recommended: 1 step, " in report(0.9, 0.9, 0.9).table()
    assert "layers at 1 step; 1 image measured" in report(0.9, 0.9).table()


def test_recommendation_asks_for_all_later_steps_too():
    curve = [StepReport(n, 0.0, 0.9, a, 0.0) for n, a in ((1, 0.9), (2, 0.5), (4, 0.88), (8, 0.91))]
    assert recommend_steps(curve, ann_accuracy=0.9, tolerance=0.01) == 8
    assert recommend_steps(curve, ann_accuracy=0.9, tolerance=0.01, chance=0.9) is None
    assert recommend_steps(curve, ann_accuracy=0.9, tolerance=0.02) == 4
    assert recommend_steps(curve, ann_accuracy=0.95, tolerance=0.01) is None
    assert recommend_steps(curve, tolerance=0.1) == 1  # without labels: agreement
    assert recommend_steps([], tolerance=0.1) is None
    with pytest.raises(ConfigError):
        recommend_steps(curve, tolerance=-0.1)
