"""NeuroBench's numbers beside ours, where they must agree and where they differ for known reasons."""

import pytest
import torch
from torch import nn

from snnfer.errors import MissingExtraError
from snnfer.layers import SpikingConv2d, SpikingSequential, TimeDistributed
from snnfer.neurons import IF
from snnfer.profiling import count_operations
from snnfer.profiling.neurobench import neurobench_metrics


def make_spiking():
    torch.manual_seed(0)
    network = SpikingSequential(
        SpikingConv2d(2, 4, norm=nn.Identity, neuron=IF(), pool=1), SpikingConv2d(4, 3, norm=nn.Identity, neuron=IF())
    )
    with torch.no_grad():
        network[0].conv.weight.mul_(3)
        network[1].conv.weight.mul_(3)
    return network.eval(), torch.poisson(torch.full((4, 2, 2, 6, 6), 0.9))


def test_missing_neurobench_names_the_extra(monkeypatch):
    import sys

    for name in ("neurobench", "neurobench.models"):  # another test may have imported it
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"snnfer\[neurobench\]"):
        neurobench_metrics(nn.Sequential(nn.Linear(2, 2)), torch.ones(1, 1, 2))


def test_effective_operations_and_sparsity_agree_on_a_spiking_network():
    pytest.importorskip("neurobench")
    network, x = make_spiking()
    theirs, ours = neurobench_metrics(network, x), count_operations(network, x)
    assert theirs["effective_macs"] == pytest.approx(ours.macs)  # the border counts once in both
    assert theirs["effective_acs"] == pytest.approx(ours.acs)
    assert ours.acs > 0
    assert theirs["activation_sparsity"] == pytest.approx(1 - ours.firing_rate)
    assert theirs["parameters"] == ours.parameters
    assert theirs["footprint_bytes"] == ours.weight_bytes


def test_dense_operations_differ_by_the_padding():
    pytest.importorskip("neurobench")
    network, x = make_spiking()
    theirs, ours = neurobench_metrics(network, x), count_operations(network, x)
    inside = 4 * (4 * 2 + 3 * 4) * (3 * 6 - 2) ** 2  # per axis 3 * 6 positions of the kernel, 2 of them outside
    assert theirs["dense"] == inside
    assert ours.dense_macs == 4 * (4 * 2 + 3 * 4) * 9 * 36


def test_a_first_layer_that_reads_zeros_and_ones_spikes_for_neurobench_alone():
    pytest.importorskip("neurobench")
    network, x = make_spiking()
    binary = x.clamp(max=1)
    theirs, ours = neurobench_metrics(network, binary), count_operations(network, binary)
    assert theirs["effective_macs"] == 0
    assert theirs["effective_acs"] == pytest.approx(ours.macs + ours.acs)


def test_an_ann_agrees_but_for_weights_that_are_zero():
    pytest.importorskip("neurobench")
    torch.manual_seed(0)
    network = nn.Sequential(TimeDistributed(nn.Linear(6, 5)), nn.ReLU(), TimeDistributed(nn.Linear(5, 4)))
    x = torch.randn(3, 2, 6)
    assert neurobench_metrics(network, x)["effective_macs"] == pytest.approx(count_operations(network, x).macs)
    with torch.no_grad():
        network[0].module.weight[:, 0] = 0
    theirs = neurobench_metrics(network, x)
    assert theirs["connection_sparsity"] == pytest.approx(5 / 50)
    assert count_operations(network, x).layers[0].macs - 3 * 5 == pytest.approx(
        theirs["effective_macs"] - count_operations(network, x).layers[1].macs
    )


def test_hooks_are_taken_away():
    pytest.importorskip("neurobench")
    network, x = make_spiking()
    neurobench_metrics(network, x)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
