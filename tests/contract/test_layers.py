"""The contract that every layer on ``[T, N, ...]`` keeps.

A layer joins with a row in LAYERS. Layers at active sites (`SubmanifoldConv2d` and its relatives) have another input.
"""

import copy
import dataclasses
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import nn

from snnfer import layers
from snnfer.errors import ShapeError, StateError
from snnfer.layers import SpikingSequential, Streaming
from snnfer.neurons import IF, LIF, PLIF

AT_ACTIVE_SITES = {
    *("AsyncConv2d", "AsyncLayer", "AsyncMaxPool2d"),
    *("SparseBatchNorm2d", "SparseMaxPool2d", "SparseReLU", "SubmanifoldConv2d"),
}
MAPS = (6, 4, 4, 8, 8)
NO_TIME = ((4, 4, 8, 8), r"has shape \[4, 4, 8, 8\]; expected 5 dimensions \[T, N, C, H, W\]")
CHANNELS = ((6, 4, 3, 8, 8), r"has shape \[6, 4, 3, 8, 8\]; expected at least one time step and 4 channels")
NO_BATCH = ((6,), r"has shape \[6\]; expected at least two dimensions \[T, N, \*\]")


@dataclasses.dataclass(frozen=True)
class Row:
    """One layer: how to build it, what shapes go in and out, and what it says to another input."""

    build: Callable[[], nn.Module]
    output: tuple[int, ...] = MAPS
    input: tuple[int, ...] = MAPS
    wrong: tuple[tuple[int, ...], str] = CHANNELS
    looks_ahead: bool = False
    random: bool = False


LAYERS = {
    "ConvEncoder": Row(lambda: layers.ConvEncoder(4, 5, stride=2), output=(6, 4, 5, 4, 4)),
    "ConvEncoder, shown 3 times": Row(lambda: layers.ConvEncoder(4, 5, n_steps=3), output=(18, 4, 5, 8, 8)),
    "DeltaEncoder": Row(lambda: layers.DeltaEncoder(0.3), output=(6, 4, 8, 8, 8), wrong=NO_TIME),
    "DirectEncoder": Row(lambda: layers.DirectEncoder(3), output=(18, 4, 4, 8, 8), wrong=NO_TIME),
    "FactorizedConv3d": Row(lambda: layers.FactorizedConv3d(4, 5), output=(6, 4, 5, 8, 8), looks_ahead=True),
    "FactorizedConv3d, causal": Row(lambda: layers.FactorizedConv3d(4, 4, neuron=PLIF, causal=True)),
    "GlobalAvgPool2d": Row(layers.GlobalAvgPool2d, output=(6, 4, 4), wrong=NO_TIME),
    "LatencyEncoder": Row(lambda: layers.LatencyEncoder(3), output=(18, 4, 4, 8, 8), wrong=NO_TIME),
    "LatencyEncoder, rc": Row(
        lambda: layers.LatencyEncoder(5, code="rc", threshold=0.2), output=(30, 4, 4, 8, 8), wrong=NO_TIME
    ),
    "PoissonEncoder": Row(lambda: layers.PoissonEncoder(3), output=(18, 4, 4, 8, 8), wrong=NO_TIME, random=True),
    "SEWBlock": Row(lambda: layers.SEWBlock(4, 4)),
    "SEWBlock, and, stride": Row(
        lambda: layers.SEWBlock(4, 6, stride=2, connect="and", neuron=LIF), output=(6, 4, 6, 4, 4)
    ),
    "SEWBlock, iand": Row(lambda: layers.SEWBlock(4, 5, connect="iand", neuron=PLIF), output=(6, 4, 5, 8, 8)),
    "SpatialAttention": Row(lambda: layers.SpatialAttention(4)),
    "SpatialAttention, over time": Row(
        lambda: layers.SpatialAttention(4, maps="single", kernel_size=(3, 3, 3)), looks_ahead=True
    ),
    "SpikingAvgPool2d": Row(lambda: layers.SpikingAvgPool2d(2), output=(6, 4, 4, 4, 4), wrong=NO_TIME),
    "SpikingConv2d": Row(lambda: layers.SpikingConv2d(4, 5), output=(6, 4, 5, 4, 4)),
    "SpikingConv2d, stride and tdBN": Row(
        lambda: layers.SpikingConv2d(4, 5, stride=2, pool=1, neuron=IF(), norm=layers.ThresholdDependentBatchNorm2d),
        output=(6, 4, 5, 4, 4),
    ),
    "SpikingLinear": Row(
        lambda: layers.SpikingLinear(7, 5),
        input=(6, 4, 7),
        output=(6, 4, 5),
        wrong=(
            (6, 4, 1, 7, 1),
            r"expected \[T, N, 7\]; likely cause: maps that are not flattened; fix: put torch.nn.Fl",
        ),
    ),
    "SpikingMaxPool2d": Row(lambda: layers.SpikingMaxPool2d(2), output=(6, 4, 4, 4, 4), wrong=NO_TIME),
    "SpikingSequential": Row(
        lambda: SpikingSequential(layers.SpikingConv2d(4, 3), nn.Flatten(2), layers.SpikingLinear(48, 5)),
        output=(6, 4, 5),
    ),
    "TemporalAttention": Row(lambda: layers.TemporalAttention(4), looks_ahead=True),
    "TemporalAttention, causal": Row(lambda: layers.TemporalAttention(4, causal=True)),
    "TemporalSpatialAttention": Row(lambda: layers.TemporalSpatialAttention(4), looks_ahead=True),
    "TemporalSpatialAttention, causal": Row(lambda: layers.TemporalSpatialAttention(4, causal=True)),
    "ThresholdDependentBatchNorm2d": Row(lambda: layers.ThresholdDependentBatchNorm2d(4, v_threshold=0.5)),
    "TimeBatchNorm2d": Row(lambda: layers.TimeBatchNorm2d(4)),
    "TimeConstantDropout": Row(layers.TimeConstantDropout, wrong=NO_BATCH),
    "TimeDistributed": Row(lambda: layers.TimeDistributed(nn.Conv2d(4, 5, 3)), output=(6, 4, 5, 6, 6), wrong=NO_BATCH),
    "VotingLayer": Row(
        lambda: layers.VotingLayer(3),
        input=(6, 4, 12),
        output=(6, 4, 4),
        wrong=((6, 4, 13), "13 neurons vote; expected a multiple of votes = 3"),
    ),
}
STREAMING = [name for name, row in LAYERS.items() if not row.looks_ahead]


