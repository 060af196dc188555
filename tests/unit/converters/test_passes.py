"""Rewritings of graphs: what they compute stays the same, to rounding in double precision."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from snnfer.converters.from_model import to_graph
from snnfer.converters.graph import Activation, Affine, Conv, Dense, Flatten, Graph, Pool, Spike, Vote
from snnfer.converters.passes import (
    drop_idle,
    equalise,
    fold_affine,
    fold_average,
    for_chip,
    is_or,
    join_linear,
    plain_neurons,
    pools_as_or,
    split_leaky,
)
from snnfer.converters.run import run_graph
from snnfer.errors import ConversionError
from snnfer.layers import FactorizedConv3d, SpikingAvgPool2d, SpikingConv2d, SpikingLinear, SpikingSequential
from snnfer.models import UNetEncoder
from snnfer.models.spiking_classifier import SpikingClassifier
from snnfer.neurons import IF, LIF, PLIF


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(1)


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def conv(name: str, n_out: int, n_in: int, *kernel: int, bias: bool = True, **settings: object) -> Conv:
    weight = randn(n_out, n_in // int(settings.get("groups", 1)), *kernel)  # type: ignore[call-overload]
    return Conv(name, weight, randn(n_out) * bias, **settings)  # type: ignore[arg-type]


def norm(name: str, channels: int, *, shift: bool = True) -> Affine:
    return Affine(name, randn(channels), randn(channels) * shift)


def dense(name: str, n_out: int, n_in: int) -> Dense:
    return Dense(name, randn(n_out, n_in), randn(n_out))


def output(graph: Graph, x: torch.Tensor) -> torch.Tensor:
    return list(run_graph(graph, x).values())[-1]


def assert_same(before: Graph, after: Graph, n_steps: int = 3) -> None:
    x = randn(n_steps, 2, *before.input_shape)
    expected = output(before, x)
    assert expected.abs().sum() > 0
    torch.testing.assert_close(output(after, x), expected, atol=1e-9, rtol=1e-9)


def kinds(graph: Graph) -> list[str]:
    return [type(node).__name__ for node in graph.nodes]


def test_normalisation_goes_into_the_layer_before_it():
    graph = Graph(
        (
            conv("a", 4, 2, 3, 3, padding=(1, 1)),
            norm("b", 4),
            norm("c", 4),
            Activation("d"),
            conv("e", 6, 4, 3, 3, 3, groups=2, time_taps=3),
            norm("f", 6),
            Flatten("g"),
            dense("h", 3, 6 * 36),
            norm("i", 3),
        ),
        (2, 8, 8),
    )
    folded = fold_affine(graph)
    assert kinds(folded) == ["Conv", "Activation", "Conv", "Flatten", "Dense"]
    assert_same(graph, folded, n_steps=5)


def test_normalisation_goes_into_the_layer_behind_it_only_where_that_is_exact():
    inside = Graph((norm("a", 4), conv("b", 6, 4, 3, 3, groups=2)), (4, 8, 8))
    unshifted = Graph((norm("a", 4, shift=False), conv("b", 6, 4, 3, 3, padding=(1, 1))), (4, 8, 8))
    vector = Graph((norm("a", 5), dense("b", 2, 5)), (5,))
    for graph in (inside, unshifted, vector):
        assert len(fold_affine(graph).nodes) == 1
        assert_same(graph, fold_affine(graph))
    padded = Graph((norm("a", 4), conv("b", 6, 4, 3, 3, padding=(1, 1))), (4, 8, 8))
    late = Graph((norm("a", 4), conv("b", 6, 4, 2, 3, 3, time_taps=2)), (4, 8, 8))
    for graph in (padded, late):
        assert kinds(fold_affine(graph)) == ["Affine", "Conv"]


@pytest.mark.parametrize(("kernel", "stride", "size"), [((2, 2), (2, 2), (8, 8)), ((3, 2), (2, 1), (8, 7))])
def test_average_pooling_goes_into_a_dense_layer(kernel, stride, size):
    pool = Pool("pool", "average", kernel, stride)
    maps = [(n - k) // s + 1 for n, k, s in zip(size, kernel, stride, strict=True)]
    graph = Graph((pool, Flatten("flatten"), dense("fc", 5, 3 * maps[0] * maps[1])), (3, *size))
    folded = fold_average(graph)
    assert kinds(folded) == ["Flatten", "Dense"]
    assert_same(graph, folded)


@pytest.mark.parametrize(("size", "joins"), [(8, True), (9, False)])
def test_average_pooling_joins_a_convolution_behind_it_unless_it_leaves_rows_out(size, joins):
    graph = Graph((Pool("pool", "average", (2, 2), (2, 2)), conv("c", 4, 2, 3, 3, padding=(1, 1))), (2, size, size))
    folded = join_linear(fold_average(graph))
    assert kinds(folded) == (["Conv"] if joins else ["Conv", "Conv"])
    assert_same(graph, folded)


GRID = [
    case
    for case in itertools.product(
        [{"kernel": (3, 3), "padding": (1, 1)}, {"kernel": (2, 2), "stride": (2, 2)}, {"kernel": (1, 1)}],
        [{"kernel": (1, 1)}, {"kernel": (3, 2), "stride": (2, 1)}, {"kernel": (3, 3), "padding": (1, 1)}],
        [1, 4],
        [False, True],
        [1, 3],
    )
    if case[2] == 4 or case[4] == 1
]


@pytest.mark.parametrize(("first", "second", "groups", "bias", "taps"), GRID)
def test_two_convolutions_are_joined_exactly_or_not_at_all(first, second, groups, bias, taps):
    time = (taps,) if taps > 1 else ()
    first, second = dict(first), dict(second)
    one = conv("a", 4, 4, *time, *first.pop("kernel"), bias=bias, groups=groups, time_taps=taps, **first)
    two = conv("b", 4, 4, *second.pop("kernel"), groups=groups, dilation=(2, 1), **second)
    graph = Graph((one, two), (4, 12, 12))
    joined = join_linear(graph)
    pads = two.padding != (0, 0)
    exact = not pads or (not bias and one.weight.shape[-1] <= one.stride[0] and one.padding == (0, 0))
    assert kinds(joined) == ["Conv"] * (1 if exact else 2)
    assert joined.nodes[-1].name == "b"
    if exact and groups == 4:
        assert joined.nodes[0].groups == 4  # type: ignore[union-attr]
    assert_same(graph, joined, n_steps=5)


def test_taps_add_up_where_nothing_but_zeros_came_before():
    one, two = (conv(name, 3, 3, 3, 1, 1, bias=False, time_taps=3) for name in "ab")
    graph = Graph((one, two), (3, 4, 4))
    joined = join_linear(graph)
    assert [node.time_taps for node in joined.nodes] == [5]  # type: ignore[union-attr]
    assert_same(graph, joined, n_steps=8)
    biased = Graph((conv("a", 3, 3, 3, 1, 1, time_taps=3), two), (3, 4, 4))
    assert join_linear(biased) == biased  # the first clip steps would see a bias that never was


NEURONS = [
    Spike("s", 3.0),
    Spike("s", 3.0, decay_input=True, v_threshold=0.3),
    Spike("s", 2.5, v_threshold=0.5, v_reset=-0.25, decay_input=True),
    Spike("s", float("inf"), v_threshold=2.0, v_reset=0.5),
    Spike("s", 4.0, reset="soft", decay_input=True),
    Spike("s", 4.0, reset="soft", v_reset=0.2),
]


@pytest.mark.parametrize("neuron", NEURONS)
@pytest.mark.parametrize("synapses", [True, False])
def test_plain_neurons_fire_alike(neuron, synapses):
    layers = (conv("c", 4, 2, 3, 3), neuron) if synapses else (neuron,)
    graph = Graph(layers, (2, 6, 6))
    plain = plain_neurons(graph)
    x = 3 * randn(20, 2, 2, 6, 6)
    expected = output(graph, x)
    assert 0.02 < expected.mean() < 0.9
    assert torch.equal(output(plain, x), expected)
    spike = plain.nodes[-1]
    assert isinstance(spike, Spike)
    assert not spike.decay_input
    assert spike.v_reset == 0 or neuron.reset == "soft"


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [
        ((2, 2), (2, 2), (0, 0)),
        ((3, 3), (2, 2), (0, 0)),
        ((2, 3), (1, 2), (0, 0)),
        ((3, 3), (2, 2), (1, 1)),
        ((2, 5), (2, 3), (1, 2)),
    ],
)
def test_an_or_is_max_pooling_of_spikes(kernel, stride, padding):
    pool = Pool("p", "max", kernel, stride, padding)
    graph = Graph((conv("c", 4, 2, 3, 3), Spike("s", 2.0, v_threshold=3.0), pool), (2, 11, 11))
    rewritten = pools_as_or(graph)
    assert [node.name for node in rewritten.nodes] == ["c", "s", "p", "p.or"]
    assert is_or(*rewritten.nodes[2:])
    assert not is_or(*rewritten.nodes[:2])
    x = randn(20, 2, 2, 11, 11)
    outputs = run_graph(rewritten, x, record="all")
    expected = F.max_pool2d(outputs["s"].flatten(0, 1), kernel, stride, padding).unflatten(0, (20, 2))
    assert 0.05 < expected.mean() < 0.95
    assert torch.equal(outputs["p.or"], expected)


def test_max_pooling_of_values_stays():
    graph = Graph((conv("c", 4, 2, 3, 3), Activation("a"), Pool("p", "max", (2, 2), (2, 2))), (2, 8, 8))
    assert pools_as_or(graph) == graph


def test_pooling_twice_is_two_ors():
    pools = tuple(Pool(name, "max", (2, 2), (2, 2)) for name in "pq")
    graph = pools_as_or(Graph((conv("c", 4, 2, 1, 1), Spike("s", 2.0), *pools), (2, 8, 8)))
    assert [node.name for node in graph.nodes[2:]] == ["p", "p.or", "q", "q.or"]


def test_idle_nodes_go():
    nodes = (
        Pool("p", "max", (1, 1), (1, 1)),
        Activation("a", negative_slope=1.0),
        norm("n", 2),
        Affine("one", torch.ones(2), torch.zeros(2)),
        Flatten("f"),
        Flatten("again"),
    )
    assert [node.name for node in drop_idle(Graph(nodes, (2, 4, 4))).nodes] == ["n", "f"]


def test_equalised_ranges_are_geometric_means_and_the_function_stays():
    graph = Graph(
        (
            conv("a", 4, 2, 3, 3),
            Activation("b", 0.2),
            conv("c", 4, 4, 3, 3, groups=4, padding=(1, 1)),
            Activation("d"),
            Pool("e", "max", (2, 2), (2, 2)),
            conv("f", 6, 4, 1, 1, groups=2),
            Flatten("g"),
            dense("h", 5, 6 * 9),
        ),
        (2, 8, 8),
    )
    even = equalise(graph, n_rounds=200)
    assert_same(graph, even)
    a, _, c, _, _, f, _, h = even.nodes
    assert isinstance(a, Conv)
    assert isinstance(c, Conv)
    assert isinstance(f, Conv)
    assert isinstance(h, Dense)

    def largest(weight: torch.Tensor, *dims: int) -> torch.Tensor:
        return weight.abs().amax(dims)

    torch.testing.assert_close(largest(a.weight, 1, 2, 3), largest(c.weight, 1, 2, 3))  # depthwise: one filter each
    read_by_f = largest(f.weight.reshape(2, 3, 2, 1, 1), 1, 3, 4).flatten()  # 2 groups of 3 outputs and 2 inputs
    torch.testing.assert_close(largest(c.weight, 1, 2, 3), read_by_f)
    torch.testing.assert_close(largest(f.weight, 1, 2, 3), largest(h.weight.reshape(5, 6, 9), 0, 2))


def test_equalising_leaves_spiking_and_silent_channels_alone():
    spiking = Graph((conv("a", 4, 2, 3, 3), Spike("s", 2.0), conv("b", 4, 4, 3, 3)), (2, 8, 8))
    assert torch.equal(equalise(spiking).nodes[0].weight, spiking.nodes[0].weight)  # type: ignore[union-attr]
    silent = dense("a", 3, 2)
    silent.weight[1] = 0
    graph = Graph((silent, Activation("r"), dense("b", 2, 3)), (2,))
    assert all(torch.isfinite(node.weight).all() for node in equalise(graph).nodes if isinstance(node, Dense))
    assert_same(graph, equalise(graph))
    with pytest.raises(ConversionError, match=r"normalisation 'n' .*; fix: equalise\(fold_affine\(graph\)\)"):
        equalise(Graph((dense("a", 3, 2), norm("n", 3), dense("b", 2, 3)), (2,)))


def test_splitting_keeps_leaky_networks_and_leaves_no_leak():
    leaky = Activation("l1", 0.2), Activation("l2", 0.25), Activation("l3", 0.1)
    graph = Graph(
        (
            conv("a", 4, 2, 4, 4, stride=(2, 2), padding=(1, 1)),
            leaky[0],
            conv("b", 6, 4, 3, 3, groups=2),
            leaky[1],
            Pool("p", "average", (2, 2), (2, 2)),
            Flatten("f"),
            dense("c", 5, 6 * 9),
            leaky[2],
        ),
        (2, 16, 16),
    )
    split = split_leaky(graph)
    assert all(node.negative_slope == 0 for node in split.nodes if isinstance(node, Activation))
    assert split.nodes[-1].name == "l3.difference"
    assert_same(graph, split)


def test_the_encoder_of_evtransfer_can_be_split():
    encoder = UNetEncoder(size=(16, 16), width=2).double().eval()
    graph = fold_affine(to_graph(encoder))
    split = split_leaky(graph)
    assert {node.negative_slope for node in split.nodes if isinstance(node, Activation)} == {0.0}
    assert_same(graph, split)


def test_maps_at_the_end_are_joined_again():
    graph = Graph((conv("a", 4, 2, 3, 3), Activation("l", 0.2)), (2, 8, 8))
    assert_same(graph, split_leaky(graph))


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ((norm("n", 2), Activation("l", 0.2)), "'l' cannot be split .*fold normalisation first"),
        (
            (conv("c", 4, 2, 3, 3), Activation("l", 0.2), Pool("p", "max", (2, 2), (2, 2))),
            "'l' cannot be split .*'p' behind it is not linear",
        ),
    ],
)
def test_what_cannot_be_split_is_an_error(nodes, message):
    with pytest.raises(ConversionError, match=message):
        split_leaky(Graph(nodes, (2, 8, 8)))


def chip_networks() -> dict[str, nn.Module]:
    factorised = [FactorizedConv3d(a, b, neuron=PLIF, residual=False, causal=True) for a, b in ((2, 6), (6, 4))]
    return {
        "pooled": SpikingSequential(
            SpikingConv2d(2, 4), SpikingConv2d(4, 4, neuron=LIF(tau=3.0)), nn.Flatten(2), SpikingLinear(36, 6)
        ),
        "average": SpikingSequential(
            SpikingConv2d(2, 4, neuron=IF(v_reset=-0.5), pool=1), SpikingAvgPool2d(2, neuron=IF(v_threshold=0.4))
        ),
        "factorised": SpikingSequential(*factorised, nn.Flatten(2), SpikingLinear(576, 6, neuron=LIF(v_reset=-0.1))),
    }


@pytest.mark.parametrize("name", ["pooled", "average", "factorised"])
def test_for_chip_leaves_synapses_and_neurons_that_fire_as_before(name):
    model = SpikingClassifier(chip_networks()[name], in_channels=2, size=(12, 12)).double().eval()  # type: ignore[arg-type]
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.bias, 0.2, 1.0)
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.05, 0.3)
    graph = to_graph(model)
    chip = for_chip(graph)
    left = [kind for kind in kinds(chip) if kind != "Flatten"]
    assert left[1::2] == ["Spike"] * (len(left) // 2)
    assert set(left[::2]) <= {"Conv", "Dense"}
    x = torch.poisson(torch.rand(9, 2, 2, 12, 12, dtype=torch.float64))
    before, after = run_graph(graph, x, record="spikes"), run_graph(chip, x, record="spikes")
    assert set(before) <= set(after)
    for layer, expected in before.items():
        assert torch.equal(after[layer], expected)
        assert 0.005 < expected.mean() < 0.995, layer


def test_votes_and_flattenings_stay():
    graph = Graph((Flatten("f"), dense("d", 6, 8), Spike("s", 2.0), Vote("v", 3)), (2, 2, 2))
    assert [node.name for node in for_chip(graph).nodes] == ["f", "d", "s", "v"]
