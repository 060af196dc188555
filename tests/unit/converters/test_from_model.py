"""Graphs of networks: they compute what the network computes, and nothing is left out without a word."""

import functools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from snnfer.converters.from_model import to_graph
from snnfer.converters.graph import Activation, Conv, Pool
from snnfer.converters.run import run_graph
from snnfer.errors import ConversionError
from snnfer.layers import (
    FactorizedConv3d,
    GlobalAvgPool2d,
    SEWBlock,
    SpikingAvgPool2d,
    SpikingConv2d,
    SpikingLinear,
    SpikingSequential,
    ThresholdDependentBatchNorm2d,
    TimeConstantDropout,
    TimeDistributed,
    VotingLayer,
)
from snnfer.models import UNetEncoder, create_model
from snnfer.models.spiking_classifier import SpikingClassifier
from snnfer.models.unet import pix2pix
from snnfer.neurons import IF, LI, LIF, PLIF, SoftSpiking, observe


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def unlike_at_start(model: nn.Module) -> nn.Module:
    """The model in double precision, its normalisation and time constants as after some training."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
            nn.init.uniform_(module.running_var, 0.1, 0.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, 0.2, 1.0)
        if isinstance(module, PLIF):
            nn.init.uniform_(module.w, -1, 1)
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 1 / module.in_features, 3 / module.in_features**0.5)
    return model.double().eval()


def spikes_of(model: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Spikes ``[T, N, *]`` of every neuron layer, watched in the model itself."""
    seen: dict[str, list[torch.Tensor]] = {}
    with observe(model, lambda name, neuron, x, y, state: seen.setdefault(name, []).append(y)), torch.no_grad():
        model(x)
    return {name: torch.cat(steps) for name, steps in seen.items()}


def chain(*layers: nn.Module, size: int = 12) -> SpikingClassifier:
    return SpikingClassifier(SpikingSequential(*layers), in_channels=2, size=(size, size))


SPIKING = {
    "au_snn": lambda: create_model("au_snn", n_classes=3, size=(12, 12), channels=4, hidden=16, votes=2),
    "au_snn_stride": lambda: create_model(
        "au_snn", n_classes=3, size=(12, 12), channels=4, hidden=16, votes=2, blocks=3, downsampling="stride"
    ),
    "average": lambda: chain(
        SpikingConv2d(2, 4, kernel_size=5, stride=2, neuron=LIF(tau=4.0), pool=1),
        SpikingAvgPool2d(2, neuron=IF(v_threshold=0.2, reset="soft")),
        SpikingConv2d(4, 6, neuron=IF(v_threshold=0.4, v_reset=-0.2), norm=nn.Identity, pool=1),
        GlobalAvgPool2d(),
        SpikingLinear(6, 15, neuron=PLIF(decay_input=True, v_threshold=0.2)),
    ),
    "distributed": lambda: chain(
        TimeDistributed(nn.Conv2d(2, 4, 3, padding=1, groups=2)),
        ThresholdDependentBatchNorm2d(4),
        IF(reset="soft"),
        TimeDistributed(nn.Sequential(nn.AdaptiveAvgPool2d(3), nn.Flatten())),
        TimeConstantDropout(0.5),
        nn.Linear(36, 8),
        LIF(tau=3.0, decay_input=False, v_threshold=0.5),
        VotingLayer(4),
    ),
    "padded pooling": lambda: chain(
        SpikingConv2d(2, 4, neuron=IF(v_threshold=2.0), pool=1),
        TimeDistributed(nn.MaxPool2d(3, stride=2, padding=1)),
        SpikingConv2d(4, 6, neuron=IF(v_threshold=1.5), pool=1),
        nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
        GlobalAvgPool2d(),
        SpikingLinear(6, 4, neuron=IF(v_threshold=0.5)),
    ),
    "factorised": lambda: chain(
        FactorizedConv3d(2, 6, neuron=PLIF, residual=False, causal=True),
        FactorizedConv3d(6, 4, neuron=functools.partial(IF, v_threshold=0.5), residual=False, causal=True),
        nn.Flatten(2),
        SpikingLinear(4 * 144, 6),
        VotingLayer(2),
    ),
}


