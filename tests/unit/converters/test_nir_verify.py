"""The comparison with other libraries: it must find what differs, and where."""

import json
import sys

import numpy as np
import pytest
import torch
from torch import nn

from snnfer.converters.graph import Conv, Flatten, Graph, Spike
from snnfer.converters.nir.export import to_nir
from snnfer.converters.nir.spikes import spikes_of
from snnfer.converters.nir.verify import ROUNDING, verify_nir
from snnfer.errors import ConversionError, MissingExtraError, ShapeError, SnnferError
from snnfer.layers import SpikingSequential, TimeDistributed
from snnfer.models import create_model
from snnfer.models.spiking_classifier import SpikingClassifier
from snnfer.neurons import IF, PLIF


def need(library: str) -> None:
    """Skip where a library is not installed, such as spikingjelly on Python 3.10."""
    if library != "snnfer":
        pytest.importorskip(library)


@pytest.fixture(scope="module")
def network() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    model = create_model("au_snn", size=(8, 8), n_classes=3, channels=4, hidden=16).eval()
    return model, torch.poisson(torch.full((8, 3, 2, 8, 8), 0.7))


@pytest.mark.parametrize("library", ["snntorch", "norse", "snnfer"])
def test_a_wrong_weight_is_found_in_its_layer(network, library):
    need(library)
    model, x = network
    graph = to_nir(model)
    graph.nodes["layers.conv2.conv"].bias[1] += 5
    found = verify_nir(graph, x, library, model=model)
    counts = {layer.name: layer.n_mismatches for layer in found.layers}
    assert counts["layers.conv1.neuron"] == 0
    assert counts["layers.conv2.neuron"] > 0
    assert not found.agrees
    assert {origin.layer for origin in found.origins} == {"layers.conv2.neuron"}
    assert {origin.sample for origin in found.origins} == {0, 1, 2}
    assert max(origin.margin for origin in found.origins) > ROUNDING
    assert "not by rounding" in found.summary()
    assert json.loads(json.dumps(found.to_dict()))["n_mismatches"] == found.n_mismatches == sum(counts.values())
    assert found.table().splitlines()[2].split()[-1] == f"{counts['layers.conv2.neuron']:,}"


def test_many_samples_are_counted_in_parts(network):
    model, x = network
    graph = to_nir(model)
    graph.nodes["layers.conv2.conv"].bias[1] += 5
    one = verify_nir(graph, x[:, :1], "snnfer", model=model)
    many = verify_nir(graph, x[:, :1].expand(-1, 11, -1, -1, -1), "snnfer", model=model)
    assert [layer.n_mismatches for layer in many.layers] == [11 * layer.n_mismatches for layer in one.layers]
    assert [layer.n_updates for layer in many.layers] == [11 * layer.n_updates for layer in one.layers]
    assert sorted({origin.sample for origin in many.origins}) == list(range(11))
    assert many.layers[0].firing_rate == pytest.approx(one.layers[0].firing_rate)


def test_a_wrong_duration_of_a_step_is_found(network):
    need("norse")
    model, x = network
    graph = to_nir(model)
    graph.metadata["dt_s"] = 2e-4
    assert not verify_nir(graph, x, "norse", model=model).agrees


def wired(neuron: nn.Module, n: int) -> SpikingClassifier:
    """Neurons behind a convolution that passes on what it gets."""
    wires = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.ones_(wires.weight)
    chain = SpikingSequential(TimeDistributed(wires), neuron, nn.Flatten(2))
    return SpikingClassifier(chain, in_channels=1, size=(1, n))


@pytest.mark.parametrize("margin", [1e-6, 1e-4])
def test_rounding_is_told_from_errors(margin):
    model = wired(IF(), 2)
    graph = to_nir(model)
    graph.nodes["layers.1"].v_threshold[:] = 1 - 2 * margin
    x = torch.full((3, 1, 1, 1, 2), 0.25)
    x[2] = 0.5 - margin
    found = verify_nir(graph, x, "snnfer", model=model)
    assert found.n_mismatches == 2
    assert [tuple(origin[:3]) for origin in found.origins] == [("layers.1", 2, 0)] * 2
    np.testing.assert_allclose([origin.margin for origin in found.origins], margin, rtol=0.1)
    assert found.agrees == (margin < ROUNDING)


