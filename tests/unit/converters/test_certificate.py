"""The certificate: its numbers against the model's own spikes and against counts by hand."""

import copy
import json

import numpy as np
import pytest
import torch
from torch import nn

from snnfer.converters.certificate import certify
from snnfer.converters.from_model import to_graph
from snnfer.converters.graph import Dense, Graph, Spike
from snnfer.converters.loihi.quantise import quantise
from snnfer.converters.run import run_graph
from snnfer.errors import ConversionError, ShapeError
from snnfer.models import create_model
from snnfer.neurons.steps import lif_step


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = create_model("au_snn", n_classes=3, size=(16, 16), channels=6, hidden=24, votes=4)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "linear.weight" in name:
                parameter.mul_(5)
            if "norm" in name and name.endswith("bias"):
                parameter.uniform_(-0.3, 0.5)
        for _ in range(20):
            model(torch.poisson(0.4 * torch.ones(6, 4, 2, 16, 16)))
    return model.eval()


@pytest.fixture(scope="module")
def clips():
    generator = torch.Generator().manual_seed(1)
    return torch.poisson(0.4 * torch.ones(10, 6, 2, 16, 16), generator=generator)


@pytest.fixture(scope="module")
def certificate(model, clips):
    graph = to_graph(model)
    labels = model((clips != 0).float()).argmax(1)
    return certify(model, graph, quantise(graph, calibration=clips[:, :2]), clips, labels, batch_size=4)


class OneNeuron(nn.Module):
    """Weight 0.3, no leak to speak of, threshold 1."""

    def forward(self, x):
        v, spikes = torch.zeros(x.shape[1], 1), []
        for frame in x:
            spike, v = lif_step(0.3 * frame, v, tau=1e12, v_threshold=1.0, decay_input=False)
            spikes.append(spike)
        return torch.stack(spikes)


class Through(nn.Module):
    """A graph as a network."""

    def __init__(self, graph):
        super().__init__()
        self.graph = graph

    def forward(self, x):
        return run_graph(self.graph, x)[self.graph.nodes[-1].name]


def test_counts_by_hand():
    """A weight of 0.3 fires at every 4th step, a weight of 62 against a threshold of 248 at every 5th."""
    dense = Dense("fc", torch.tensor([[0.3]]), torch.zeros(1))
    graph = Graph((dense, Spike("lif", tau=1e12)), (1,))
    integer = quantise(graph)
    coarse = type(integer)((type(integer.layers[0])(
        "fc", "dense", np.array([[62]]), np.array([0]), 248, 4096, 0, 248.0, (1,)
    ),), (1,))  # fmt: skip
    x = torch.ones(20, 2, 1)
    exact = certify(OneNeuron(), graph, integer, x, torch.tensor([0, 0]))
    assert (exact.layers[0].mismatch, exact.layers[0].float_rate, exact.layers[0].integer_rate) == (0, 0.25, 0.25)
    assert (exact.layers[0].spikes, exact.layers[0].synaptic_operations) == (5, 20)
    assert exact.changed_input == 0
    found = certify(OneNeuron(), graph, coarse, x).layers[0]
    # float at 4, 8, 12, 16, 20; integers (62 * 4 = 248 is not above 248) at 5, 10, 15, 20: only step 20 agrees
    assert (found.mismatch, found.integer_rate) == (7 / 20, 4 / 20)
    assert found.peak_current == 62 * 64 / 2**23
    assert found.peak_voltage == 310 * 64 / 2**23
    assert found.weight_error is None


def test_lengths_leave_steps_out():
    dense = Dense("fc", torch.tensor([[0.3]]), torch.zeros(1))
    graph = Graph((dense, Spike("lif", tau=1e12)), (1,))
    found = certify(OneNeuron(), graph, quantise(graph), torch.ones(20, 2, 1), lengths=torch.tensor([3, 8]))
    assert found.layers[0].integer_rate == 2 / 11
    assert found.layers[0].spikes == 5


def test_a_network_is_certified_layer_by_layer(certificate):
    assert [layer.exact for layer in certificate.layers] == [False, True, False, True, False, False]
    assert certificate.layers[1].own_mismatch == 0  # an OR adds no error
    assert certificate.layers[0].mismatch == certificate.layers[0].own_mismatch  # nothing comes before it
    assert 0 < certificate.layers[2].own_mismatch < 0.02
    assert all(0 < layer.integer_rate < 0.9 for layer in certificate.layers)
    assert all(layer.wraps == layer.clips == 0 and layer.peak_voltage < 1 for layer in certificate.layers)
    assert certificate.accuracy_float_chip_input == 1  # the labels are its own predictions
    assert certificate.same_prediction == certificate.accuracy_integer
    assert certificate.graph_error < 0.02  # folding rounds; a spike that flips is 1 / (10 steps * 4 votes) = 0.025
    assert certificate.changed_input == pytest.approx(0.062, abs=0.01)  # P(Poisson(0.4) > 1) = 6.16 %


