"""NIR files in the portable profile: what they hold, and that other libraries fire the same spikes."""

import contextlib
import json
import math

import nir
import numpy as np
import pytest
import torch
from torch import nn

from snnfer.converters.check import check_export
from snnfer.converters.graph import Activation, Conv, Dense, Flatten, Graph, Pool, Spike, Vote
from snnfer.converters.nir.export import to_nir
from snnfer.converters.nir.portable import NO_LEAK_TAU, portable
from snnfer.converters.nir.verify import LIBRARIES, verify_nir
from snnfer.errors import ConfigError, ConversionError, ExportError
from snnfer.layers import (
    SpikingConv2d,
    SpikingLinear,
    SpikingMaxPool2d,
    SpikingSequential,
    TimeBatchNorm2d,
    TimeDistributed,
)
from snnfer.models import create_model
from snnfer.models.spiking_classifier import SpikingClassifier
from snnfer.neurons import IF, LIF, PLIF, SoftSpiking


def need(library: str) -> None:
    """Skip where a library is not installed, such as spikingjelly on Python 3.10."""
    if library != "snnfer":
        pytest.importorskip(library)


def settled(model: nn.Module, x: torch.Tensor) -> nn.Module:
    """The model with statistics, biases and time constants of their own, in evaluation mode."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, PLIF):
                module.w.add_(0.4 * torch.randn(()))
            if isinstance(module, nn.BatchNorm2d):
                module.bias.uniform_(-0.3, 0.3)
                module.momentum = 1.0
            if isinstance(module, nn.Linear):
                module.weight.mul_(4)
        model.train()(x)
    return model.eval()


@pytest.fixture(scope="module")
def network() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    x = torch.poisson(torch.full((12, 2, 2, 16, 16), 0.3))
    return settled(create_model("au_snn", size=(16, 16), n_classes=5, channels=8, hidden=32), x), x


@pytest.fixture(scope="module")
def file(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("nir") / "net.nir"
    to_nir(network[0], path)
    return path


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_library_fires_the_spikes_of_the_whole_network(network, file, library):
    model, x = network
    need(library)
    found = verify_nir(file, x, library, model=model)
    assert [layer.name.split(".")[1] for layer in found.layers] == ["conv1", "conv2", "fc1", "fc2"]
    assert all(0.02 < layer.firing_rate < 0.9 for layer in found.layers)  # a dead network would agree, too
    assert found.n_updates == 12 * 2 * (8 * 16 * 16 + 8 * 8 * 8 + 32 + 50)
    assert found.n_mismatches == 0


@pytest.mark.parametrize("library", LIBRARIES)
def test_padded_pooling_is_known_to_every_library(library):
    need(library)
    torch.manual_seed(0)
    layers = (
        SpikingConv2d(2, 4, pool=1),
        TimeDistributed(nn.MaxPool2d(3, stride=2, padding=1)),
        nn.Flatten(2),
        SpikingLinear(4 * 36, 8),
    )
    x = torch.poisson(torch.full((8, 2, 2, 12, 11), 0.1))
    model = settled(SpikingClassifier(SpikingSequential(*layers), in_channels=2, size=(12, 11)), x)
    found = verify_nir(to_nir(model), x, library, model=model)
    assert all(0.02 < layer.firing_rate < 0.9 for layer in found.layers)
    assert found.n_mismatches == 0


@pytest.mark.parametrize("library", ["spikingjelly", "norse", "snntorch"])
def test_pooling_agrees_too(network, file, library):
    need(library)
    found = verify_nir(file, network[1], library)
    assert [layer.name for layer in found.layers if layer.name.endswith(".or")] == [
        "layers.conv1.pool.or",
        "layers.conv2.pool.or",
    ]
    assert found.n_mismatches == 0


def test_file_holds_folded_weights_and_times_in_seconds(network, file):
    model, _ = network
    graph = nir.read(file)
    block = model.layers.conv1
    tau = block.neuron.tau
    scale = block.norm.weight / torch.sqrt(block.norm.running_var + block.norm.eps)
    weight = tau * block.conv.weight * scale[:, None, None, None]
    bias = tau * (block.norm.bias - block.norm.running_mean * scale)
    np.testing.assert_allclose(graph.nodes["layers.conv1.conv"].weight, weight.detach().numpy(), rtol=1e-5)
    np.testing.assert_allclose(graph.nodes["layers.conv1.conv"].bias, bias.detach().numpy(), rtol=1e-4, atol=1e-6)
    neuron = graph.nodes["layers.conv1.neuron"]
    np.testing.assert_allclose(neuron.tau, np.full((8, 16, 16), tau * 1e-4), rtol=1e-6)
    assert np.all(neuron.r == 1)
    assert np.all(neuron.v_leak == 0)
    assert np.all(neuron.v_threshold == np.float32(1 - 2**-24))  # the largest float32 below 1
    pool = graph.nodes["layers.conv1.pool"]
    np.testing.assert_array_equal(pool.weight.sum((2, 3)), 8 * np.eye(8))  # 2 x 2 ones, times tau = 2
    assert {name for name in graph.nodes if "voting" in name or "dropout" in name} == set()


def test_metadata_name_the_step_the_votes_and_the_model(network, file):
    metadata = nir.read(file).metadata
    assert metadata["dt_s"] == 1e-4
    assert metadata["votes"] == 10
    assert json.loads(metadata["config"])["model"]["channels"] == 8
    assert to_nir(network[0], dt_s=0.033).metadata["dt_s"] == 0.033


@pytest.mark.parametrize("dt_s", [0.033, 1e-3])
@pytest.mark.parametrize("library", ["spikingjelly", "norse"])
def test_duration_of_a_step_changes_nothing(network, dt_s, library):
    need(library)
    model, x = network
    assert verify_nir(to_nir(model, dt_s=dt_s), x[:6, :1], library, model=model).n_mismatches == 0


CHAINS = {
    "groups, stride and dilation": lambda: [
        TimeDistributed(nn.Conv2d(2, 6, 3, stride=2, padding=2, dilation=2, groups=2)),
        LIF(tau=3.0, decay_input=False),
    ],
    "long kernels": lambda: [
        TimeDistributed(nn.Conv2d(2, 4, (1, 5), stride=(1, 2), padding=(0, 2), dilation=(1, 2))),
        LIF(tau=1.7, decay_input=False),
    ],
    "no leak": lambda: [SpikingConv2d(2, 4, neuron=IF(v_threshold=0.7)), SpikingConv2d(4, 6, neuron=IF())],
    "input that decays": lambda: [SpikingConv2d(2, 4, neuron=LIF(tau=2.5, v_threshold=0.3))],
    "another rest": lambda: [SpikingConv2d(2, 4, neuron=LIF(tau=2.5, v_threshold=0.8, v_reset=-0.2))],
    "average pooling": lambda: [
        SpikingConv2d(2, 4, pool=1),
        TimeDistributed(nn.AvgPool2d(3, stride=2)),
        SpikingConv2d(4, 4, pool=1),
    ],
    "overlapping max pooling": lambda: [SpikingConv2d(2, 4, pool=1), SpikingMaxPool2d(3, stride=2)],
    "neurons on the input": lambda: [LIF(tau=2.0, decay_input=False), SpikingConv2d(2, 4)],
}


@pytest.mark.parametrize("kind", CHAINS)
@pytest.mark.parametrize("library", ["spikingjelly", "norse", "snntorch"])
def test_other_layers_agree(kind, library):
    torch.manual_seed(1)
    layers = CHAINS[kind]()
    x = torch.poisson(torch.full((10, 2, 2, 9, 9), 0.5))
    with torch.no_grad():
        features = nn.Sequential(*layers)(x).flatten(2).shape[2]
    chain = SpikingSequential(*layers, nn.Flatten(2), SpikingLinear(features, 12))
    model = settled(SpikingClassifier(chain, in_channels=2, size=(9, 9)), x)
    need(library)
    found = verify_nir(to_nir(model), x, library, model=model)
    assert all(0.01 < layer.firing_rate < 0.95 for layer in found.layers)
    assert found.n_mismatches == 0


NOT_EXACT = {
    "soft reset": lambda: [SpikingConv2d(2, 4, neuron=IF(reset="soft"))],
    "pooling of counts": lambda: [SpikingMaxPool2d(3), SpikingConv2d(2, 4)],
    "normalisation of counts": lambda: [TimeBatchNorm2d(2), SpikingConv2d(2, 4)],
    "kernel of 2 x 3": lambda: [TimeDistributed(nn.Conv2d(2, 4, (2, 3))), LIF(tau=2.0)],
    "no spikes": lambda: [TimeDistributed(nn.Conv2d(2, 4, 3)), nn.ReLU()],
    "graded spikes": lambda: [SpikingConv2d(2, 4, neuron=SoftSpiking())],
}


@pytest.mark.parametrize("kind", [*CHAINS, *NOT_EXACT])
def test_check_and_export_say_the_same(kind):
    layers = {**CHAINS, **NOT_EXACT}[kind]()
    with torch.no_grad():
        features = nn.Sequential(*layers)(torch.rand(2, 1, 2, 9, 9)).flatten(2).shape[2]
    chain = SpikingSequential(*layers, nn.Flatten(2), SpikingLinear(features, 3))
    model = SpikingClassifier(chain, in_channels=2, size=(9, 9)).eval()
    assert check_export(model).exportable("nir") == (kind in CHAINS)
    with contextlib.nullcontext() if kind in CHAINS else pytest.raises((ExportError, ConversionError)):
        to_nir(model)


def conv(name: str = "conv", out: int = 2, into: int = 1, **kwargs) -> Conv:
    return Conv(name, torch.ones(out, into, 3, 3), torch.zeros(out), padding=(1, 1), **kwargs)


REFUSED = {
    "resets by subtraction": [conv(), Spike("s", 2.0, reset="soft")],
    "does not spike": [conv(), Activation("relu")],
    "tau = 1": [conv(), Spike("s", 1.0)],
    "no spikes": [conv(), Pool("pool", "max", (2, 2), (2, 2))],
    "weights that are not finite": [Conv("conv", torch.full((2, 1, 3, 3), math.nan), torch.zeros(2)), Spike("s", 2.0)],
    "votes are counted in the middle": [Flatten("f"), Vote("v", 2), Dense("fc", torch.ones(2, 18), torch.zeros(2))],
    "kernel of 2 x 3": [Conv("conv", torch.ones(2, 1, 2, 3), torch.zeros(2)), Spike("s", 2.0)],
    "3 steps at once": [
        Conv("conv", torch.ones(2, 1, 3, 1, 1), torch.zeros(2), time_taps=3),
        Spike("s", 2.0),
    ],
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_not_exact_is_refused_and_leaves_no_file(message, tmp_path):
    with pytest.raises(ExportError, match=message):
        to_nir(Graph(tuple(REFUSED[message]), (1, 6, 6)), tmp_path / "net.nir")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dt_s", [0, -1e-4, math.nan, math.inf])
def test_a_step_must_last(dt_s, network):
    with pytest.raises(ConfigError, match="dt_s"):
        to_nir(network[0], dt_s=dt_s)


def test_neurons_without_memory_are_those_of_an_or_only():
    spikes, wires = Spike("s", 2.0), Conv("pool", torch.ones(1, 1, 2, 2), torch.zeros(1), stride=(2, 2))
    graph = Graph((conv(out=1), spikes, wires, Spike("pool.or", 1.0, 0.5)), (1, 6, 6))
    assert [node.tau for node in portable(graph).nodes if isinstance(node, Spike)] == [2.0, 2.0]
    weak = Conv("pool", 0.4 * torch.ones(1, 1, 2, 2), torch.zeros(1), stride=(2, 2))  # needs two spikes at once
    with pytest.raises(ExportError, match="pool.or"):
        portable(graph.with_nodes((conv(out=1), spikes, weak, Spike("pool.or", 1.0, 0.5))))


def test_no_leak_is_none_in_float32():
    v = torch.linspace(-3, 3, 1001)
    assert torch.equal(v - v / NO_LEAK_TAU, v)


def test_names_survive_importers_that_replace_dots():
    nodes = (conv("a.b", 1), Spike("input", 2.0), conv("a_b", 1), Spike("x/y", 3.0))
    graph = to_nir(Graph(nodes, (1, 4, 4)))
    assert list(graph.nodes) == ["input", "a.b", "input_", "a_b_", "x_y", "output"]
