"""Cores, axons and memory on Loihi chips: by pencil, and by drawing every synapse."""

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from snnfer.converters.from_model import to_graph
from snnfer.converters.graph import Affine, Conv, Dense, Flatten, Graph, Pool, Spike, Vote
from snnfer.converters.loihi._geometry import LayerGeometry, geometries
from snnfer.converters.loihi._tiles import Destinations, Tiler, destinations, list_bits
from snnfer.converters.loihi.energy import estimate_energy
from snnfer.converters.loihi.graph import IntegerGraph, IntegerLayer
from snnfer.converters.loihi.published import find_chip
from snnfer.converters.loihi.resources import estimate_resources
from snnfer.converters.loihi.twin import run_twin
from snnfer.errors import ConfigError
from snnfer.models import create_model

LOIHI = find_chip("loihi1")


def conv(name, out, inputs, *, kernel=3, stride=1, padding=1, **options):
    weight = torch.zeros(out, inputs, kernel, kernel)
    return Conv(name, weight, torch.zeros(out), (stride, stride), (padding, padding), **options)


def dense(name, out, inputs):
    return Dense(name, torch.zeros(out, inputs, device="meta"), torch.zeros(out))


def au_network(*, stride=1, channels=32, blocks=2, size=64):
    """The Action Unit network as a graph, written out."""
    nodes, inputs = [], 2
    for i in range(blocks):
        norm = Affine(f"norm{i}", torch.ones(channels), torch.zeros(channels))
        nodes += [conv(f"conv{i}", channels, inputs, stride=stride), norm, Spike(f"lif{i}", 2.0)]
        nodes += [Pool(f"pool{i}", "max", (2, 2), (2, 2))] if stride == 1 else []
        inputs, size = channels, size // 2
    nodes += [Flatten("flatten"), dense("fc1", 512, channels * size**2), Spike("lif8", 2.0)]
    return Graph((*nodes, dense("fc2", 210, 512), Spike("lif9", 2.0), Vote("vote", 10)), (2, 64, 64))


def cores(resources):
    return [layer.cores for layer in resources.layers]


@pytest.mark.parametrize(
    ("chip", "stride", "expected"),
    [
        ("loihi1", 1, [128, 32, 32, 8, None, 1]),  # 201
        ("loihi1", 2, [32, 12, None, 1]),  # 45
        ("loihi2", 1, [16, 32, 14, 8, None, 1]),  # 71
        ("loihi2", 2, [4, 12, None, 1]),  # 17
    ],
)
def test_cores_of_the_action_unit_network(chip, stride, expected):
    """Worked out beforehand by another program; by pencil: 32 * 64 * 64 / 1024 = 128, 32 * 32 * 64 / 4096 = 16 ..."""
    resources = estimate_resources(au_network(stride=stride), chip=chip)
    assert cores(resources) == expected
    assert resources.cores == sum(n or 0 for n in expected)
    assert not resources.fits
    assert (resources.layers[0].shared, resources["fc1"].shared) == (True, False)


def test_the_published_model_itself_gives_the_same():
    by_hand, of_model = (estimate_resources(graph) for graph in (au_network(), to_graph(create_model("au_snn"))))
    assert [replace(layer, name="") for layer in of_model.layers] == [
        replace(layer, name="") for layer in by_hand.layers
    ]


def test_what_to_change_fits_then():
    fc1 = estimate_resources(au_network())["fc1"]
    assert fc1.problem == "a neuron has 8,192 input axons, a core has 4,096"
    assert "at most 16 channels before the flattening (now 32)" in fc1.change
    assert "one more stride of 2 or pooling there (2,048 inputs)" in fc1.change
    fewer, deeper = (estimate_resources(au_network(**change)) for change in ({"channels": 16}, {"blocks": 3}))
    assert fewer.fits
    assert fewer["fc1"].input_axons == 4096
    assert deeper.fits
    assert deeper["fc1"].input_axons == 2048
    assert not estimate_resources(au_network(channels=17)).fits