def test_margin_is_the_distance_of_the_potential():
    model = wired(PLIF(init_tau=4.0), 1)
    graph = to_nir(model)
    graph.nodes["layers.1"].v_threshold[:] = 0.9
    x = torch.tensor([0.5, 0.55]).reshape(2, 1, 1, 1, 1)
    found = verify_nir(graph, x, "snnfer", model=model)
    potential = 0.5 * 0.75 + 0.55  # of the second step: above 0.9, below 1
    assert [origin.step for origin in found.origins] == [1]
    np.testing.assert_allclose(found.origins[0].margin, 1 - potential, rtol=1e-5)


def test_layers_without_spikes_are_named(network):
    """Their zero differences are no proof."""
    model, x = network
    silent = verify_nir(to_nir(model), torch.zeros_like(x), "snnfer", model=model)
    rates = {name: float(spikes.float().mean()) for name, spikes in spikes_of(model, torch.zeros_like(x)).items()}
    assert set(silent.silent_layers) == {name for name, rate in rates.items() if not rate}
    assert silent.silent_layers
    assert silent.to_dict()["silent_layers"] == list(silent.silent_layers)
    assert "sent no spikes" in silent.summary().splitlines()[1]
    assert silent.table().count("silent") == len(silent.silent_layers)


def test_model_stays_as_it_was(network):
    model, x = network
    graph = to_nir(model)
    model.train()
    verify_nir(graph, x[:2], "snnfer", model=model)
    assert model.training
    model.eval()


def test_snntorch_knows_one_duration_of_a_step(network):
    model, x = network
    with pytest.raises(ConversionError, match="snnTorch assumes"):
        verify_nir(to_nir(model, dt_s=1e-3), x, "snntorch")


def test_what_a_library_refuses_is_one_sentence():
    need("spikingjelly")
    nodes = (Conv("conv", torch.ones(2, 1, 3, 3), torch.zeros(2)), Spike("s", 2.0))
    graph = to_nir(Graph(nodes, (1, 4, 4)))
    graph.nodes["s"].r[:] = 1.5  # spikingjelly takes 1 and tau
    with pytest.raises(ConversionError, match="spikingjelly cannot run") as caught:
        verify_nir(graph, torch.ones(2, 1, 1, 4, 4), "spikingjelly")
    assert "\n" not in str(caught.value)


def test_file_of_another_network_is_refused(network):
    _, x = network
    other = Graph((Conv("c", torch.ones(1, 2, 3, 3), torch.zeros(1)), Spike("elsewhere", 2.0)), (2, 8, 8))
    with pytest.raises(ConversionError, match="elsewhere"):
        verify_nir(to_nir(other), x, "snnfer", model=network[0])


def test_network_without_neurons_has_nothing_to_compare():
    graph = to_nir(Graph((Conv("c", torch.ones(1, 1, 3, 3), torch.zeros(1)),), (1, 4, 4)))
    with pytest.raises(ConversionError, match=r"\(none\)"):
        verify_nir(graph, torch.ones(2, 1, 1, 4, 4), "snnfer")


def test_names_and_shapes_are_checked(network):
    model, x = network
    with pytest.raises(SnnferError, match="nengo"):
        verify_nir(to_nir(model), x, "nengo")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="channels"):
        verify_nir(to_nir(model), x[:, :, :1], "snnfer")
    with pytest.raises(ShapeError, match="number of channels"):  # a file of larger maps than the model's
        verify_nir(to_nir(Graph((Flatten("f"),), (2, 9, 9))), x, "norse", model=model)
    with pytest.raises(ShapeError, match="at least one step"):
        verify_nir(to_nir(model), x[:, :0], "snnfer")


@pytest.mark.parametrize(("library", "module"), [("norse", "norse.torch"), ("snntorch", "snntorch.import_nir")])
def test_missing_library_is_named(network, library, module, monkeypatch):
    model, x = network
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=library):
        verify_nir(to_nir(model), x, library)
