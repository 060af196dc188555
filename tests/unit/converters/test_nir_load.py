"""Reading NIR: files of ours and of other libraries, and what is refused."""

import itertools

import h5py
import nir
import numpy as np
import pytest
import torch
from torch import nn

from snnfer.converters.nir.export import to_nir
from snnfer.converters.nir.load import from_nir
from snnfer.errors import ConversionError, ShapeError
from snnfer.models import create_model
from snnfer.neurons import IF


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    network = create_model("au_snn", size=(8, 8), n_classes=3, channels=4, hidden=16)
    with torch.no_grad():
        for block in (network.layers.conv1, network.layers.conv2):
            block.norm.momentum = 1.0
        network.train()(torch.poisson(torch.full((8, 4, 2, 8, 8), 0.7)))  # statistics of its own
        network.layers.fc1.linear.weight.mul_(5)
        network.layers.fc2.linear.weight.mul_(8)
    return network.eval()


def chain(*nodes: nir.NIRNode, shape: tuple[int, ...] = (1, 4, 4), **kwargs) -> nir.NIRGraph:
    """A graph of wires and nodes n0, n1, ... between input and output, and steps of 1 ms."""
    wires = nir.Conv2d((4, 4), np.eye(shape[0])[:, :, None, None], 1, 0, 1, 1, np.zeros(shape[0]))
    named = {"wires": wires, **{f"n{i}": node for i, node in enumerate(nodes)}}
    names = ["input", *named, "output"]
    ends = {"input": nir.Input({"input": np.array(shape)}), "output": nir.Output({"output": np.array(shape)})}
    edges = list(itertools.pairwise(names))
    return nir.NIRGraph({**ends, **named}, edges, metadata={"dt_s": 1e-3}, type_check=False, **kwargs)


def lif(shape: tuple[int, ...] = (1, 4, 4), **values: float) -> nir.LIF:
    defaults = {"tau": 2e-3, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0}
    return nir.LIF(**{key: np.full(shape, value) for key, value in {**defaults, **values}.items()})


def test_there_and_back_gives_the_same_votes(model, tmp_path):
    to_nir(model, tmp_path / "net.nir")
    again = from_nir(tmp_path / "net.nir")
    x = torch.poisson(torch.full((8, 2, 2, 8, 8), 0.7))
    assert model(x).any()
    assert torch.equal(again(x), model(x))
    assert (again.in_channels, again.size) == (2, (8, 8))
    assert not again.training
    _, state = again.forward_with_state(x[:3])
    assert torch.equal(again.forward_with_state(x[3:], state)[0], again.forward_steps(x)[3:])
    with pytest.raises(ShapeError, match="channels"):
        again(x[:, :, :1])


def test_it_can_be_trained_on_and_exported_again(model):
    again = from_nir(to_nir(model))
    x = torch.poisson(torch.full((8, 2, 2, 8, 8), 0.7))
    again.train()(x).sum().backward()
    assert all(parameter.grad is not None for parameter in again.parameters())
    once_more = from_nir(to_nir(again.eval()))
    assert torch.equal(once_more(x), again(x))


def test_networks_of_spikingjelly_are_read():
    pytest.importorskip("spikingjelly", reason="needs Python 3.11")
    from spikingjelly.activation_based import functional, layer, neuron, nir_exchange

    torch.manual_seed(3)
    network = nn.Sequential(
        layer.Conv2d(2, 4, 3, padding=1),
        neuron.IFNode(v_threshold=0.4),
        layer.AvgPool2d(2, 2),
        layer.Conv2d(4, 4, 3, stride=2),
        neuron.LIFNode(tau=3.0, decay_input=True, v_threshold=0.1),
        layer.Flatten(),
        layer.Linear(36, 6, bias=False),
        neuron.ParametricLIFNode(init_tau=1.8, decay_input=False, v_threshold=0.2),
    )
    graph = nir_exchange.export_to_nir(network, torch.rand(1, 2, 14, 14), dt=1e-4)
    x = torch.poisson(torch.full((12, 1, 2, 14, 14), 0.6))
    functional.reset_net(network)
    with torch.no_grad():
        expected = torch.stack([network(frame) for frame in x])
    assert 0.05 < expected.mean() < 0.95
    assert torch.equal(from_nir(graph, dt_s=1e-4).forward_steps(x), expected)
    with pytest.raises(ConversionError, match="how long a step lasts"):
        from_nir(graph)


def test_fires_above_the_threshold_as_nir_says():
    spikes = from_nir(chain(nir.IF(r=np.ones((1, 1, 1)), v_threshold=np.ones((1, 1, 1))), shape=(1, 1, 1)))
    at = torch.ones(1, 1, 1, 1, 1)
    assert spikes.layers.n0.v_threshold == float(np.float32(1 + 2**-23))
    assert spikes.layers(at).sum() == 0
    assert spikes.layers(at * (1 + 2**-23)).sum() == 1


def test_resistance_is_in_the_weights():
    weight = np.full((1, 1, 1, 1), 0.3)
    convolution = nir.Conv2d(
        input_shape=(4, 4), weight=weight, stride=1, padding="same", dilation=1, groups=1, bias=np.zeros(1)
    )
    x = torch.rand(20, 1, 1, 4, 4)
    spikes = from_nir(chain(convolution, lif(r=7.0))).layers(x)
    v = torch.zeros(1, 1, 4, 4)
    for step, frame in enumerate(x):
        v = v + 0.5 * (7 * 0.3 * frame - v)
        assert torch.equal(spikes[step], (v > 1).float())
        v = v * (v <= 1)
    assert spikes.any()