def test_rates_are_those_of_the_model(model, clips, certificate):
    seen = {}
    blocks = {"layers.conv1.conv": model.layers.conv1.neuron, "layers.fc1.linear": model.layers.fc1.neuron}
    hooks = [
        neuron.register_forward_hook(lambda _, __, output, name=name: seen.update({name: float(output.mean())}))
        for name, neuron in blocks.items()
    ]
    with torch.no_grad():
        model((clips != 0).float())
    for hook in hooks:
        hook.remove()
    for name, rate in seen.items():
        found = next(layer for layer in certificate.layers if layer.name == name)
        assert found.float_rate == pytest.approx(rate, abs=2e-3)


def test_batches_do_not_matter(model, clips, certificate):
    graph = to_graph(model)
    labels = model((clips != 0).float()).argmax(1)
    again = certify(model, graph, quantise(graph, calibration=clips[:, :2]), clips, labels, batch_size=6)
    first, second = (
        [(row.mismatch, row.spikes, row.synaptic_operations, row.peak_voltage) for row in found.layers]
        for found in (certificate, again)
    )
    # the float network itself may round otherwise in another batch
    np.testing.assert_allclose(first, second, atol=1e-4, rtol=0)


def test_table_and_json(certificate):
    table = certificate.table()
    assert table.splitlines()[0].split()[:3] == ["layer", "neurons", "differ"]
    assert "layers.conv1.pool" in table.splitlines()[2]
    assert "exact" in table.splitlines()[2]
    assert "simulator not run" in table
    assert "input values are not 0 or 1" in table
    assert max(map(len, table.splitlines())) <= 120
    values = json.loads(json.dumps(certificate.to_dict()))
    assert values["accuracy_simulator"] is None
    assert values["layers"][0]["name"] == "layers.conv1.conv"
    after = certificate.with_simulator(accuracy=0.5, mismatches=0)
    assert "simulator 50.0 % (0 mismatching spikes)" in after.table()


def test_layers_without_spikes_are_named_and_certify_nothing():
    """The first neuron fires at every 4th step, the second needs 50 spikes at once."""
    nodes = (
        Dense("a", torch.tensor([[0.3]]), torch.zeros(1)), Spike("lif1", tau=1e12),
        Dense("b", torch.tensor([[0.02]]), torch.zeros(1)), Spike("lif2", tau=1e12),
    )  # fmt: skip
    graph = Graph(nodes, (1,))

    def found(steps):
        return certify(Through(graph), graph, quantise(graph), torch.ones(steps, 2, 1), torch.tensor([0, 0]))

    half, none = found(20), found(2)
    assert half.silent_layers == ("b",)
    assert half.to_dict()["silent_layers"] == ["b"]
    assert "warning: b sent no spikes: nothing was compared there" in half.table()
    assert "100.0 % (no vote: the scores of all classes are equal)" in half.table()
    assert [row.split()[2:4] for row in half.table().splitlines()[1:3]] == [["0.000", "%"], ["silent", "silent"]]
    assert "warning: the network sent no spikes (a, b): nothing was compared" in none.table()


def test_a_firing_network_is_not_warned_about(certificate):
    assert certificate.silent_layers == ()
    assert "warning" not in certificate.table()


@pytest.mark.parametrize("label", [-1, 3])
def test_labels_outside_the_classes_are_refused(model, clips, label):
    graph = to_graph(model)
    labels = torch.tensor([0, 1, 2, 0, 1, label])
    with pytest.raises(ShapeError, match="expected classes 0 to 2 of the network"):
        certify(model, graph, quantise(graph), clips, labels)


def test_approximations_are_named():
    dense = Dense("fc", torch.tensor([[0.3]]), torch.zeros(1))
    graph = Graph((dense, Spike("lif", tau=2.0, reset="soft")), (1,))
    found = certify(OneNeuron(), graph, quantise(graph, allow_approximate=True), torch.ones(20, 2, 1))
    assert "fc: soft reset became hard" in found.table()


def test_bad_input(model, clips):
    graph = to_graph(model)
    integer = quantise(graph)
    with pytest.raises(ShapeError, match="labels have shape"):
        certify(model, graph, integer, clips, torch.zeros(5))
    with pytest.raises(ShapeError, match="labels are a list; expected a torch tensor"):
        certify(model, graph, integer, clips, [0, 1, 2, 0, 1, 2])  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="1 to 10 steps"):
        certify(model, graph, integer, clips, lengths=torch.full((6,), 11))
    with pytest.raises(ShapeError, match="input has shape"):
        certify(model, graph, integer, clips.transpose(2, 4))
    with pytest.raises(ConversionError, match="same network"):
        certify(model, graph, type(integer)(integer.layers[:2], integer.input_shape), clips)


def test_a_model_in_training_mode_is_certified_as_one_in_evaluation_mode(model, clips, certificate):
    """Batch statistics and dropout would change its scores, and its running means would follow the test clips."""
    training = copy.deepcopy(model).train()
    training.layers.conv1.norm.eval()  # frozen by its owner
    graph = to_graph(training)
    labels = model((clips != 0).float()).argmax(1)
    assert certify(training, graph, quantise(graph, calibration=clips[:, :2]), clips, labels) == certificate
    for name, values in training.state_dict().items():
        assert torch.equal(values, model.state_dict()[name]), name
    assert training.training
    assert not training.layers.conv1.norm.training
    assert training.layers.conv2.norm.training
