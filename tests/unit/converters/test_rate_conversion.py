"""Conversion to rate-coded networks against closed forms, torch's own operations, and hand-made graphs."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from snnfer.converters.ann_to_snn import RateSNN, ann_to_snn, calibrate, prepare
from snnfer.converters.ann_to_snn.build import build_network
from snnfer.converters.graph import Activation, Conv, Dense, Flatten, Graph, Pool, Spike
from snnfer.converters.passes import split_leaky
from snnfer.errors import ConfigError, ConversionError, ShapeError, SnnferError, StateError
from snnfer.models import UNetEncoder, create_model
from snnfer.neurons import IF, observe


def rounded(a, theta, n_steps):
    """The rate code of T steps, by its closed form."""
    return theta / n_steps * torch.floor(a * n_steps / theta + 0.5).clamp(0, n_steps)


def one_layer(slope=0.0):
    generator = torch.Generator().manual_seed(1)
    weight = torch.randint(-4, 5, (5, 3), generator=generator) / 4
    bias = torch.randint(-2, 3, (5,), generator=generator) / 4
    out = torch.randint(-4, 5, (2, 5), generator=generator) / 4
    nodes = (Dense("a", weight, bias), Activation("act", slope), Dense("b", out, torch.tensor([0.5, -0.25])))
    return Graph(nodes, (3,)), torch.randint(0, 9, (40, 3), generator=generator) / 8


@pytest.mark.parametrize("n_steps", [4, 16])
def test_one_layer_is_the_closed_form_exactly(n_steps):
    """Weights, inputs and thresholds are dyadic: every sum is exact, and so is the comparison."""
    graph, x = one_layer()
    theta = torch.tensor([1.0, 2.0, 0.5, 1.0, 4.0])
    snn = build_network(graph, {"act": theta}, n_steps=n_steps)
    first, _, second = graph.nodes
    z = F.linear(x, first.weight, first.bias)
    assert torch.equal(snn(x), F.linear(rounded(z, theta, n_steps), second.weight, second.bias))


def test_leaky_layer_is_the_difference_of_two_closed_forms():
    graph, x = one_layer(slope=0.25)
    theta, n_steps = torch.tensor([1.0, 0.25] * 5), 8
    snn = build_network(split_leaky(graph), {"act": theta}, n_steps=n_steps)
    first, _, second = graph.nodes
    z = F.linear(x, first.weight, first.bias)
    a = rounded(z, torch.tensor(1.0), n_steps) - rounded(-0.25 * z, torch.tensor(0.25), n_steps)
    assert torch.equal(snn(x), F.linear(a, second.weight, second.bias))


def test_spikes_are_binary_and_the_neurons_library_neurons():
    graph, x = one_layer(slope=0.25)
    snn, _ = ann_to_snn(graph, calibration=x, n_steps=8)
    seen = []
    with observe(snn, lambda name, neuron, x, y, state: seen.append((neuron, y))):
        snn(x)
    assert len(seen) == 8
    assert all(isinstance(neuron, IF) and set(y.unique().tolist()) <= {0.0, 1.0} for neuron, y in seen)


class Functional(nn.Module):
    """Grouped convolution, both poolings, functional activations, LeakyReLU in front of max pooling."""

    def __init__(self):
        super().__init__()
        self.conv1, self.norm = nn.Conv2d(2, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, groups=2, padding=1)
        self.fc1, self.fc2 = nn.Linear(8 * 4, 12), nn.Linear(12, 3)

    def forward(self, x):
        x = F.max_pool2d(F.leaky_relu(self.norm(self.conv1(x)), 0.2), 2)
        x = F.avg_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


def functional_network():
    torch.manual_seed(0)
    network = Functional()
    with torch.no_grad():
        for _ in range(20):
            network(torch.rand(16, 2, 8, 8))
    return network.eval()


def test_functional_network_converges_to_the_network_without_spikes():
    """The error of a rate of T steps falls as 1 / T; thresholds are the largest activations, so nothing is clipped."""
    ann, x = functional_network(), torch.rand(16, 2, 8, 8)
    snn, report = ann_to_snn(
        ann, calibration=x, percentile=100, n_steps=128, input_shape=(2, 8, 8), curve_steps=(2, 16, 128)
    )
    errors = [row.relative_error for row in report.curve]
    assert errors[0] > 3 * errors[1] > 9 * errors[2]
    assert errors[2] < 0.03
    with torch.no_grad():
        torch.testing.assert_close(snn(x), ann(x), rtol=0.05, atol=0.05)
    assert all(layer.clipped_share == 0 for layer in report.layers)


@pytest.mark.parametrize("kind", ["max", "average"])
def test_pooled_rates_are_the_pooled_activations(kind):
    """One layer without weights behind it: the output is decoded, and max pooling of rates is exact."""
    x = torch.randint(0, 9, (3, 2, 4, 4), generator=torch.Generator().manual_seed(0)) / 8
    graph = Graph((Activation("act"), Pool("pool", kind, (2, 2), (2, 2)), Flatten("flat")), (2, 4, 4))
    snn = build_network(graph, {"act": torch.tensor([1.0, 1.0])}, n_steps=8)
    pool = F.max_pool2d if kind == "max" else F.avg_pool2d
    assert torch.equal(snn(x), pool(x, 2).flatten(1))


def test_activations_without_weights_between_them():
    """The second population reads spikes of the first: its threshold is in units of theirs."""
    x = torch.tensor([[0.5, 2.0], [1.0, 3.0]])
    graph = Graph((Activation("one"), Activation("two")), (2,))
    snn = build_network(graph, {"one": torch.tensor([1.0, 4.0]), "two": torch.tensor([1.0, 4.0])}, n_steps=8)
    torch.testing.assert_close(snn(x), x, rtol=0, atol=0.26)


def test_percentile_is_that_of_the_positive_activations():
    x = torch.cat([torch.arange(1, 1001.0), torch.full((5000,), -1.0)])[:, None]
    graph = Graph((Activation("act"),), (1,))
    for percentile, expected in ((100, 1000.0), (99.9, 999.0), (50, 500.0)):
        assert calibrate(graph, x, percentile=percentile)["act"].item() == expected


@pytest.mark.parametrize("n_steps", [4, 32])
def test_local_balancing_has_the_least_error_of_all_thresholds(n_steps):
    a = torch.randn(4000, 1, generator=torch.Generator().manual_seed(0)).abs() ** 2
    theta = calibrate(Graph((Activation("act"),), (1,)), a, balancing="local", n_steps=n_steps)["act"].item()
    error = (rounded(a, theta, n_steps) - a).square().mean()
    everywhere = min((rounded(a, t, n_steps) - a).square().mean() for t in torch.linspace(0.05, a.max().item(), 997))
    assert error <= 1.02 * everywhere
    assert theta < a.max()


def test_local_thresholds_grow_with_the_steps():
    a = torch.randn(4000, 1, generator=torch.Generator().manual_seed(0)).abs() ** 2
    graph = Graph((Activation("act"),), (1,))
    thresholds = [calibrate(graph, a, balancing="local", n_steps=n)["act"].item() for n in (2, 8, 32, 128)]
    assert thresholds == sorted(thresholds)
    assert thresholds[0] < thresholds[-1]


def test_silent_channels_get_the_median_and_silent_layers_are_refused():
    graph = Graph((Activation("act"),), (3,))
    theta = calibrate(graph, torch.tensor([[1.0, -1.0, 3.0], [0.5, -2.0, 2.0]]), percentile=100)["act"]
    assert theta.tolist() == [1.0, 1.0, 3.0]
    with pytest.raises(ConversionError, match="'act' is silent on all calibration data"):
        calibrate(graph, -torch.ones(4, 3))


def test_unet_encoder_of_evtransfer_and_its_report():
    torch.manual_seed(0)
    encoder, x = UNetEncoder(size=(16, 16), width=4), torch.rand(12, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        for _ in range(20):
            encoder(x)
    encoder.eval()
    snn, report = ann_to_snn(encoder, calibration=x, percentile=100, n_steps=64, curve_steps=(64,))
    with torch.no_grad():
        reference = encoder(x)
    assert ((snn(x) - reference).norm() / reference.norm()).item() == pytest.approx(
        report.curve[0].relative_error, rel=1e-4
    )
    assert report.curve[0].relative_error < 0.1
    assert [layer.neurons for layer in report.layers] == [2 * 4 * 64, 2 * 8 * 16, 2 * 16 * 4, 32]
    assert all(layer.correlation > 0.99 for layer in report.layers)
    assert sum(layer.spikes for layer in report.layers) == pytest.approx(report.curve[0].spikes)
    assert "recommended" in report.table()


def test_clips_are_their_images_and_lengths_leave_padding_out():
    model = create_model("evtransfer", n_classes=3, size=(16, 16), width=4, hidden=8).eval()
    x = torch.rand(4, 2, 3, 16, 16)
    snn, _ = ann_to_snn(model, calibration=x, n_steps=8)
    steps = snn.forward_steps(x)
    torch.testing.assert_close(steps[2], snn(x[2]))
    torch.testing.assert_close(snn(x, lengths=torch.tensor([4, 3]))[1], steps[:3, 1].mean(0))
    assert torch.equal(snn.forward_with_state(x)[0], steps)
    with pytest.raises(StateError, match="a state of dict"):
        snn.forward_with_state(x, {"v": 0})


def test_running_mean_ends_at_the_score_and_chunks_stream():
    graph, x = one_layer()
    snn, _ = ann_to_snn(graph, calibration=x, n_steps=8)
    torch.testing.assert_close(snn.run(x)[-1], snn(x))
    whole = snn.simulate(x.expand(8, *x.shape))[0]
    first, state = snn.simulate(x.expand(3, *x.shape))
    assert torch.equal(torch.cat([first, snn.simulate(x.expand(5, *x.shape), state)[0]]), whole)


def test_config_builds_the_same_network_again():
    snn, _ = ann_to_snn(functional_network(), calibration=torch.rand(8, 2, 8, 8), n_steps=4, input_shape=(2, 8, 8))
    again = RateSNN(**{key: value for key, value in snn.config.items() if key != "name"})
    again.load_state_dict(snn.state_dict())
    x = torch.rand(3, 2, 8, 8)
    assert torch.equal(again.eval()(x), snn(x))


def test_the_network_stays_as_it_is():
    ann = functional_network()
    ann.conv2.train()
    before = {key: value.clone() for key, value in ann.state_dict().items()}
    ann_to_snn(ann, calibration=torch.rand(8, 2, 8, 8), n_steps=2, input_shape=(2, 8, 8))
    assert all(torch.equal(value, before[key]) for key, value in ann.state_dict().items())
    assert ann.conv2.training
    assert not ann.norm.training


@pytest.mark.parametrize(
    ("activation", "name"), [(nn.GELU(), "GELU"), (nn.Sigmoid(), "Sigmoid"), (nn.Hardswish(), "Hardswish")]
)
def test_unknown_activations_are_errors(activation, name):
    network = nn.Sequential(nn.Linear(4, 4), activation, nn.Linear(4, 2))
    with pytest.raises(ConversionError, match=name):
        ann_to_snn(network, calibration=torch.rand(4, 4))


def test_what_cannot_be_converted_says_why():
    with pytest.raises(ConversionError, match="'s' is a spiking neuron"):
        prepare(Graph((Spike("s", tau=2.0),), (3,)))
    taps = Conv("c", torch.ones(1, 1, 3, 1, 1), torch.zeros(1), time_taps=3)
    with pytest.raises(ConversionError, match="a convolution over 3 time steps"):
        prepare(Graph((taps,), (1, 4, 4)))
    with pytest.raises(ConversionError, match="no activation"):
        ann_to_snn(nn.Linear(3, 2), calibration=torch.rand(4, 3))


@pytest.mark.parametrize("method", ["rate", "qcfs", "sigma_delta"])
@pytest.mark.parametrize("first", ["rate", "sigma_delta"])
def test_what_was_converted_is_not_converted_again(first, method):
    torch.manual_seed(0)  # not one whose neurons are all silent
    ann, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), torch.rand(8, 3)
    snn, _ = ann_to_snn(ann, calibration=x, method=first)
    with pytest.raises(ConversionError, match="a spiking network already"):
        ann_to_snn(snn, calibration=x, method=method)


class Hidden(nn.Module):
    """A network whose forward pass does more than its graph says."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
        self.register_forward_hook(lambda module, args, y: 2 * y)

    def forward(self, x):
        return self.layers(x)