def test_integrator_and_pools_follow_their_equations():
    integrator = nir.LI(tau=np.full((1, 2, 2), 4e-3), r=np.ones((1, 2, 2)), v_leak=np.full((1, 2, 2), 0.5))
    two = np.array([2, 2])
    for kind, factor in ((nir.SumPool2d, 4), (nir.AvgPool2d, 1)):
        network = from_nir(chain(kind(kernel_size=two, stride=two, padding=np.array([0, 0])), integrator))
        steps = network.layers(torch.ones(30, 1, 1, 4, 4))[:, 0, 0, 0, 0]
        expected = 0.5 + factor * (1 - 0.75 ** torch.arange(1, 31))  # rest is 0.5; the input moves it by `factor`
        torch.testing.assert_close(steps, expected)


def test_graphs_without_weights_are_refused():
    graph = chain(lif())
    graph.edges = [("input", "n0"), ("n0", "output")]
    del graph.nodes["wires"]
    with pytest.raises(ConversionError, match="no weights"):
        from_nir(graph)


def test_groups_are_read():
    weight = np.random.default_rng(0).normal(size=(4, 1, 3, 3)).astype(np.float32)
    node = nir.Conv2d(input_shape=(4, 4), weight=weight, stride=1, padding=1, dilation=1, groups=2, bias=np.zeros(4))
    x = torch.rand(2, 1, 2, 4, 4)
    expected = nn.functional.conv2d(x[:, 0], torch.from_numpy(weight), padding=1, groups=2)[:, None]
    torch.testing.assert_close(from_nir(chain(node, shape=(2, 4, 4))).layers(x), expected)


ONE = np.ones((1, 4, 4))
REFUSED = {
    "'n0' is a CubaLIF": [nir.CubaLIF(tau_syn=ONE, tau_mem=ONE, r=ONE, v_leak=ONE, v_threshold=ONE)],
    "'n1' is a Threshold": [lif(), nir.Threshold(threshold=ONE)],
    "'n1' is a Delay": [lif(), nir.Delay(delay=ONE)],
    "'n0' is a Scale": [nir.Scale(scale=ONE)],
    "differ in tau": [nir.LIF(tau=ONE + np.arange(4), r=ONE, v_leak=ONE, v_threshold=ONE, v_reset=ONE)],
    "leaks to 0.5 and resets to 0": [lif(v_leak=0.5)],
    "time constant of 0.0005 s": [lif(tau=5e-4)],
    "resistance of 3": [lif(), lif(r=3.0)],
    "has 3 dimensions": [nir.Affine(weight=np.ones((1, 4, 4)), bias=np.ones((1, 4)))],
    "keeps 2 dimensions": [nir.Flatten(input_type={"input": np.array([1, 4, 4])}, start_dim=1, end_dim=-1)],
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_snnfer_has_not_is_refused_by_name(message):
    with pytest.raises(ConversionError, match=message):
        from_nir(chain(*REFUSED[message]))


def rewired(edges: list[tuple[str, str]]) -> nir.NIRGraph:
    graph = chain(lif(), lif())
    graph.edges = edges
    return graph


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([("input", "wires"), ("wires", "n0"), ("n0", "n1"), ("n1", "n0"), ("n1", "output")], "'n1' is recurrent"),
        ([("input", "n0"), ("input", "n1"), ("n0", "output"), ("n1", "output")], "'input' goes on to 2 nodes"),
        ([("input", "wires"), ("wires", "n0"), ("n0", "output")], "'n1' is not between input and output"),
        ([("input", "wires"), ("wires", "n0"), ("n1", "output")], "'n0' goes on to 0 nodes"),
    ],
)
def test_graphs_that_are_no_chain_are_refused(edges, message):
    with pytest.raises(ConversionError, match=message):
        from_nir(rewired(edges))


def test_a_step_must_last():
    with pytest.raises(ConversionError, match="lasts 0 s"):
        from_nir(chain(lif()), dt_s=0)


def test_vectors_as_input_are_refused():
    with pytest.raises(ConversionError, match=r"shape \[4\]"):
        from_nir(chain(lif((4,)), shape=(4,)))


def test_damaged_and_foreign_files_end_in_one_sentence(model, tmp_path):
    good = tmp_path / "net.nir"
    to_nir(model, good)
    truncated = tmp_path / "truncated.nir"
    truncated.write_bytes(good.read_bytes()[:2000])
    netx = tmp_path / "net.net"
    with h5py.File(netx, "w") as file:
        file.create_group("layer/0")["type"] = b"input"
    single = tmp_path / "single.nir"
    nir.write(single, lif())
    without = tmp_path / "without.nir"
    with h5py.File(good) as source, h5py.File(without, "w") as file:
        source.copy("version", file)
        source.copy("node", file)
        del file["node/nodes/layers.fc1.linear/weight"]
    text = tmp_path / "notes.nir"
    text.write_text("not HDF5")
    for path in (truncated, netx, text, without, single):
        with pytest.raises(ConversionError, match="cannot be read as NIR") as caught:
            from_nir(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(ConversionError, match="a LIF"):
        from_nir(lif())
    with pytest.raises(ConversionError, match="no file"):
        from_nir(tmp_path / "missing.nir")


def test_if_of_both_conventions_adds_its_input_whole():
    for r in (1.0, 1e3):  # of norse and snnTorch; of spikingjelly, with steps of 1 ms
        neuron = nir.IF(r=r * ONE, v_threshold=ONE)
        x = torch.rand(15, 1, 1, 4, 4)
        assert torch.equal(from_nir(chain(neuron)).layers(x), IF(v_threshold=float(np.float32(1 + 2**-23)))(x))
