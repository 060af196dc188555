"""Spiking blocks and chains against the same layers written out."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from snnfer.errors import ConfigError, ShapeError, StateError
from snnfer.layers import (
    FactorizedConv3d,
    GlobalAvgPool2d,
    SEWBlock,
    SpikingAvgPool2d,
    SpikingConv2d,
    SpikingLinear,
    SpikingSequential,
    Streaming,
    TemporalAttention,
    TimeBatchNorm2d,
    TimeConstantDropout,
)
from snnfer.neurons import IF, LIF, PLIF


def test_spiking_convolution_is_its_parts_in_order():
    torch.manual_seed(0)
    block = SpikingConv2d(2, 4, neuron=LIF(decay_input=False)).eval()
    x = 4 * torch.rand(5, 3, 2, 8, 8)
    with torch.no_grad():
        current = torch.stack([block.norm(F.conv2d(step, block.conv.weight, padding=1)[None])[0] for step in x])
        expected = torch.stack([F.max_pool2d(spikes, 2) for spikes in block.neuron(current)])
        y = block(x)
    assert block.conv.bias is None
    assert 0 < expected.mean() < 1
    assert (y != expected).float().mean() < 1e-3  # convolutions of other batch sizes round differently


def test_spiking_convolution_without_norm_and_pool():
    block = SpikingConv2d(2, 4, kernel_size=5, norm=nn.Identity, pool=1, neuron=IF())
    assert block.conv.bias is not None
    assert block(torch.rand(3, 1, 2, 7, 9)).shape == (3, 1, 4, 7, 9)


def test_normalisation_uses_the_statistics_of_all_steps():
    block = SpikingConv2d(1, 2)
    x = torch.rand(4, 3, 1, 6, 6)
    block(x)
    current = block.conv(x.flatten(0, 1))
    torch.testing.assert_close(block.norm.running_mean, 0.1 * current.mean((0, 2, 3)))


def test_spiking_linear_is_its_parts_in_order():
    layer = SpikingLinear(6, 4, neuron=PLIF())
    x = 3 * torch.rand(5, 2, 6)
    assert torch.equal(layer(x), layer.neuron(layer.linear(x)))
    assert SpikingLinear(6, 4, bias=False).linear.bias is None


def make_chain():
    return SpikingSequential(
        SpikingConv2d(1, 4),
        nn.Flatten(2),
        TimeConstantDropout(0.5),
        SpikingSequential(SpikingLinear(64, 6), nn.Identity()),
    )


def test_a_chain_in_evaluation_mode_is_cut_invariant():
    torch.manual_seed(0)
    chain, x = make_chain(), 2 * torch.rand(9, 2, 1, 8, 8)
    for _ in range(10):
        chain(x)
    chain.eval()
    whole, last = chain.forward_with_state(x)
    assert 0 < whole.mean() < 1
    first, state = chain.forward_with_state(x[:4])
    second, state = chain.forward_with_state(x[4:], state)
    assert torch.equal(torch.cat([first, second]), whole)
    assert torch.equal(state[0], last[0])
    assert state[1] is None
    assert torch.equal(state[3][0], last[3][0])


def test_a_chain_in_training_mode_runs_layer_by_layer():
    calls = []
    chain = make_chain()
    chain[0].register_forward_hook(lambda *_: None)
    chain[1].register_forward_hook(lambda module, args, output: calls.append(len(output)))
    chain(torch.rand(9, 2, 1, 8, 8))
    chain.eval()(torch.rand(9, 2, 1, 8, 8))
    assert calls == [9] + [1] * 9


def test_gradients_in_evaluation_mode_equal_those_of_the_whole_sequence():
    torch.manual_seed(0)
    chain = SpikingSequential(nn.Linear(5, 6), LIF(tau=3.0), nn.Linear(6, 4), PLIF()).double()
    x = torch.rand(8, 2, 5, dtype=torch.float64)
    gradients = []
    for mode in (True, False):
        chain.train(mode)
        gradients.append(torch.autograd.grad(chain(x).sum(), list(chain.parameters())))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


def test_what_streams_and_what_does_not():
    assert isinstance(LIF(), Streaming)
    assert isinstance(SpikingConv2d(1, 1), Streaming)
    assert not isinstance(nn.Linear(1, 1), Streaming)


def test_chain_errors():
    chain = make_chain()
    with pytest.raises(ShapeError, match="expected at least one time step"):
        chain(torch.rand(0, 2, 1, 8, 8))
    with pytest.raises(StateError, match="a state of 1 entries for a chain of 4 modules"):
        chain.forward_with_state(torch.rand(2, 2, 1, 8, 8), (None,))


@pytest.mark.parametrize(
    ("kernel_size", "stride", "size"), [(3, 2, (9, 8)), (7, 2, (16, 15)), (1, 2, (9, 8)), (2, 2, (8, 8))]
)
def test_a_stride_divides_the_size_and_rounds_up(kernel_size, stride, size):
    block = SpikingConv2d(2, 4, kernel_size=kernel_size, stride=stride, pool=1)
    assert block(torch.rand(3, 1, 2, *size)).shape == (3, 1, 4, -(-size[0] // stride), -(-size[1] // stride))
    x = torch.rand(3, 1, 2, *size)
    expected = F.conv2d(x[:, 0], block.conv.weight, stride=stride, padding=(kernel_size - 1) // 2)
    torch.testing.assert_close(block.eval().current(x)[:, 0], block.norm(expected[:, None])[:, 0])


def test_the_parameter_names_of_a_block_stay():
    names = ["conv.weight", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"]
    assert list(SpikingConv2d(1, 1).state_dict()) == [*names, "norm.num_batches_tracked", "neuron.w"]


def test_maps_that_are_not_flattened_are_refused():
    with pytest.raises(ShapeError, match=r"expected \[T, N, 64\]; .*fix: put torch.nn.Flatten\(2\) before this layer"):
        SpikingLinear(64, 4)(torch.rand(2, 1, 4, 4, 4))


@pytest.mark.parametrize(
    "make",
    [
        lambda neuron: SpikingConv2d(2, 4, neuron=neuron),
        lambda neuron: SpikingLinear(2, 4, neuron=neuron),
        lambda neuron: SpikingAvgPool2d(2, neuron=neuron),
    ],
)
def test_a_class_in_place_of_a_neuron_is_one_sentence(make):
    with pytest.raises(ConfigError, match=r"neuron = LIF, a class; expected one neuron; fix: neuron=LIF\(\)"):
        make(LIF)
    with pytest.raises(ConfigError, match=r"neuron is a partial; expected one neuron, such as LIF\(\)"):
        make(partial(LIF, reset="soft"))


@pytest.mark.parametrize("block", [SEWBlock, FactorizedConv3d])
def test_one_neuron_for_a_block_of_several_is_one_sentence(block):
    with pytest.raises(
        ConfigError, match=r"neuron = LIF\(...\), one neuron; expected a class or function that makes each"
    ):
        block(2, 4, neuron=LIF())


@pytest.mark.parametrize(
    "layer",
    [
        *(SpikingConv2d(2, 4), SEWBlock(2, 4), FactorizedConv3d(2, 4), TemporalAttention(2), TimeBatchNorm2d(2)),
        *(SpikingAvgPool2d(2), GlobalAvgPool2d(), nn.Sequential(nn.Flatten(2), SpikingLinear(32, 4))),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_event_counts_of_whole_numbers_are_one_sentence(layer):
    x = torch.ones(3, 1, 2, 4, 4, dtype=torch.int64)
    with pytest.raises(ShapeError, match=r"dtype int64 .*; expected floating-point values; .*; fix: x\.float\(\)"):
        layer(x)
    layer(x.float())


@pytest.mark.parametrize(
    ("layer", "fix"),
    [
        (nn.Conv2d(2, 2, 3), r"snnfer\.layers\.TimeDistributed\(nn\.Conv2d\(\.\.\.\)\)"),
        (nn.MaxPool2d(2), r"snnfer\.layers\.TimeDistributed\(nn\.MaxPool2d"),
        (nn.BatchNorm2d(2), r"snnfer\.layers\.TimeBatchNorm2d"),
    ],
)
def test_a_layer_of_torch_without_time_in_a_chain_is_one_sentence(layer, fix):
    x = torch.rand(3, 1, 2, 4, 4)
    with pytest.raises(ConfigError, match=rf"nn\.{type(layer).__name__} directly in a chain over time; .*fix: {fix}"):
        SpikingSequential(layer, LIF())(x)
    SpikingSequential(nn.Flatten(2), nn.Linear(32, 4), nn.ReLU(), LIF())(x)


def test_a_plain_sequential_around_neurons_is_refused():
    x = torch.full((12, 1, 1), 0.4)
    with pytest.raises(StateError, match="SpikingSequential"):
        SpikingSequential(nn.Sequential(nn.Linear(1, 1), IF()), IF()).eval()(x)
    assert SpikingSequential(nn.Sequential(nn.Identity(), nn.Identity()), IF()).eval()(x).sum() == 4


def test_a_neuron_of_spikingjelly_without_its_adapter_is_one_sentence():
    neurons = pytest.importorskip("spikingjelly.activation_based.neuron", exc_type=ImportError)
    from snnfer.neurons.adapters import from_spikingjelly

    x = 2 * torch.rand(4, 1, 2)
    for layer in (SpikingSequential(neurons.LIFNode()), SpikingLinear(2, 2, neuron=neurons.LIFNode())):
        with pytest.raises(StateError, match="LIFNode of spikingjelly keeps a memory.*adapters.from_spikingjelly"):
            layer(x)
    assert torch.equal(SpikingSequential(from_spikingjelly(neurons.LIFNode()))(x), LIF()(x))
