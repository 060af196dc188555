"""Quantisation-aware forward passes: the integers' own network as oracle, gradients, what is saved, refusals."""

import pytest
import torch
from torch import nn

from snnfer.converters.from_model import to_graph
from snnfer.converters.graph import Conv, Dense, Flatten, Graph, Spike, Vote
from snnfer.converters.loihi import quantise, run_twin
from snnfer.converters.loihi.fake_quantise import FakeQuantiser
from snnfer.converters.loihi.graph import DECAY_ONE, IntegerGraph
from snnfer.converters.run import run_graph
from snnfer.errors import ExportError
from snnfer.layers import SpikingAvgPool2d, SpikingConv2d, SpikingLinear, SpikingSequential, VotingLayer
from snnfer.models import SpikingClassifier, create_model
from snnfer.neurons import IF, LIF, PLIF


def network(*, neuron=None, norm=None, seed=0) -> SpikingClassifier:
    """A chain of a convolution with pooling, one with stride, and two fully connected layers; alive everywhere."""
    torch.manual_seed(seed)
    neuron = neuron or (lambda: PLIF(init_tau=2.3))
    options = {} if norm is None else {"norm": norm}
    chain = SpikingSequential(
        SpikingConv2d(2, 5, neuron=neuron(), pool=2, **options),
        SpikingConv2d(5, 6, neuron=neuron(), stride=2, pool=1, **options),
        nn.Flatten(2),
        SpikingLinear(6 * 4 * 4, 20, neuron=neuron()),
        SpikingLinear(20, 12, neuron=neuron()),
        VotingLayer(4),
    )
    model = SpikingClassifier(chain, in_channels=2, size=(16, 16))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(3)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.3, 0.6)
        for _ in range(20):
            model(frames())
    return model.eval()


def frames(n=4, seed=1) -> torch.Tensor:
    return (torch.rand(12, n, 2, 16, 16, generator=torch.Generator().manual_seed(seed)) < 0.3).float()


def rebuilt(integer: IntegerGraph, thresholds: list[float]) -> Graph:
    """The integers divided by their scales, as a graph of real numbers: nothing of the network itself is in it."""
    nodes = []
    for i, (layer, shape, threshold) in enumerate(zip(integer.layers, integer.input_shapes, thresholds, strict=True)):
        if len(shape) == 1 and i and len(integer.layers[i - 1].shape) == 3:
            nodes.append(Flatten(f"flatten{i}"))
        weight, bias = torch.from_numpy(layer.weight / layer.scale), torch.from_numpy(layer.bias / layer.scale)
        if layer.kind == "conv":
            nodes.append(Conv(layer.name, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups))
        else:
            nodes.append(Dense(layer.name, weight, bias))
        nodes.append(Spike(f"spikes{i}", tau=DECAY_ONE / layer.voltage_decay, v_threshold=threshold))
    return Graph((*nodes, Vote("vote", integer.votes)), integer.input_shape)