@pytest.mark.parametrize("name", SPIKING)
def test_every_neuron_of_a_spiking_chain_fires_as_in_the_model(name):
    model = unlike_at_start(SPIKING[name]())
    x = torch.poisson(torch.rand(7, 2, 2, 12, 12).double())
    graph = to_graph(model)
    outputs = run_graph(graph, x, record="all")
    spikes = spikes_of(model, x)
    assert {node.name for node in graph.nodes if type(node).__name__ == "Spike"} == set(spikes)
    for layer, expected in spikes.items():
        assert torch.equal(outputs[layer], expected), layer
        assert 0.01 < expected.mean() < 0.99, f"{layer} does not say much"
    assert torch.allclose(list(outputs.values())[-1], model.forward_steps(x), atol=1e-12)


def test_names_and_metadata_are_those_of_the_model():
    model = SPIKING["au_snn"]()
    graph = to_graph(model)
    known = dict(model.named_modules())
    assert all(node.name in known for node in graph.nodes)
    assert graph.metadata["model"]["name"] == "au_snn"
    assert graph.input_shape == (2, 12, 12)


def test_training_goes_on_without_changing_the_graph():
    layer = nn.Linear(3, 2)
    graph = to_graph(layer)
    before = graph.nodes[0].weight.clone()
    with torch.no_grad():
        layer.weight.add_(1)
    assert torch.equal(graph.nodes[0].weight, before)


def test_unet_encoder_and_window_classifier():
    x = torch.rand(2, 2, 3, 32, 32).double() * 2 - 1
    encoder = unlike_at_start(UNetEncoder(size=(32, 32), width=4))
    (features,) = run_graph(to_graph(encoder), x).values()
    assert torch.allclose(features, encoder(x.flatten(0, 1)).unflatten(0, (2, 2)), atol=1e-12)
    slopes = [node.negative_slope for node in to_graph(encoder).nodes if isinstance(node, Activation)]
    assert slopes == [0.2] * 4 + [0.0]
    model = unlike_at_start(create_model("evtransfer", size=(32, 32), width=4, hidden=8))
    (scores,) = run_graph(to_graph(model), x).values()
    assert torch.allclose(scores, model.forward_steps(x), atol=1e-12)


