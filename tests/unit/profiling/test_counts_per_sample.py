"""Counts of each sample, bytes, and traffic, by pencil."""

import itertools

import pytest
import torch
from torch import nn

from snnfer.errors import ConfigError
from snnfer.layers import SpikingConv2d, SpikingLinear, SpikingSequential, TimeDistributed
from snnfer.neurons import IF, LI, PLIF, SoftSpiking
from snnfer.profiling import count_operations
from snnfer.profiling.report import COUNTS


def make_network(neuron=IF):
    torch.manual_seed(0)
    network = SpikingSequential(
        SpikingConv2d(2, 4, norm=nn.Identity, neuron=neuron()), nn.Flatten(2), SpikingLinear(36, 5, neuron=neuron())
    )
    with torch.no_grad():
        network[2].linear.weight.mul_(4)
    return network


def make_counts(n_samples):
    rates = torch.linspace(0.1, 1.5, n_samples)[None, :, None, None, None].expand(4, -1, 2, 6, 6)
    return torch.poisson(rates, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("neuron", [IF, PLIF, SoftSpiking])
def test_a_batch_counts_as_its_samples_one_by_one(neuron):
    network, x = make_network(neuron), make_counts(5)
    report = count_operations(network, x)
    alone = [count_operations(network, x[:, i : i + 1]) for i in range(5)]
    assert len({sample.macs for sample in report.samples}) == 5  # the samples differ
    for sample, single in zip(report.samples, alone, strict=True):
        assert sample.layers == single.layers
    for name in COUNTS:
        mean = sum(getattr(layer, name) for single in alone for layer in single.layers) / 5
        assert sum(getattr(layer, name) for layer in report.layers) == pytest.approx(mean)
    order = torch.tensor([3, 1, 4, 0, 2])
    shuffled = count_operations(network, x[:, order])
    assert [s.layers for s in shuffled.samples] == [report.samples[i].layers for i in order]


def test_whether_inputs_are_spikes_is_seen_sample_by_sample():
    """A sum of two spikes is not a spike: its operations are multiply-accumulates, those of the other sample stay."""
    x = torch.tensor([[[[1.0], [1.0]], [[1.0], [0.0]]]])  # [1, 2 samples, 2, 1]

    class Sum(nn.Module):
        def forward(self, spikes):
            return spikes.sum(2)

    network = SpikingSequential(IF(), Sum(), nn.Linear(1, 3))
    both, one = count_operations(network, x).samples
    assert (both.layers[-1].macs, both.layers[-1].acs) == (3, 0)
    assert (one.layers[-1].macs, one.layers[-1].acs) == (0, 3)


def test_a_corner_spike_costs_four_accumulates_in_a_network():
    network = SpikingSequential(IF(), TimeDistributed(nn.Conv2d(1, 1, 3, padding=1)))
    x = torch.zeros(1, 2, 1, 5, 5)
    x[0, 0, 0, 0, 0] = x[0, 1, 0, 2, 2] = 1
    corner, inside = count_operations(network, x).samples
    assert (corner.acs, inside.acs) == (4, 9)


def test_traffic_by_pencil():
    """Two inputs, three neurons, four steps; one input is on in one step."""
    network = SpikingSequential(nn.Linear(2, 3), IF())
    x = torch.zeros(4, 1, 2)
    x[1, 0, 0] = 0.5
    traffic = count_operations(network, x).traffic("float32")
    assert traffic.dense_weights == 4 * 4 * 6  # four calls, six weights of four bytes
    assert traffic.weights == 4 * 3
    assert traffic.states == 4 * 2 * 3 * 4  # read and written, three membranes, four steps
    assert traffic.dense_activations == 4 * 4 * (2 + 3)
    assert traffic.activations == 4 * (1 + 4 * 3)
    assert traffic.dense == traffic.dense_weights + traffic.states + traffic.dense_activations
    assert traffic.event_driven == traffic.weights + traffic.states + traffic.activations


def test_weights_of_a_layer_that_sees_all_steps_at_once_are_read_once():
    report = count_operations(TimeDistributed(nn.Conv2d(2, 3, 3)), torch.ones(7, 1, 2, 5, 5))
    assert report.traffic().dense_weights == 4 * 2 * 3 * 9


@pytest.mark.parametrize(("precision", "n_bytes"), [("float32", 4), ("float16", 2), ("int8", 1)])
def test_bytes_follow_the_precision(precision, n_bytes):
    report = count_operations(make_network(), make_counts(1))
    assert report.weight_bytes_at(precision) == n_bytes * (2 * 4 * 9 + 4 + 36 * 5 + 5)
    for mine, float32 in zip(
        vars(report.traffic(precision)).values(), vars(report.traffic("float32")).values(), strict=True
    ):
        assert mine == float32 * n_bytes / 4 > 0


def test_an_unknown_precision_is_one_sentence():
    report = count_operations(nn.Linear(1, 1), torch.ones(1, 1, 1))
    with pytest.raises(ConfigError, match="precision 'int3'; expected one of float32, float16, int8"):
        report.traffic("int3")


def test_neurons_without_a_membrane_move_no_state_and_leaky_integrators_do():
    x = torch.randn(3, 1, 4)
    assert count_operations(SpikingSequential(SoftSpiking()), x).traffic().states == 0
    assert count_operations(SpikingSequential(LI()), x).traffic().states == 4 * 2 * 3 * 4


def test_totals_of_every_sample_are_in_the_plain_values():
    values = count_operations(make_network(), make_counts(3)).to_dict()
    for name in ("macs", "acs", "spikes", "total_macs", "firing_rate"):
        assert sum(sample[name] for sample in values["samples"]) / 3 == pytest.approx(values[name])
    assert len({tuple(sample.items()) for sample in values["samples"]}) == 3


def test_brute_force_over_synapses_of_a_small_network():
    """Every synapse of a padded, strided convolution visited in a loop."""
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 3, 3, stride=2, padding=1)
    network = SpikingSequential(IF(), TimeDistributed(conv))
    x = (torch.rand(2, 1, 2, 6, 5) < 0.4).float()
    reached = 0
    for t, c, row, column in itertools.product(range(2), range(2), range(3), range(3)):
        for dy, dx in itertools.product((-1, 0, 1), repeat=2):
            y, z = 2 * row + dy, 2 * column + dx
            reached += 3 * int(0 <= y < 6 and 0 <= z < 5 and x[t, 0, c, y, z] > 0)
    assert count_operations(network, x).acs == reached > 0
