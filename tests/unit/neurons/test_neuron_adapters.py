"""Adapters against the real packages."""

import copy
import sys

import pytest
import torch
from torch import nn

from snnfer.errors import MissingExtraError, SnnferError, StateError
from snnfer.layers import SpikingLinear, SpikingSequential
from snnfer.neurons import LIF, PLIF
from snnfer.neurons.adapters import from_norse, from_spikingjelly, to_norse, to_spikingjelly


def make_input(n_samples=3):
    return 2 * torch.rand(12, n_samples, 5, generator=torch.Generator().manual_seed(0))


def spikingjelly_lif():
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron", reason="needs snnfer[spikingjelly]")
    return neuron.LIFNode(tau=3.0, detach_reset=True)


def norse_cell():
    norse = pytest.importorskip("norse.torch", reason="needs snnfer[norse]")
    return norse.LIFBoxCell(dt=0.004)


def norse_over_time():
    return pytest.importorskip("norse.torch", reason="needs snnfer[norse]").LIF()


FOREIGN = [
    pytest.param(lambda: from_spikingjelly(spikingjelly_lif()), id="spikingjelly"),
    pytest.param(lambda: from_norse(norse_cell()), id="norse cell"),
    pytest.param(lambda: from_norse(norse_over_time()), id="norse over time"),
]


@pytest.mark.parametrize("make", FOREIGN)
class TestForeignNeuron:
    def test_starts_from_rest_every_time(self, make):
        neuron, x = make(), 3 * make_input()
        first = neuron(x)
        assert first.detach().mean() > 0
        assert torch.equal(first, neuron(x))

    def test_chunks_equal_the_whole(self, make):
        neuron, x = make(), 3 * make_input()
        whole, last = neuron.forward_with_state(x)
        outputs, state = [], None
        for chunk in x.split([1, 5, 6]):
            y, state = neuron.forward_with_state(chunk, state)
            outputs.append(y)
        assert torch.equal(torch.cat(outputs), whole)
        for a, b in zip(state, last, strict=True):
            assert torch.equal(torch.as_tensor(a), torch.as_tensor(b))

    def test_a_state_of_another_batch_is_refused(self, make):
        neuron = make()
        state = neuron.forward_with_state(make_input(3))[1]
        with pytest.raises(StateError, match=r"expected a state of 4 samples"):
            neuron.forward_with_state(make_input(4), state)

    def test_trains_inside_a_snnfer_model(self, make):
        network = SpikingSequential(SpikingLinear(5, 8, neuron=make()), SpikingLinear(8, 2))
        network(3 * make_input()).sum().backward()
        assert network[0].linear.weight.grad.abs().sum() > 0

    def test_repr_and_deepcopy(self, make):
        neuron = make()
        assert type(neuron).__name__ in repr(neuron)
        assert torch.equal(copy.deepcopy(neuron)(make_input()), neuron(make_input()))


def test_spikingjelly_state_of_another_module_is_refused():
    with pytest.raises(StateError, match=r"a state of type int; expected a tuple of 1 spikingjelly memories"):
        from_spikingjelly(spikingjelly_lif()).forward_with_state(make_input(), 3)


def test_spikingjelly_network_keeps_no_memory():
    module = spikingjelly_lif()
    from_spikingjelly(module)(make_input())
    assert module.v == 0.0


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_our_neuron_in_a_spikingjelly_network(step_mode):
    pytest.importorskip("spikingjelly")
    from spikingjelly.activation_based import functional, layer

    torch.manual_seed(0)
    ours = LIF(tau=2.0)
    network = nn.Sequential(layer.Linear(5, 6), to_spikingjelly(ours))
    functional.set_step_mode(network, step_mode)
    x = 3 * make_input()
    expected = ours(network[0].forward(x)).detach()
    for _ in range(2):
        functional.reset_net(network)
        y = network(x) if step_mode == "m" else torch.stack([network(step) for step in x])
        assert expected.mean() > 0
        torch.testing.assert_close(y, expected, rtol=0, atol=0)
    assert not torch.equal(network(x) if step_mode == "m" else network(x[0]), expected if step_mode == "m" else x[0])


def test_our_neuron_in_a_spikingjelly_network_trains_and_is_reset():
    pytest.importorskip("spikingjelly")
    from spikingjelly.activation_based import functional

    network = to_spikingjelly(PLIF())
    network(make_input()).sum().backward()
    assert network.neuron.w.grad is not None
    assert network.state is not None
    functional.reset_net(network)
    assert network.state is None
    assert list(network.state_dict()) == ["neuron.w"]


def test_our_neuron_in_a_norse_network():
    norse = pytest.importorskip("norse.torch")
    torch.manual_seed(0)
    linear, neuron = nn.Linear(5, 6), LIF(tau=2.0)
    x = 3 * make_input()
    expected, last = neuron.forward_with_state(linear(x))
    cells = norse.SequentialState(linear, to_norse(neuron))
    outputs, state = [], None
    for step in x.unbind(0):
        y, state = cells(step, state)
        outputs.append(y)
    assert expected.mean() > 0
    torch.testing.assert_close(torch.stack(outputs), expected, rtol=0, atol=0)
    over_time = norse.SequentialState(norse.Lift(linear), to_norse(neuron, over_time=True))
    y, state = over_time(x)
    assert torch.equal(y, expected)
    assert torch.equal(state[1], last)


def test_step_mode_is_checked():
    with pytest.raises(SnnferError, match=r"step_mode = 'x'; expected one of s, m"):
        to_spikingjelly(LIF(), step_mode="x")


@pytest.mark.parametrize(("package", "make"), [("spikingjelly", from_spikingjelly), ("norse", from_norse)])
def test_missing_package_names_the_extra(monkeypatch, package, make):
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    with pytest.raises(MissingExtraError, match=rf"pip install 'snnfer\[{package}\]'"):
        make(nn.Identity())
