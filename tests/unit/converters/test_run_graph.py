"""The reference evaluation of graphs, against loops and snnfer's own neurons."""

import pytest
import torch
from torch import nn

from snnfer.converters.from_model import to_graph
from snnfer.converters.graph import Conv, Graph, Spike, Vote
from snnfer.converters.passes import for_chip
from snnfer.converters.run import run_graph
from snnfer.errors import ShapeError
from snnfer.models import create_model
from snnfer.neurons import IF, LIF, PLIF


@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize("v_reset", [0.0, -0.25])
@pytest.mark.parametrize("decay_input", [False, True])
def test_neurons_fire_as_snnfers_own(reset, v_reset, decay_input):
    x = 2 * torch.rand(40, 2, 64, generator=torch.Generator().manual_seed(0)) - 0.3
    settings = {"v_threshold": 0.75, "v_reset": v_reset, "reset": reset}
    for neuron in (LIF(tau=4.0, decay_input=decay_input, **settings), IF(**settings)):
        graph = to_graph(nn.Sequential(neuron), input_shape=(64,))
        (spikes,) = run_graph(graph, x).values()
        assert torch.equal(spikes, neuron(x))
        assert 0.01 < spikes.mean() < 0.98


def test_a_learned_time_constant_is_the_same_number():
    torch.manual_seed(0)
    x = 2 * torch.rand(60, 4, 128)
    for w in torch.linspace(-3, 3, 13):
        neuron = PLIF()
        nn.init.constant_(neuron.w, w.item())
        (spikes,) = run_graph(to_graph(nn.Sequential(neuron), input_shape=(128,)), x).values()
        assert torch.equal(spikes, neuron(x))  # in float32, where 1 / tau must round to sigmoid(w)


def test_taps_see_the_last_steps_and_zeros_before_the_first():
    torch.manual_seed(0)
    weight, bias = torch.randn(3, 2, 4, 1, 1).double(), torch.randn(3).double()
    x = torch.randn(3, 1, 2, 1, 1).double()  # fewer steps than taps
    (y,) = run_graph(Graph((Conv("c", weight, bias, time_taps=4),), (2, 1, 1)), x).values()
    for t in range(3):
        expected = bias.clone()
        for lag in range(t + 1):
            expected += weight[:, :, 3 - lag, 0, 0] @ x[t - lag, 0, :, 0, 0]
        torch.testing.assert_close(y[t, 0, :, 0, 0], expected)


def test_float32_votes_of_the_network_itself():
    torch.manual_seed(0)
    model = create_model("au_snn", n_classes=3, size=(16, 16), channels=4, hidden=16, votes=2).eval()
    x = torch.poisson(torch.rand(12, 3, 2, 16, 16))
    (votes,) = run_graph(to_graph(model), x).values()
    assert torch.equal(votes, model.forward_steps(x))


def test_record_says_what_is_kept():
    graph = Graph((Spike("a", 2.0), Spike("b", 2.0), Vote("v", 2)), (4,))
    x = torch.rand(2, 1, 4)
    assert list(run_graph(graph, x)) == ["v"]
    assert list(run_graph(graph, x, record="spikes")) == ["a", "b", "v"]
    model = create_model("au_snn", n_classes=2, size=(8, 8), channels=2, hidden=4, votes=1)
    graph = for_chip(to_graph(model))
    names = [node.name for node in graph.nodes]
    assert list(run_graph(graph, torch.rand(2, 1, 2, 8, 8), record="all")) == names


def test_an_input_of_another_shape_is_one_sentence():
    with pytest.raises(ShapeError, match=r"shape \[2, 1, 5\]; expected \[T, N, 4\]"):
        run_graph(Graph((Spike("a", 2.0),), (4,)), torch.rand(2, 1, 5))
