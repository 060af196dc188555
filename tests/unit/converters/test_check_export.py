"""The check before training says what the exporters do, and the resources that were found by experiment."""

import functools
import json

import pytest
import torch
from torch import nn

from snnfer.converters.check import check_export
from snnfer.converters.from_model import to_graph
from snnfer.converters.loihi.quantise import quantise
from snnfer.converters.nir.export import to_nir
from snnfer.errors import SnnferError
from snnfer.layers import (
    FactorizedConv3d,
    GlobalAvgPool2d,
    SpikingAvgPool2d,
    SpikingConv2d,
    SpikingLinear,
    SpikingSequential,
    TimeDistributed,
    VotingLayer,
)
from snnfer.models import create_model
from snnfer.models.spiking_classifier import SpikingClassifier
from snnfer.neurons import IF, LIF, PLIF, SoftSpiking


def chain(*layers: nn.Module) -> SpikingClassifier:
    return SpikingClassifier(SpikingSequential(*layers), in_channels=2, size=(12, 12))


def silent() -> SpikingClassifier:
    model = chain(nn.Flatten(2), SpikingLinear(288, 4), SpikingLinear(4, 2))
    nn.init.zeros_(model.layers[2].linear.weight)  # type: ignore[union-attr, arg-type]
    return model


CAUSAL = functools.partial(FactorizedConv3d, neuron=PLIF, residual=False, causal=True)
NETWORKS = {
    "au_snn": (lambda: create_model("au_snn", n_classes=2, size=(12, 12), channels=4, hidden=8, votes=2), True, True),
    "average": (lambda: chain(SpikingConv2d(2, 4, pool=1), SpikingAvgPool2d(2, neuron=IF())), True, True),
    "mean": (lambda: chain(SpikingConv2d(2, 4, pool=1), GlobalAvgPool2d(), SpikingLinear(4, 2)), True, True),
    "padded pooling": (
        lambda: chain(SpikingConv2d(2, 4, pool=1), TimeDistributed(nn.MaxPool2d(3, stride=2, padding=1))),
        True,
        True,
    ),
    "rest": (lambda: chain(nn.Flatten(2), SpikingLinear(288, 4, neuron=LIF(v_reset=-0.5))), True, True),
    "grouped": (
        lambda: chain(TimeDistributed(nn.Conv2d(2, 4, 3, groups=2)), IF(), nn.Flatten(2), SpikingLinear(400, 2)),
        True,
        True,
    ),
    "oblong": (lambda: chain(TimeDistributed(nn.Conv2d(2, 4, (2, 3))), IF()), True, False),
    "causal": (lambda: chain(CAUSAL(2, 4), nn.Flatten(2), SpikingLinear(576, 2)), True, False),
    "soft reset": (lambda: chain(SpikingConv2d(2, 4, neuron=IF(reset="soft"))), False, False),
    "spiking average": (lambda: chain(SpikingConv2d(2, 4), SpikingAvgPool2d(2)), False, False),
    "no neurons": (lambda: chain(nn.Flatten(2), SpikingLinear(288, 4), nn.Linear(4, 2)), False, True),
    "silent": (silent, False, True),
    "relu": (lambda: nn.Sequential(nn.Linear(4, 2), nn.ReLU()), False, False),
    "values pooled": (
        lambda: chain(TimeDistributed(nn.Conv2d(2, 4, 3)), TimeDistributed(nn.MaxPool2d(2)), IF()),
        False,
        False,
    ),
    "votes inside": (
        lambda: chain(nn.Flatten(2), SpikingLinear(288, 4), VotingLayer(2), nn.Linear(2, 2)),
        False,
        False,
    ),
    "soft spiking": (lambda: chain(SpikingConv2d(2, 4, neuron=SoftSpiking())), False, False),
    "shortcut": (lambda: chain(FactorizedConv3d(2, 4, neuron=PLIF, causal=True)), False, False),
    "non-causal": (lambda: chain(FactorizedConv3d(2, 4, neuron=PLIF, residual=False)), False, False),
    "unknown": (lambda: nn.Sequential(nn.Linear(4, 4), nn.Softplus(), nn.Linear(4, 2)), False, False),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_check_foretells_what_the_exporters_do(name):
    torch.manual_seed(0)
    make, lava, nir = NETWORKS[name]
    model = make()
    check = check_export(model)
    assert (check.exportable("lava"), check.exportable("nir")) == (lava, nir)
    for exportable, export in ((lava, lambda: quantise(to_graph(model))), (nir, lambda: to_nir(model))):
        if exportable:
            export()
        else:
            with pytest.raises(SnnferError):
                export()
    assert (check.loihi1 is not None) == lava


def test_what_follows_an_unknown_layer_is_judged_too():
    check = check_export(nn.Sequential(nn.Linear(4, 4), nn.Softplus(), nn.Linear(4, 2), nn.Tanh()))
    assert [layer.name for layer in check.layers] == ["0", "1", "2", "3"]
    assert [layer.nir.answer for layer in check.layers] == ["yes", "no", "yes", "no"]
    assert check.complete


def test_behind_a_layer_that_does_not_run_nothing_is_judged():
    check = check_export(nn.Sequential(nn.Linear(4, 4), nn.Conv1d(2, 2, 3), nn.ReLU()))
    assert [layer.name for layer in check.layers] == ["0", "1"]
    assert not check.complete
    assert "layers behind 1 were not reached" in check.table()


def test_the_published_network_does_not_fit_and_a_smaller_one_does():
    check = check_export(create_model("au_snn"))
    assert check.loihi1 is not None
    assert check.loihi2 is not None
    cores = {layer.name: layer.cores for layer in check.loihi1.layers}
    assert list(cores.values()) == [128, 32, 32, 8, None, 1]  # conv1, pool, conv2, pool, fc1, fc2: found by experiment
    assert check.loihi2.cores == 71
    table = check.table()
    assert "layers.fc1.linear does not fit: a neuron has 8,192 input axons, a core has 4,096" in table
    assert "fix: at most 16 channels before the flattening" in table
    small = check_export(create_model("au_snn", channels=16))
    assert small.loihi1 is not None
    assert small.loihi1.fits


def test_a_causal_block_goes_into_a_graph_but_not_into_a_file():
    check = check_export(NETWORKS["causal"][0]())
    answers = {layer.name: layer.lava.answer for layer in check.layers}
    assert answers["layers.0.temporal"] == "graph only"
    assert answers["layers.0.spatial"] == "after folding"
    table = check.table()
    assert "lava: exportable as a lava graph, not as a netx file (snnfer.converters.lava.direct.run_block3d" in table
    assert "3 steps at once are synapses with delays, which a netx file cannot hold" in table


def test_networks_over_time_say_part_by_part_what_is_against_them():
    check = check_export(create_model("cs3d", size=(16, 16), channels=(4, 8), hidden=8))
    reasons = {layer.name: layer.lava.reason for layer in check.layers}
    assert check.complete
    assert reasons["stages.0.0"] == reasons["stages.1.0"] == "a convolution over time that sees later steps"
    assert reasons["stages.0.1"].startswith("TemporalSpatialAttention")
    assert reasons["stages.0.2"] == "maximum of values that are not spikes"  # pools space alone
    assert reasons["stages.1.2"].startswith("MaxPool3d: it pools over time")
    assert reasons["time_bins"].startswith("joins the steps of a clip")
    assert [layer.shape for layer in check.layers if layer.kind == "dense"] == [(8,), (8,), (7,)]
    assert "causal=True, residual=False and spiking neurons such as PLIF" in check.table()
    network = check_export(create_model("au_cnn3d", size=(16, 16), channels=(4, 8, 8, 8), hidden=16))
    assert network.layers[-1].shape == (21,)
    assert [layer.kind for layer in network.layers[:3]] == ["Conv3d", "activation", "max pool"]


def test_plain_values_for_json():
    values = json.loads(json.dumps(check_export(NETWORKS["au_snn"][0]()).to_dict()))
    assert values["exportable"] == {"lava": True, "nir": True}
    assert values["layers"][1]["lava"]["answer"] == "after folding"
    assert values["loihi1"]["layers"][0]["cores"] >= 1