def test_the_table_says_everything():
    resources = estimate_resources(au_network())
    lines = resources.table().splitlines()
    assert lines[0].split("  ")[0] == "layer"
    row = "fc1 512 none 1 8,192 1 64.0 KB no"  # 8192 lists of one word of 64 bits: 64 KB
    assert lines[5].split() == row.split()
    assert "Loihi 1: 201 cores without fc1, 2 chips of 128 cores (estimate)" in lines
    assert any(line.startswith("fc1 does not fit: a neuron has 8,192 input axons") for line in lines)
    assert "IEEE Micro" in lines[-1]
    stored = json.loads(json.dumps(resources.to_dict()))
    assert (stored["cores"], stored["chips"], stored["layers"][4]["cores"]) == (201, 2, None)


@pytest.mark.parametrize("n", [0, 1, 6, 7, 62, 63, 64, 65, 127, 128, 130, 300])
@pytest.mark.parametrize("bits", [(8, 0, 0), (9, 6, 10), (8, 0, 12)])
def test_list_size_synapse_by_synapse(n, bits):
    words, free, in_part = 0, 0, 0
    for _ in range(n):
        if in_part in (0, 64):
            words, free, in_part = words + 1, 64 - 10, 0
        while free < sum(bits):
            words, free = words + 1, free + 64
        free, in_part = free - sum(bits), in_part + 1
    assert list_bits(n, weight_bits=bits[0], delay_bits=bits[1], index_bits=bits[2]) == 64 * words


def synapses(layer):
    """Kernel position + 1 between each input and output neuron, 0 where there is none: ``[inputs, outputs]``."""
    n_inputs, group = int(np.prod(layer.input_shape)), layer.input_shape[0] // layer.groups
    kernel = torch.arange(1.0, layer.kernel[0] * layer.kernel[1] + 1).reshape(1, 1, *layer.kernel)
    one_hot = torch.eye(n_inputs).reshape(n_inputs, *layer.input_shape)
    weight = kernel.repeat(layer.shape[0], group, 1, 1)
    drawn = F.conv2d(one_hot, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)
    assert tuple(drawn.shape[1:]) == layer.shape
    return drawn.round().int().numpy()


def tile_slices(layer, extent):
    starts = [range(0, n, size) for n, size in zip(layer.shape, extent, strict=True)]
    for corner in product(*starts):
        yield tuple(slice(start, start + size) for start, size in zip(corner, extent, strict=True))


