from functools import partial

import numpy as np
import pytest
import torch

from snnfer.converters.from_model import to_graph
from snnfer.converters.lava.direct import run_block3d_lava
from snnfer.converters.lava.environment import find_lava_python
from snnfer.converters.loihi.graph import IntegerGraph, IntegerLayer
from snnfer.converters.loihi.quantise import quantise
from snnfer.converters.loihi.twin import run_twin
from snnfer.errors import ConversionError, ExportError, MissingExtraError, ShapeError
from snnfer.layers import FactorizedConv3d, SpikingSequential
from snnfer.neurons import LIF, SoftSpiking

LEAKY = partial(LIF, tau=2.0, v_threshold=0.25)


def make_block(neuron=LEAKY, **kwargs) -> SpikingSequential:
    """A causal block with batch statistics of its own, in which both neurons fire."""
    torch.manual_seed(0)
    block = FactorizedConv3d(3, 4, neuron=neuron, causal=True, **{"residual": False, **kwargs})
    for norm in (block.norm1, block.norm2):
        torch.nn.init.normal_(norm.bias, 0.3, 0.3)
    with torch.no_grad():
        for _ in range(8):
            block(make_clips())
    return SpikingSequential(block.eval())


def make_clips(n_samples: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return (torch.rand(8, n_samples, 3, 6, 5, generator=generator) < 0.4).float()


def make_three_stages() -> IntegerGraph:
    """Depthwise over time, depthwise over space, pointwise, each with neurons; the second with uneven geometry."""
    rng = np.random.default_rng(0)

    def even(*shape: int) -> np.ndarray:
        return 2 * rng.integers(-20, 40, shape).astype(np.int32)

    def bias(size: int) -> np.ndarray:
        return rng.integers(-5, 25, size).astype(np.int32)

    return IntegerGraph(
        (
            IntegerLayer("time", "conv", even(4, 1, 3, 1, 1), bias(4), 30, 4096, 2048, 1.0, (4, 6, 5), groups=4,
                         time_taps=3),
            IntegerLayer("space", "conv", even(4, 1, 3, 2), bias(4), 30, 3000, 2048, 1.0, (4, 3, 6), stride=(2, 1),
                         padding=(1, 1), groups=4),
            IntegerLayer("point", "conv", even(6, 4, 1, 1), bias(6), 25, 4096, 1365, 1.0, (6, 3, 6)),
        ),
        (4, 6, 5),
    )  # fmt: skip


def spikes_by_loops(graph: IntegerGraph, clip: np.ndarray) -> dict[str, np.ndarray]:
    """Spikes ``[T, *shape]`` of one clip ``[T, C, H, W]``, from the equations, synapse by synapse."""
    result, cut = {}, lambda value, decay: int(value * (4096 - decay) / 4096)  # towards zero
    for layer in graph.layers:
        weight = layer.weight if layer.time_taps > 1 else layer.weight[:, :, None]
        taps, inputs = weight.shape[2], weight.shape[1]
        padded = np.pad(clip, ((taps - 1, 0), (0, 0), *((p, p) for p in layer.padding))).astype(int)
        spikes = np.zeros((len(clip), *layer.shape), bool)
        for o, i, j in np.ndindex(*layer.shape):
            first = o // (len(weight) // layer.groups) * inputs
            y, x = i * layer.stride[0], j * layer.stride[1]
            current = voltage = 0
            for t in range(len(clip)):
                window = padded[t : t + taps, first : first + inputs, y : y + weight.shape[3], x : x + weight.shape[4]]
                arriving = int((window.transpose(1, 0, 2, 3) * weight[o]).sum())
                current = cut(current, layer.current_decay) + 64 * arriving
                voltage = cut(voltage, layer.voltage_decay) + current + 64 * int(layer.bias[o])
                spikes[t, o, i, j] = voltage > 64 * layer.threshold
                voltage = 0 if spikes[t, o, i, j] else voltage
        result[layer.name] = clip = spikes
    return result


def need_lava() -> None:
    try:
        find_lava_python()
    except MissingExtraError as error:
        pytest.skip(str(error))


def graph_and_clips(kind: str) -> tuple[IntegerGraph, torch.Tensor]:
    if kind == "stages":
        return make_three_stages(), (
            torch.rand(7, 2, 4, 6, 5, generator=torch.Generator().manual_seed(2)) < 0.3
        ).float()
    return quantise(to_graph(make_block(), input_shape=(3, 6, 5))), make_clips()


@pytest.mark.parametrize("kind", ["block", "stages"])
def test_the_twin_is_what_the_equations_say(kind):
    graph, clips = graph_and_clips(kind)
    twin = run_twin(graph, clips)
    for sample in range(2):
        for name, wanted in spikes_by_loops(graph, clips[:, sample].numpy()).items():
            spikes = twin[name].spikes
            assert spikes is not None
            np.testing.assert_array_equal(spikes[:, sample].numpy(), wanted)
            assert 0.01 < wanted.mean() < 0.9, "a silent layer proves nothing"


@pytest.mark.parametrize("kind", ["block", pytest.param("stages", marks=pytest.mark.slow)])
def test_lava_fires_as_the_twin(kind):
    need_lava()
    graph, clips = graph_and_clips(kind)
    twin, lava = run_twin(graph, clips), run_block3d_lava(graph, clips)
    assert {name: int((spikes != twin[name].spikes).sum()) for name, spikes in lava.items()} == {
        layer.name: 0 for layer in graph.layers
    }


def test_the_block_becomes_two_layers_with_the_float_spikes():
    block, clips = make_block(), make_clips(16)
    graph = quantise(to_graph(block, input_shape=(3, 6, 5)))
    assert [(layer.weight.shape, layer.time_taps) for layer in graph.layers] == [
        ((4, 3, 3, 1, 1), 3),
        ((4, 4, 3, 3), 1),
    ]
    spikes = run_twin(graph, clips).layers[-1].spikes
    assert spikes is not None
    with torch.no_grad():
        assert (spikes != block(clips).bool()).float().mean() < 0.01


def test_what_cannot_be_built_is_refused():
    block, clips = graph_and_clips("block")
    with pytest.raises(ShapeError):
        run_block3d_lava(block, clips[:, :, :2])
    dense = IntegerLayer("fc", "dense", np.full((2, 3), 2), np.zeros(2, int), 1, 4096, 2048, 1.0, (2,))
    with pytest.raises(ExportError, match="'fc' is a dense layer"):
        run_block3d_lava(IntegerGraph((dense,), (3,)), torch.ones(2, 1, 3))
    late = IntegerLayer("late", "conv", np.full((4, 4, 3, 1, 1), 2), np.zeros(4, int), 1, 4096, 2048, 1.0, (4, 6, 5),
                        time_taps=3)  # fmt: skip
    with pytest.raises(ExportError, match="delay lines are not reset"):
        run_block3d_lava(IntegerGraph((*block.layers, late), block.input_shape), clips)
    with pytest.raises(ConversionError, match="neurons that pass values on"):
        to_graph(make_block(SoftSpiking), input_shape=(3, 6, 5))
    with pytest.raises(ConversionError, match="residual=False"):
        to_graph(make_block(residual=True), input_shape=(3, 6, 5))