NETWORKS = {
    "PLIF": {},
    "PLIF that scales its input": {"neuron": lambda: PLIF(init_tau=2.3, decay_input=True, v_threshold=0.4)},
    "LIF": {"neuron": lambda: LIF(tau=3.0, v_threshold=0.2)},
    "rest elsewhere": {"neuron": lambda: PLIF(init_tau=1.7, v_threshold=0.3, v_reset=-0.2)},
    "no normalisation": {"norm": nn.Identity, "neuron": lambda: PLIF(v_threshold=0.4)},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_the_network_of_the_integers(name):
    model = network(**NETWORKS[name]).double()
    x = frames().double()
    integer = quantise(to_graph(model))
    neuron = next(m for m in model.modules() if isinstance(m, LIF | PLIF))
    threshold = neuron.v_threshold - neuron.v_reset
    graph = rebuilt(integer, [0.5 * (1 + 1 / 128) if layer.exact else threshold for layer in integer.layers])
    expected = run_graph(graph, x)["vote"].mean(0)
    found = FakeQuantiser(model)(x)
    assert 0.02 < float(expected.mean()) < 0.98
    assert torch.equal(found, expected)
    assert not torch.equal(found, model(x))  # rounding does something
    # the chip cuts fractions of 1/64 of a step off its leaks: spikes near a threshold may differ
    spikes = run_graph(graph, x, record="spikes").values()
    for trace, wanted in zip(run_twin(integer, x).layers, spikes, strict=False):
        assert (trace.spikes != wanted.bool()).double().mean() < 0.01


def test_the_integers_come_back_from_the_rounded_parameters_and_from_the_network_itself():
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    integer, quantised = quantise(to_graph(model)), FakeQuantiser(model)
    quantised(frames())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    state = {name: value.detach() for name, value in quantised.parameters().items()}
    model.load_state_dict({**before, **state})
    again = to_graph(model)
    folded = [node for node in _folded(again) if isinstance(node, Conv | Dense)]
    for layer, node in zip([layer for layer in integer.layers if not layer.exact], folded, strict=True):
        torch.testing.assert_close(node.weight.double() * layer.scale, torch.from_numpy(layer.weight).double(),
                                   atol=1e-3, rtol=0)  # fmt: skip
        torch.testing.assert_close(node.bias.double() * layer.scale, torch.from_numpy(layer.bias).double(),
                                   atol=1e-2, rtol=0)  # fmt: skip


def _folded(graph: Graph):
    from snnfer.converters.passes import fold_affine

    return fold_affine(graph).nodes


def test_gradients_are_those_at_the_rounded_parameters():
    """Straight through: the gradient at w is that of an ordinary network whose parameters are the rounded ones."""
    model, x = network(), frames()
    quantised = FakeQuantiser(model)
    target = torch.rand(4, 3)
    (quantised(x) - target).square().mean().backward()
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    state = {name: value.detach() for name, value in quantised.parameters().items()}
    model.load_state_dict({**model.state_dict(), **state})
    model.zero_grad()
    (model(x) - target).square().mean().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad)
        assert found[name].any()


def test_neurons_without_leak_and_time_constants_that_stay():
    model = network(neuron=lambda: IF(v_threshold=2.0)).double()
    assert torch.isfinite(FakeQuantiser(model)(frames().double())).all()
    model = network(neuron=lambda: LIF(tau=3.0, v_threshold=0.5))
    FakeQuantiser(model)(frames())
    assert {module.tau for module in model.modules() if isinstance(module, LIF)} == {3.0}


def soft():
    return network(neuron=lambda: PLIF(reset="soft"))


def averaged():
    chain = SpikingSequential(
        SpikingConv2d(2, 4, pool=1),
        SpikingAvgPool2d(2, neuron=PLIF()),
        nn.Flatten(2),
        SpikingLinear(4 * 8 * 8, 6),
        VotingLayer(2),
    )
    return SpikingClassifier(chain, in_channels=2, size=(16, 16)).eval()


def joined():
    chain = SpikingSequential(nn.Flatten(2), nn.Linear(512, 8), SpikingLinear(8, 6), VotingLayer(2))
    return SpikingClassifier(chain, in_channels=2, size=(16, 16)).eval()


@pytest.mark.parametrize(("build", "message"), [(soft, "soft reset"), (joined, "without neurons")])
def test_what_cannot_be_exported_is_refused(build, message):
    with pytest.raises(ExportError, match=message):
        FakeQuantiser(build())


def test_a_pooling_with_neurons_of_its_own_has_no_weights_to_train():
    with pytest.raises(ExportError, match="made of several layers"):
        FakeQuantiser(averaged())


def test_it_follows_the_weights():
    model = create_model("au_snn", n_classes=3, size=(16, 16), channels=4, hidden=8, votes=2).eval()
    quantised = FakeQuantiser(model)
    with torch.no_grad():
        model.layers.fc1.linear.weight.mul_(2)
    weight = quantised.parameters()["layers.fc1.linear.weight"]
    layer = next(layer for layer in quantise(to_graph(model)).layers if layer.name == "layers.fc1.linear")
    torch.testing.assert_close(weight.detach().double() * layer.scale, torch.from_numpy(layer.weight).double())
