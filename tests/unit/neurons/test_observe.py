"""Watching neurons, and leaving no trace."""

import torch
from torch import nn

from snnfer.layers import SpikingLinear, SpikingSequential
from snnfer.neurons import IF, LIF, observe


def test_every_call_is_seen_with_its_name():
    network = SpikingSequential(SpikingLinear(3, 4, neuron=LIF()), nn.Identity(), IF())
    seen = []
    with observe(network, lambda name, neuron, x, y, state: seen.append((name, type(neuron).__name__, len(y)))):
        network(torch.rand(5, 2, 3))
        network.eval()(torch.rand(2, 2, 3))
    assert seen == [("0.neuron", "LIF", 5), ("2", "IF", 5)] + [("0.neuron", "LIF", 1), ("2", "IF", 1)] * 2


def test_contexts_nest_and_are_undone_even_after_an_error():
    neuron, outer, inner = IF(), [], []
    x = torch.rand(3, 1)
    try:
        with observe(neuron, lambda *args: outer.append(args[3])):
            with observe(neuron, lambda *args: inner.append(args[3])):
                neuron(x)
            neuron(x)
            raise RuntimeError
    except RuntimeError:
        neuron(x)
    assert (len(outer), len(inner)) == (2, 1)
    assert torch.equal(outer[0], neuron(x))
    assert "forward_with_state" not in neuron.__dict__