def make_layer(name, dtype=torch.float32):
    torch.manual_seed(0)
    return LAYERS[name].build().to(dtype)


def make_input(name, dtype=torch.float32):
    """Values in [0, 1], which every layer takes."""
    return torch.rand(LAYERS[name].input, generator=torch.Generator().manual_seed(1)).to(dtype)


def in_chunks(module, x, chunks):
    outputs, state = [], None
    for chunk in x.split(chunks):
        y, state = module.forward_with_state(chunk, state)
        outputs.append(y)
    return torch.cat(outputs)


def test_the_table_has_every_layer():
    public = {name for name in layers.__all__ if isinstance(getattr(layers, name), type)}
    modules = {name for name in public if issubclass(getattr(layers, name), nn.Module) and name != "Streaming"}
    assert {name.split(",")[0] for name in LAYERS} == modules - AT_ACTIVE_SITES
    for name, row in LAYERS.items():
        assert type(row.build()).__name__ == name.split(",")[0]


@pytest.mark.parametrize("name", LAYERS)
class TestLayer:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
    def test_shape_and_dtype(self, name, dtype):
        for layer in (make_layer(name, dtype), make_layer(name, dtype).eval()):
            y = layer(make_input(name, dtype))
            assert y.shape == LAYERS[name].output
            assert y.dtype == dtype
            assert y.isfinite().all()
            assert y.detach().abs().sum() > 0 or not layer.training

    def test_samples_are_independent(self, name):
        if LAYERS[name].random:
            pytest.skip("every sample has random numbers of its own")
        layer, x = make_layer(name, torch.float64).eval(), make_input(name, torch.float64)
        order = torch.tensor([2, 0, 3, 1])
        y = layer(x)
        torch.testing.assert_close(layer(x[:, order]), y[:, order])
        torch.testing.assert_close(layer(x[:, 1:2]), y[:, 1:2])

    def test_every_parameter_gets_a_gradient(self, name):
        layer, x = make_layer(name), make_input(name).requires_grad_()
        y = layer(x)
        parameters = dict(layer.named_parameters())
        if parameters:
            y.backward(torch.randn(y.shape, generator=torch.Generator().manual_seed(2)))
        for key, parameter in parameters.items():
            assert parameter.grad is not None, key
            assert parameter.grad.isfinite().all(), key
            assert parameter.grad.abs().sum() > 0, key

    def test_nothing_is_kept(self, name):
        layer, x = make_layer(name).eval(), make_input(name)
        before, state_of_torch = copy.deepcopy(layer.state_dict()), torch.get_rng_state()
        attributes = str([module.__dict__.keys() for module in layer.modules()])
        first = layer(x)
        assert torch.equal(layer(x), first)
        assert torch.equal(torch.get_rng_state(), state_of_torch)
        assert str([module.__dict__.keys() for module in layer.modules()]) == attributes
        for key, value in layer.state_dict().items():
            assert torch.equal(value, before[key])

    def test_state_dict_deepcopy_and_pickle(self, name):
        layer, x = make_layer(name), make_input(name)
        layer(x)
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.add_(0.1)
        fresh = LAYERS[name].build()
        fresh.load_state_dict(layer.state_dict())
        expected = layer.eval()(x)
        for other in (fresh, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            assert torch.equal(other.eval()(x), expected)
        assert repr(copy.deepcopy(layer)) == repr(layer)

    def test_another_layout_is_refused(self, name):
        shape, message = LAYERS[name].wrong
        with pytest.raises(ShapeError, match=message):
            make_layer(name)(torch.rand(shape))

    def test_it_stands_in_a_chain_of_torch(self, name):
        layer, x = make_layer(name, torch.float64).eval(), make_input(name, torch.float64)
        chain = nn.Sequential(nn.Identity(), layer, nn.Flatten(2))
        assert torch.equal(chain(x), layer(x).flatten(2))


@pytest.mark.parametrize("name", STREAMING)
class TestStreamingLayer:
    @pytest.mark.parametrize("chunks", [[1] * 6, [2, 4], [5, 1]])
    def test_chunks_of_a_chain_equal_the_whole_bit_for_bit(self, name, chunks):
        chain, x = SpikingSequential(make_layer(name), nn.Flatten(2)).eval(), make_input(name)
        whole = chain(x)
        assert whole.shape[0] == LAYERS[name].output[0]
        assert torch.equal(in_chunks(chain, x, chunks), whole)

    def test_a_chain_computes_what_the_layer_does(self, name):
        layer, x = make_layer(name, torch.float64).eval(), make_input(name, torch.float64)
        torch.testing.assert_close(SpikingSequential(layer)(x), layer(x))
        if not LAYERS[name].random and not isinstance(layer, layers.TimeConstantDropout):
            trained = copy.deepcopy(layer).train()
            torch.testing.assert_close(SpikingSequential(trained)(x), layer.train()(x))

    def test_the_layer_itself_goes_on_from_a_state(self, name):
        layer, x = make_layer(name, torch.float64).eval(), make_input(name, torch.float64)
        if isinstance(layer, Streaming):
            torch.testing.assert_close(in_chunks(layer, x, [2, 4]), layer(x))

    def test_a_state_of_another_batch_is_refused(self, name):
        layer, x = make_layer(name).eval(), make_input(name)
        if LAYERS[name].random or not isinstance(layer, Streaming):
            return
        state = layer.forward_with_state(x)[1]
        if state is None:
            return
        with pytest.raises(StateError, match=r"expected a state of shape \["):
            layer.forward_with_state(x[:, :2], state)


@pytest.mark.parametrize("name", [name for name, row in LAYERS.items() if row.looks_ahead])
def test_a_layer_that_looks_ahead_does_not_pretend_to_stream(name):
    with pytest.raises(StateError, match="sees later steps and cannot stream"):
        SpikingSequential(make_layer(name)).eval()(make_input(name))