def test_a_graph_that_differs_from_the_network_is_refused():
    with pytest.raises(ConversionError, match="differs from the network by"):
        ann_to_snn(Hidden(), calibration=torch.rand(4, 3))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"calibration": torch.rand(4, 5)}, ShapeError, r"the calibration data has shape \[4, 5\]; expected images"),
        ({"calibration": torch.rand(0, 3)}, ShapeError, "at least one image"),
        ({"calibration": torch.full((4, 3), math.nan)}, ShapeError, "NaN or infinity"),
        ({"evaluation": torch.rand(3)}, ShapeError, "the evaluation data has shape"),
        ({"labels": torch.zeros(3)}, ShapeError, "one per image"),
        ({"labels": torch.full((40,), 2)}, ShapeError, "labels from 2 to 2; expected classes 0 to 1"),
        ({"labels": torch.full((40,), -1), "method": "sigma_delta"}, ShapeError, "expected classes 0 to 1"),
        ({"n_steps": 0}, SnnferError, "n_steps = 0"),
        ({"percentile": 0}, ConfigError, "percentile = 0"),
        ({"initial_charge": 1.0}, ConfigError, "initial_charge = 1.0"),
        ({"method": "ttfs"}, SnnferError, "one of rate, qcfs"),
        ({"balancing": "max"}, SnnferError, "one of percentile, local"),
        ({"curve_steps": (4, 2)}, ConfigError, r"steps = \[4, 2\]"),
        ({"tolerance": 2.0}, ConfigError, "tolerance = 2.0"),
    ],
)
def test_bad_arguments_are_one_sentence(arguments, error, message):
    graph, x = one_layer()
    with pytest.raises(error, match=message):
        ann_to_snn(graph, **{"calibration": x, "n_steps": 2, **arguments})[1].table()