class Functional(nn.Module):
    """Everything between layers that a graph knows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, padding="same")
        self.norm = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 4, (3, 5), stride=(2, 1), padding=(1, 2))
        self.shared = nn.Conv2d(4, 4, 3, padding="valid", dilation=2)
        self.fc1 = nn.Linear(16, 8)
        self.fc2 = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.norm(self.conv1(x)))
        x = F.max_pool2d(x, 2, stride=2)
        x = F.leaky_relu(self.conv2(x), 0.1)
        x = torch.relu(self.shared(x).relu())
        x = F.avg_pool2d(self.shared(x), 2)
        x = F.adaptive_avg_pool2d(x, (2, 2)).contiguous()
        x = x.view(x.size(0), -1)
        x = F.dropout(F.relu(self.fc1(x)), 0.5, training=self.training)
        return self.fc2(x)


def test_functional_operations_are_traced():
    model = unlike_at_start(Functional())
    x = torch.randn(3, 2, 2, 48, 48).double()
    graph = to_graph(model.train(), input_shape=(2, 48, 48))
    assert model.training
    model.eval()
    (scores,) = run_graph(graph, x).values()
    assert torch.allclose(scores, model(x.flatten(0, 1)).unflatten(0, (3, 2)), atol=1e-12)
    names = [node.name for node in graph.nodes]
    assert names[:4] == ["conv1", "norm", "relu", "max_pool2d"]
    assert [name for name in names if name.startswith("shared")] == ["shared", "shared_2"]


class Mean(nn.Module):
    def __init__(self, **mean: object) -> None:
        super().__init__()
        self.conv, self.mean = nn.Conv2d(2, 4, 3), mean

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.flatten(F.relu(self.conv(x)).mean(**self.mean), 1)


def test_mean_over_space_is_average_pooling():
    model = Mean(dim=(-2, -1), keepdim=True).double()
    x = torch.randn(2, 1, 2, 9, 7).double()
    (y,) = run_graph(to_graph(model, input_shape=(2, 9, 7)), x).values()
    assert torch.allclose(y[:, 0], model(x[:, 0]), atol=1e-12)
    with pytest.raises(ConversionError, match="'mean' is a mean over 1"):
        to_graph(Mean(dim=1), input_shape=(2, 9, 7))


def test_a_subclass_with_a_forward_of_its_own_is_traced_not_taken_for_its_parent():
    class Twice(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self[0](self[0](x))

    class Softer(nn.ReLU):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return F.leaky_relu(input, 0.3)

    model = nn.Sequential(Twice(nn.Linear(3, 3)), Softer()).double()
    x = torch.randn(4, 1, 3).double()
    (y,) = run_graph(to_graph(model), x).values()
    assert torch.allclose(y[:, 0], model(x[:, 0]), atol=1e-12)


def test_layers_that_do_nothing_leave_nothing():
    model = nn.Sequential(nn.Identity(), nn.Dropout(), nn.Linear(4, 4), nn.Dropout2d(), nn.LeakyReLU(1.0), nn.Flatten())
    assert [type(node).__name__ for node in to_graph(model).nodes] == ["Dense"]


class Branch(nn.Module):
    def __init__(self, forward) -> None:
        super().__init__()
        self.fc, self.way = nn.Linear(4, 4), forward

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.way(self, x)


class Scaled(nn.Module):
    def forward(self, x: torch.Tensor, factor: float = 1.0) -> torch.Tensor:
        return torch.relu(x)


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc, self.scaled = nn.Linear(4, 4), Scaled()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scaled(self.fc(x), 2.0)


class TwoInputs(nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x + y


REFUSED = {
    "unknown module": (lambda: nn.Sequential(nn.Linear(4, 4), nn.Softplus()), "'1' is a Softplus"),
    "nested": (lambda: nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.GELU())), "'0.1' is a GELU"),
    "unknown function": (lambda: Branch(lambda m, x: F.softplus(m.fc(x))), "'softplus' calls softplus"),
    "function of torch": (lambda: Branch(lambda m, x: torch.tanh(m.fc(x))), "'tanh' calls tanh"),
    "operator": (lambda: Branch(lambda m, x: m.fc(x) * 2), "'mul' calls mul"),
    "shortcut": (lambda: Branch(lambda m, x: m.fc(x) + x), "'add' .* does not read the layer before it alone"),
    "branch": (lambda: Branch(lambda m, x: torch.cat([m.fc(x), m.fc(x)], 1)), "'fc_1' .* does not read the layer"),
    "parameter": (lambda: Branch(lambda m, x: F.linear(x, m.fc.weight)), "'fc_weight'"),
    "control flow": (lambda: Branch(lambda m, x: x if x.sum() > 0 else m.fc(x)), "'Branch' .* cannot be traced"),
    "second argument": (Nested, "'scaled' .* does not read the layer before it alone"),
    "two outputs": (lambda: Branch(lambda m, x: (m.fc(x), 1)), "'output' .* does not read"),
    "two inputs": (TwoInputs, "'y' .* does not read"),
    "dropout for ever": (lambda: Branch(lambda m, x: F.dropout(m.fc(x))), "drops values in evaluation mode"),
    "slope": (lambda: nn.Sequential(nn.Linear(4, 4), nn.LeakyReLU(1.5)), "negative slope of 1.5"),
    "reshape": (lambda: Branch(lambda m, x: m.fc(x).reshape(2, -1, 2)), "reshapes to"),
    "unflattened": (lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.Linear(10, 2)), r"'1' gets a shape of \[4, 10, 10\]"),
    "flattened batch": (lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(0)), "flattens the dimensions 0 to -1"),
    "circular": (lambda: nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"), "pads with 'circular'"),
    "even kernel": (lambda: nn.Sequential(nn.Conv2d(2, 4, 4, padding="same")), "pads one side more"),
    "pool padding": (lambda: nn.Sequential(nn.AvgPool2d(3, 2, padding=1)), "'0' pools with padding"),
    "pool ceil": (lambda: nn.Sequential(nn.AvgPool2d(3, 2, ceil_mode=True)), "'0' pools with ceil_mode"),
    "pool dilation": (lambda: nn.Sequential(nn.MaxPool2d(2, dilation=2)), "'0' pools with dilation"),
    "divisor": (lambda: nn.Sequential(nn.AvgPool2d(2, divisor_override=3)), "'0' pools with divisor_override"),
    "adaptive": (lambda: nn.Sequential(nn.AdaptiveAvgPool2d(5)), "maps of 12 x 12 to 5 x 5"),
    "batch statistics": (lambda: nn.BatchNorm2d(2, track_running_stats=False), "by its own statistics"),
    "slopes": (lambda: nn.Sequential(nn.Conv2d(2, 4, 1), nn.PReLU(4)), "a slope per channel"),
    "3-d network": (lambda: create_model("au_cnn3d", size=(16, 16)), "'features.0.conv' .* sees later steps"),
    "recurrence": (lambda: create_model("evtransfer_lstm", size=(16, 16), width=4), "'lstm' is a LSTM"),
    "decoder": (lambda: pix2pix(size=(16, 16), width=4), "is a UNetGenerator.*encoder_from"),
    "non-causal": (
        lambda: chain(FactorizedConv3d(2, 2)),
        "'layers.0' is a convolution .* that sees later steps",
    ),
    "residual": (lambda: chain(FactorizedConv3d(2, 2, neuron=IF, causal=True)), "'layers.0' adds its input"),
    "SEW": (lambda: chain(SpikingConv2d(2, 4, pool=1), SEWBlock(4, 4)), "'layers.1' is a SEWBlock"),
    "membrane": (lambda: chain(SpikingConv2d(2, 4, neuron=LI())), "'layers.0.neuron' is a LI"),
    "soft": (lambda: chain(SpikingConv2d(2, 4, neuron=SoftSpiking())), "'layers.0.neuron' is a SoftSpiking"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_graph_cannot_say_is_an_error_that_names_it(case):
    make, message = REFUSED[case]
    model = make()
    has_maps = any(isinstance(m, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d | nn.BatchNorm2d) for m in model.modules())
    given = None if hasattr(model, "config") or isinstance(model, SpikingClassifier) else (2, 12, 12)
    given = given if has_maps or case == "adaptive" or given is None else (4,)
    with pytest.raises(ConversionError, match=message):
        to_graph(model, input_shape=given)


def test_a_name_is_no_network():
    with pytest.raises(ConversionError, match=r"the model is the text 'au_snn'; expected a network.*create_model"):
        to_graph("au_snn")  # type: ignore[arg-type]
    with pytest.raises(ConversionError, match="the model is a dict"):
        to_graph({}, input_shape=(1, 2, 2))  # type: ignore[arg-type]


def test_the_size_of_the_input_must_be_known():
    with pytest.raises(ConversionError, match=r"pass input_shape, for example input_shape=\(2, 64, 64\)"):
        to_graph(nn.Sequential(nn.Conv2d(2, 4, 3)))


def test_kinds_of_nodes_of_a_causal_block():
    graph = to_graph(SPIKING["factorised"]())
    temporal, pointwise = graph.nodes[:2]
    assert isinstance(temporal, Conv)
    assert isinstance(pointwise, Conv)
    assert (temporal.time_taps, temporal.groups, tuple(temporal.weight.shape)) == (3, 2, (2, 1, 3, 1, 1))
    assert (pointwise.time_taps, tuple(pointwise.weight.shape)) == (1, (6, 2, 1, 1))
    assert not any(isinstance(node, Pool) for node in graph.nodes)