LAYERS = [
    LayerGeometry("plain", "conv", (3, 7, 6), (4, 7, 6), (3, 7, 6), (3, 3), padding=(1, 1)),
    LayerGeometry("strided", "conv", (2, 9, 8), (4, 5, 4), (2, 9, 8), (3, 3), (2, 2), (1, 1)),
    LayerGeometry("sparse", "conv", (2, 9, 8), (4, 5, 4), (2, 9, 8), (1, 1), (2, 2)),
    LayerGeometry("dilated", "conv", (2, 9, 8), (4, 5, 4), (2, 9, 8), (3, 3), padding=(0, 0), dilation=(2, 2)),
    LayerGeometry("grouped", "conv", (4, 6, 6), (8, 6, 6), (4, 6, 6), (3, 3), padding=(1, 1), groups=2),
    LayerGeometry("pool", "pool", (4, 8, 7), (4, 4, 3), (4, 8, 7), (2, 2), (2, 2), groups=4),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
@pytest.mark.parametrize("extent", [(1, 1, 1), (2, 2, 3), (4, 3, 2), (4, 4, 3)])
def test_a_tile_holds_what_its_synapses_say(layer, extent):
    """Every synapse is drawn; axons, lists and their sizes are counted one by one."""
    tile = Tiler(layer, LOIHI, Destinations(), share_weights=False, weight_bits=8).measure(extent)
    drawn, axons, memory, n_tiles = synapses(layer), [], [], 0
    for part in tile_slices(layer, extent):
        lists = [int(np.count_nonzero(outputs[part])) for outputs in drawn]
        lists = [n for n in lists if n]
        axons.append(len(lists))
        memory.append(sum(list_bits(n, index_bits=10) for n in lists))
        n_tiles += 1
    assert (tile.cores, tile.input_axons, tile.memory_bits) == (n_tiles, max(axons), max(memory))
    assert tile.neurons == int(np.prod(extent))


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_shared_lists_are_the_different_ones_far_from_the_borders(layer):
    kernel, stride = np.array(layer.kernel), np.array(layer.stride)
    grown = replace(layer, input_shape=(layer.input_shape[0], 12, 12), padding=(0, 0))
    size = (12 - np.array(layer.dilation) * (kernel - 1) - 1) // stride + 1
    grown = replace(grown, shape=(layer.shape[0], *map(int, size)))
    drawn = synapses(grown).reshape(layer.input_shape[0], 12, 12, layer.shape[0], -1)
    different = set()
    for channel, row, column in product(range(layer.input_shape[0]), range(5, 7), range(5, 7)):
        taps = tuple(tuple(sorted(outputs[outputs > 0])) for outputs in drawn[channel, row, column])
        different.add((channel, taps))
    expected = sum(list_bits(sum(map(len, taps)), index_bits=10) for _, taps in different)
    shared = Tiler(layer, LOIHI, Destinations(), share_weights=True, weight_bits=8)
    assert shared.measure((layer.shape[0], 2, 2)).memory_bits == expected


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
@pytest.mark.parametrize("extent", [(1, 2, 2), (4, 3, 2)])
def test_output_axons_are_pairs_of_a_neuron_and_a_core(layer, extent):
    """The layer before it is cut into tiles of 2 channels and 3 x 2 neurons; every edge between cores is counted."""
    before = LayerGeometry("before", "conv", layer.input_shape, layer.input_shape, layer.input_shape)
    tile = Tiler(layer, LOIHI, Destinations(), share_weights=True, weight_bits=8).measure(extent)
    reached = np.zeros(layer.input_shape, dtype=int)
    for part in tile_slices(layer, extent):
        cores_reached = [np.count_nonzero(outputs[part]) > 0 for outputs in synapses(layer)]
        reached += np.array(cores_reached).reshape(layer.input_shape)
    expected = max(int(reached[part].sum()) for part in tile_slices(before, (2, 3, 2)))
    tiler = Tiler(before, LOIHI, destinations(layer, tile), share_weights=True, weight_bits=8)
    assert tiler.measure((2, 3, 2)).output_axons == expected


def test_no_other_cut_needs_fewer_cores():
    chip = replace(LOIHI, neurons=30, input_axons=60, memory_bits=4000, output_axons=50)
    to = Destinations(2, (1, 1, 2, 1, 2, 1, 1), (1, 2, 1, 1, 1, 1))
    for share in (False, True):
        tiler = Tiler(LAYERS[0], chip, to, share_weights=share, weight_bits=8)
        cuts = [tiler.measure(extent) for extent in product((1, 2, 4), range(1, 8), range(1, 7))]
        fitting = [
            cut
            for cut in cuts
            if cut.neurons <= 30 and cut.input_axons <= 60 and cut.memory_bits <= 4000 and cut.output_axons <= 50
        ]
        assert tiler.best().cores == min(cut.cores for cut in fitting) > min(cut.cores for cut in cuts)


def test_own_lists_need_more_cores_than_shared_ones():
    shared, own = (estimate_resources(au_network(), share_weights=share) for share in (True, False))
    assert not any(layer.shared for layer in own.layers)
    assert (shared["conv1"].cores, own["conv1"].cores) == (32, 192)


def test_a_dense_layer_by_pencil():
    """512 inputs; 210 neurons: 3 lists of 64 (522 bits, 9 words) and one of 18 (154 bits, 3 words) each, 120 KB."""
    [layer] = estimate_resources(Graph((dense("fc", 210, 512),), (512,))).layers
    assert (layer.cores, layer.input_axons, layer.memory_bits) == (1, 512, 512 * 30 * 64)
    [layer] = estimate_resources(Graph((dense("fc", 512, 2048),), (2048,))).layers
    assert (layer.cores, layer.tile) == (9, (57,))  # 8 words of 64 bits per list: 62 neurons at most, 9 cores of 57


def test_a_delay_costs_bits():
    taps = Conv("conv", torch.zeros(8, 1, 3, 3, 3), torch.zeros(8), (1, 1), (1, 1), time_taps=3)
    [layer] = estimate_resources(Graph((taps,), (1, 4, 4))).layers
    assert layer.memory_bits == list_bits(8 * 9 * 3, delay_bits=6, index_bits=10)


@pytest.mark.parametrize(
    ("graph", "problem", "change"),
    [
        (Graph((conv("c", 2, 512),), (512, 8, 8)), "4,608 input axons", "fewer input channels"),
        (Graph((dense("fc", 10, 5000),), (5000,)), "5,000 input axons", "at most 4,096 neurons in the layer before it"),
        (Graph((Flatten("f"), dense("fc", 10, 2**16)), (1, 256, 256)), "65,536", "2 more strides of 2 or poolings"),
        (Graph((Flatten("f"), dense("fc", 10, 5000)), (5000, 1, 1)), "5,000", "at most 4096 channels before"),
    ],
)
def test_what_does_not_fit_says_what_to_change(graph, problem, change):
    [layer] = estimate_resources(graph).layers
    assert not layer.fits
    assert problem in layer.problem
    assert change in layer.change


def test_too_many_cores_behind_a_neuron():
    """5 neurons for each of 4096 inputs fill a core; 30,000 of them are 4286 cores, more than an axon per core."""
    graph = Graph((dense("in", 4000, 4), dense("out", 140_000, 4000)), (4,))
    layer = estimate_resources(graph)["in"]
    assert (layer.problem, layer.change) == (
        "a neuron has 4,667 output axons, a core has 4,096",
        "fewer neurons in the next layer",
    )


def test_an_unknown_chip_is_refused():
    with pytest.raises(ConfigError, match="unknown chip 'loihi3'; expected one of loihi1, loihi2"):
        estimate_resources(au_network(), chip="loihi3")


def test_an_unknown_layer_is_refused():
    with pytest.raises(ConfigError, match="layer 'fc3'; expected one of conv0, pool0"):
        estimate_resources(au_network())["fc3"]


def integer_network():
    rng = np.random.default_rng(0)
    kinds = [("c", (4, 2, 3, 3), (4, 8, 8), {"padding": (1, 1)}),
             ("p", (4, 1, 2, 2), (4, 4, 4), {"stride": (2, 2), "groups": 4, "exact": True}),
             ("fc", (6, 64), (6,), {})]  # fmt: skip
    layers = [
        IntegerLayer(name, "conv" if len(weight) == 4 else "dense", 2 * rng.integers(1, 30, weight),
                     np.zeros(shape[0], dtype=np.int64), 20, 4096, 2048, 1.0, shape, **options)
        for name, weight, shape, options in kinds
    ]  # fmt: skip
    return IntegerGraph(tuple(layers), (2, 8, 8))


def test_an_integer_network_needs_what_its_float_network_needs():
    nodes = (conv("c", 4, 2), Spike("s", 2.0), Pool("p", "max", (2, 2), (2, 2)), Flatten("f"), dense("fc", 6, 64))
    assert geometries(integer_network()) == geometries(Graph(nodes, (2, 8, 8)))
    assert estimate_resources(integer_network()) == estimate_resources(Graph(nodes, (2, 8, 8)))


def test_energy_is_counted_by_hand():
    """Synaptic operations from the recorded spikes, a convolution of ones for the first layers."""
    graph, x = integer_network(), (torch.rand(5, 3, 2, 8, 8, generator=torch.Generator().manual_seed(1)) < 0.2).float()
    result = run_twin(graph, x)
    operations = 4 * F.conv2d(x.flatten(0, 1), torch.ones(1, 2, 3, 3), padding=1).sum()
    first, second, last = (layer.spikes.double() for layer in result.layers)
    operations = float(operations + first.sum() + 6 * second.sum()) / 3
    spikes = float(first.sum() + second.sum() + last.sum()) / 3
    updates = (4 * 64 + 4 * 16 + 6) * 5
    energy = estimate_energy(result)
    assert (energy.synaptic_operations, energy.spikes, energy.neuron_updates) == (operations, spikes, updates)
    assert energy.lowest_pj == pytest.approx(23.6 * operations + 1.7 * spikes + 52 * updates)
    assert energy.highest_pj == pytest.approx(23.6 * operations + 1.7 * spikes + 81 * updates)
    assert spikes > 10


def test_energy_says_what_it_is():
    result = run_twin(integer_network(), torch.ones(2, 1, 2, 8, 8))
    text = estimate_energy(result).text()
    assert "estimates, not measurements" in text
    assert "table 2" in text
    other = estimate_energy(result, chip="loihi2")
    assert (other.lowest_pj, other.highest_pj) == (None, None)
    assert "not published" in other.text()
    assert "not published" in json.dumps(other.to_dict())
