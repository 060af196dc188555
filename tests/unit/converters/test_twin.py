"""The integer twin against plain python loops of the equations, and against brute-force convolutions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snnfer.converters.lava import compare, write_netx
from snnfer.converters.loihi.graph import IntegerGraph, IntegerLayer
from snnfer.converters.loihi.neurons import Extremes, Registers, fire
from snnfer.converters.loihi.synapses import accumulate, fan_out, n_synapses, worst_accumulator
from snnfer.converters.loihi.twin import run_twin
from snnfer.errors import ConfigError, ExportError, ShapeError, SnnferError

TOP = 2**23


def neuron(**changes) -> IntegerLayer:
    given = {"bias": 0, "threshold": 100, "current_decay": 4096, "voltage_decay": 2048, **changes}
    bias = np.array([given.pop("bias")], np.int32)
    return IntegerLayer("n", "dense", np.array([[2]], np.int32), bias, **given, scale=1.0, shape=(1,))


def loop(layer: IntegerLayer, arriving: list[int], u: int = 0, v: int = 0) -> dict[str, list[int]]:
    """The equations of the chip with python's own unbounded integers, one step and one neuron at a time."""
    seen = {"s": [], "u": [], "v": [], "wraps": [], "clips": [], "peak_u": [], "peak_v": []}
    for a in arriving:
        u = int(np.sign(u)) * (abs(u) * (4096 - layer.current_decay) // 4096) + 64 * a
        seen["peak_u"].append(abs(u))
        wrapped = u - 2 * TOP if u > TOP else u + 2 * TOP if u <= -TOP else u
        seen["wraps"].append(int(wrapped != u))
        u = wrapped
        v = int(np.sign(v)) * (abs(v) * (4096 - layer.voltage_decay) // 4096) + u + 64 * int(layer.bias[0])
        seen["peak_v"].append(abs(v))
        clipped = min(max(v, -TOP + 1), TOP - 1)
        seen["clips"].append(int(clipped != v))
        spike = clipped > 64 * layer.threshold
        v = 0 if spike else clipped
        for key, value in (("s", int(spike)), ("u", u), ("v", v)):
            seen[key].append(value)
    return seen


def test_by_hand():
    # threshold 100 * 64 = 6400; 60 * 64 = 3840; 3840 / 2 + 3840 = 5760; 5760 / 2 + 3840 = 6720: a spike, then from rest
    registers, extremes = Registers.at_rest(neuron(), 1, torch.device("cpu")), Extremes()
    spikes = fire(neuron(), torch.full((4, 1, 1), 60.0), registers, extremes)
    assert spikes.flatten().int().tolist() == [0, 0, 1, 0]
    assert registers.voltage.item() == 3840
    assert (extremes.peak_current, extremes.peak_voltage, extremes.wraps, extremes.clips) == (3840, 6720, 0, 0)


def test_at_the_threshold_there_is_no_spike():
    layer = neuron(threshold=60, voltage_decay=4096)
    sums = torch.tensor([60.0, 61.0, 60.0]).view(3, 1, 1)
    assert fire(layer, sums, Registers.at_rest(layer, 1, sums.device), Extremes()).flatten().tolist() == [
        False,
        True,
        False,
    ]


def test_rounding_is_toward_zero_on_both_sides():
    layer = neuron(voltage_decay=1, threshold=131071)
    for sign in (1, -1):
        registers = Registers.at_rest(layer, 1, torch.device("cpu"))
        fire(layer, torch.tensor([sign * 1.0, 0.0]).view(2, 1, 1), registers, Extremes())
        assert registers.voltage.item() == sign * 63  # 64 * 4095 / 4096 = 63.98


def test_registers_at_their_limits():
    layer = neuron(current_decay=0, voltage_decay=0, threshold=131071)
    for arriving in ([131071, 1], [131071, 2], [-131071, -1], [-131072], [131072], [3 * 131072 + 5], [-4 * 131072]):
        registers, extremes = Registers.at_rest(layer, 1, torch.device("cpu")), Extremes()
        fire(layer, torch.tensor(arriving, dtype=torch.float64).view(-1, 1, 1), registers, extremes)
        expected = loop(layer, arriving)
        assert registers.current.item() == expected["u"][-1], arriving
        assert registers.voltage.item() == expected["v"][-1], arriving
        assert (extremes.wraps, extremes.clips) == (sum(expected["wraps"]), sum(expected["clips"]))


regimes = st.sampled_from([50, 4_000, 131_000, 140_000, 900_000])
decays = st.sampled_from([0, 1, 7, 1024, 2048, 4095, 4096])


@settings(deadline=None, max_examples=150)
@given(data=st.data(), size=regimes, du=decays, dv=decays, bias=st.integers(-4095, 4095))
def test_equals_the_loop_in_every_regime(data, size, du, dv, bias):
    """Small inputs, saturated potentials, wrapped currents: spikes, u, v and all counters, whole and in two runs."""
    threshold = data.draw(st.sampled_from([0, 1, 64, 4_000, 131_071]))
    arriving = data.draw(st.lists(st.integers(-size, size), min_size=1, max_size=24))
    layer = neuron(current_decay=du, voltage_decay=dv, bias=bias, threshold=threshold)
    expected = loop(layer, arriving)
    for cut in (0, len(arriving) // 2):
        registers, extremes = Registers.at_rest(layer, 1, torch.device("cpu")), Extremes()
        sums = torch.tensor(arriving, dtype=torch.float64).view(-1, 1, 1)
        parts = [fire(layer, part.clone(), registers, extremes) for part in (sums[:cut], sums[cut:])]
        assert torch.cat(parts).flatten().int().tolist() == expected["s"]
        assert (registers.current.item(), registers.voltage.item()) == (expected["u"][-1], expected["v"][-1])
        assert (extremes.wraps, extremes.clips) == (sum(expected["wraps"]), sum(expected["clips"]))
        assert (extremes.peak_current, extremes.peak_voltage) == (max(expected["peak_u"]), max(expected["peak_v"]))


def brute_force(layer: IntegerLayer, x: np.ndarray) -> np.ndarray:
    """Correlation ``[T, O, H, W]`` of ``[T, I, H, W]``: a sum over every synapse, written out."""
    (stride_h, stride_w), (pad_h, pad_w), (dil_h, dil_w) = layer.stride, layer.padding, layer.dilation
    outputs, inputs = layer.weight.shape[:2]
    weight = layer.weight if layer.time_taps > 1 else layer.weight[:, :, None]
    sums = np.zeros((len(x), *layer.shape), dtype=np.int64)
    for t, o, h, w in np.ndindex(*sums.shape):
        first = (o // (outputs // layer.groups)) * inputs
        for i, k, p, q in np.ndindex(*weight.shape[1:]):
            time = t - (layer.time_taps - 1 - k)
            row, column = h * stride_h + p * dil_h - pad_h, w * stride_w + q * dil_w - pad_w
            if time >= 0 and 0 <= row < x.shape[2] and 0 <= column < x.shape[3]:
                sums[t, o, h, w] += weight[o, i, k, p, q] * x[time, first + i, row, column]
    return sums


SYNAPSES = {
    "3x3": {"o": 3, "i": 2, "kernel": (3, 3), "padding": (1, 1)},
    "asymmetric": {"o": 2, "i": 2, "kernel": (3, 2), "padding": (2, 0), "stride": (1, 2), "dilation": (1, 2)},
    "k4s2p1": {"o": 3, "i": 2, "kernel": (4, 4), "padding": (1, 1), "stride": (2, 2)},
    "grouped": {"o": 4, "i": 4, "kernel": (2, 2), "groups": 2},
    "depthwise": {"o": 4, "i": 4, "kernel": (3, 3), "groups": 4, "padding": (1, 1)},
    "pool": {"o": 4, "i": 4, "kernel": (2, 2), "groups": 4, "stride": (2, 2)},
    "two per channel": {"o": 8, "i": 4, "kernel": (2, 2), "groups": 4, "stride": (2, 2)},
    "taps": {"o": 2, "i": 2, "kernel": (3, 3), "padding": (1, 1), "taps": 3},
    "depthwise taps": {"o": 4, "i": 4, "kernel": (1, 1), "groups": 4, "taps": 3},
}


def convolution(name: str, *, size: tuple[int, int] = (7, 6), seed: int = 0, **neurons) -> IntegerLayer:
    given = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1, "taps": 1, **SYNAPSES[name]}
    taps = () if given["taps"] == 1 else (given["taps"],)
    shape = (given["o"], given["i"] // given["groups"], *taps, *given["kernel"])
    weight = np.random.default_rng(seed).integers(-127, 128, shape).astype(np.int32) * 2
    axes = zip(size, given["kernel"], *(given[key] for key in ("stride", "padding", "dilation")), strict=True)
    out = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes]
    settings_ = {key: given[key] for key in ("stride", "padding", "dilation", "groups")}
    registers = {"threshold": 150, "current_decay": 4096, "voltage_decay": 2048, **neurons}
    bias = np.random.default_rng(seed + 1).integers(-30, 30, given["o"]).astype(np.int32)
    return IntegerLayer(
        name,
        "conv",
        weight,
        bias,
        **registers,
        scale=1.0,
        shape=(given["o"], *out),
        time_taps=given["taps"],
        **settings_,
    )


@pytest.mark.parametrize("name", SYNAPSES)
@pytest.mark.parametrize("largest", [1, 255])
def test_synapses_equal_a_sum_over_every_synapse(name, largest):
    layer = convolution(name)
    x = np.random.default_rng(2).integers(0, largest + 1, (4, SYNAPSES[name]["i"], 7, 6))
    past = np.zeros((layer.time_taps - 1, *x.shape[1:]), dtype=x.dtype)
    frames = torch.from_numpy(np.concatenate([past, x]))[:, None]
    sums = accumulate(layer, frames, largest_input=largest)
    np.testing.assert_array_equal(sums[:, 0].numpy(), brute_force(layer, x))


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_fast_matrix_products_change_nothing(precision):
    layer, before = convolution("3x3"), torch.get_float32_matmul_precision()
    x = np.random.default_rng(2).integers(0, 256, (4, 2, 7, 6))
    torch.set_float32_matmul_precision(precision)
    try:
        sums = accumulate(layer, torch.from_numpy(x)[:, None], largest_input=255)
    finally:
        torch.set_float32_matmul_precision(before)
    np.testing.assert_array_equal(sums[:, 0].numpy(), brute_force(layer, x))


def test_sums_beyond_float32_are_exact():
    weight = np.full((1, 300_000), 254, np.int32)
    weight[0, 0] = 2
    layer = IntegerLayer("fc", "dense", weight, np.zeros(1, np.int32), 1, 4096, 0, 1.0, (1,))
    assert accumulate(layer, torch.ones(1, 1, 300_000)).item() == 254 * 299_999 + 2 > 2**24


def test_convolutions_wrap_to_24_bits_and_dense_layers_do_not():
    weight = np.full((1, 200, 1, 1), 254, np.int32)
    conv = IntegerLayer("c", "conv", weight, np.zeros(1, np.int32), 1, 4096, 0, 1.0, (1, 1, 1))
    dense = IntegerLayer("d", "dense", weight[:, :, 0, 0], np.zeros(1, np.int32), 1, 4096, 0, 1.0, (1,))
    x = torch.full((1, 1, 200, 1, 1), 255)
    total = 254 * 200 * 255
    assert accumulate(conv, x, largest_input=255).item() == total - 2**24
    assert accumulate(dense, x.flatten(2), largest_input=255).item() == total


@pytest.mark.parametrize("name", SYNAPSES)
def test_fan_out_counts_the_outputs_that_a_spike_reaches(name):
    layer = convolution(name)
    layer.weight[layer.weight < -150] = 0
    reach = fan_out(layer, (SYNAPSES[name]["i"], 7, 6))
    ones = IntegerLayer(**{**vars(layer), "weight": (layer.weight != 0).astype(np.int32)})
    for place in [(0, 0, 0), (1, 3, 3), (1, 6, 5)]:
        x = np.zeros((layer.time_taps, SYNAPSES[name]["i"], 7, 6), dtype=np.int64)
        x[(0, *place)] = 1
        assert reach[place] == brute_force(ones, x).sum()
    assert n_synapses(layer, (SYNAPSES[name]["i"], 7, 6)) == reach.sum()


def test_worst_accumulator():
    layer = IntegerLayer("d", "dense", np.array([[2, 4, -10], [2, -2, 2]]), np.zeros(2, int), 1, 4096, 0, 1.0, (2,))
    assert worst_accumulator(layer) == 10


def chain() -> IntegerGraph:
    first = convolution("3x3", threshold=400)
    pool = IntegerLayer(
        "pool", "conv", np.full((3, 1, 2, 2), 2, np.int32), np.zeros(3, np.int32), 1, 4096, 4096, 2.0, (3, 3, 3),
        stride=(2, 2), groups=3, exact=True,
    )  # fmt: skip
    weight = np.random.default_rng(5).integers(-60, 100, (4, 27)).astype(np.int32) * 2
    last = IntegerLayer("fc", "dense", weight, np.array([40, -9, 0, 90], np.int32), 500, 3000, 1500, 1.0, (4,))
    return IntegerGraph((first, pool, last), (2, 7, 6), votes=2)


def run_loops(graph: IntegerGraph, x: np.ndarray, *, lag: int) -> list[np.ndarray]:
    """Spikes ``[T, *shape]`` of each layer, neuron by neuron; each layer is `lag` steps behind the one before it."""
    outputs = []
    for layer in graph.layers:
        late = np.concatenate([np.zeros((lag, *x.shape[1:]), dtype=x.dtype), x])[: len(x)]
        if layer.kind == "dense":
            sums = late.reshape(len(x), -1) @ layer.weight.T.astype(np.int64)
        else:
            sums = brute_force(layer, late)
        spikes = np.zeros(sums.shape, dtype=np.int64)
        for place in np.ndindex(*layer.shape):
            one = IntegerLayer(**{**vars(layer), "bias": layer.bias[place[0], None], "weight": layer.weight[:1]})
            spikes[(slice(None), *place)] = loop(one, [int(a) for a in sums[(slice(None), *place)]])["s"]
        outputs.append(spikes)
        x = spikes
    return outputs


@pytest.mark.parametrize("mode", ["zero_latency", "free_running"])
@pytest.mark.parametrize("graded", [False, True])
def test_a_network_equals_the_loops(mode, graded):
    graph, rng = chain(), np.random.default_rng(3)
    x = rng.poisson(0.4, (8, 2, 2, 7, 6))
    result = run_twin(graph, torch.from_numpy(x), mode=mode, graded=graded)
    lag = int(mode == "free_running")
    padded = np.concatenate([x, np.zeros((3 * lag, *x.shape[1:]), dtype=x.dtype)])
    for sample in range(2):
        frames = padded[:, sample] if graded else (padded[:, sample] != 0).astype(np.int64)
        for trace, expected in zip(result.layers, run_loops(graph, frames, lag=lag), strict=True):
            assert 0 < expected.mean() < 1, trace.name  # else nothing is compared
            np.testing.assert_array_equal(trace.spikes[:, sample].numpy(), expected)
    assert result.n_steps == len(padded)
    assert result["fc"].n_spikes == int(result["fc"].spikes.sum())


def test_time_taps_and_chunks(monkeypatch):
    """Delays reach across the pieces in which long inputs are computed."""
    layers = (convolution("taps", threshold=200), convolution("k4s2p1", size=(7, 6), threshold=300))
    graph, x = IntegerGraph(layers, (2, 7, 6)), torch.from_numpy(np.random.default_rng(1).poisson(0.5, (9, 1, 2, 7, 6)))
    whole = {mode: run_twin(graph, x, mode=mode) for mode in ("zero_latency", "free_running")}
    frames = (x[:, 0] != 0).long().numpy()
    for trace, expected in zip(whole["zero_latency"].layers, run_loops(graph, frames, lag=0), strict=True):
        np.testing.assert_array_equal(trace.spikes[:, 0].numpy(), expected)
    monkeypatch.setattr("snnfer.converters.loihi.twin._CHUNK", 100)
    for mode, expected in whole.items():
        for trace, other in zip(run_twin(graph, x, mode=mode).layers, expected.layers, strict=True):
            assert torch.equal(trace.spikes, other.spikes)
            assert vars(trace) | {"spikes": None} == vars(other) | {"spikes": None}


def test_without_biases_free_running_is_the_same_later():
    layers = tuple(IntegerLayer(**{**vars(layer), "bias": 0 * layer.bias}) for layer in chain().layers)
    graph = IntegerGraph(layers, (2, 7, 6))
    x = torch.from_numpy(np.random.default_rng(1).poisson(0.4, (6, 3, 2, 7, 6)))
    now, late = run_twin(graph, x), run_twin(graph, x, mode="free_running")
    for lag, (first, second) in enumerate(zip(now.layers, late.layers, strict=True), start=1):
        assert torch.equal(second.spikes[lag : lag + 6], first.spikes)


def test_samples_do_not_know_each_other():
    graph = chain()
    x = torch.from_numpy(np.random.default_rng(4).poisson(0.4, (6, 3, 2, 7, 6)))
    together, alone = run_twin(graph, x), run_twin(graph, x[:, 1:2])
    for first, second in zip(together.layers, alone.layers, strict=True):
        assert torch.equal(first.spikes[:, 1:2], second.spikes)


def test_synaptic_operations_are_counted_where_spikes_arrive():
    graph = chain()
    x = torch.from_numpy(np.random.default_rng(4).poisson(0.4, (6, 3, 2, 7, 6)))
    result = run_twin(graph, x)
    received = [(x != 0), result["3x3"].spikes, result["pool"].spikes.flatten(2)]
    for trace, layer, spikes, shape in zip(result.layers, graph.layers, received, graph.input_shapes, strict=True):
        assert trace.synaptic_operations == int((spikes.double() * fan_out(layer, shape)).sum())
    assert result["pool"].synaptic_operations <= result["3x3"].n_spikes  # windows of 2 x 2 do not overlap


def test_scores_are_the_mean_votes_of_valid_steps():
    graph = chain()
    x = torch.from_numpy(np.random.default_rng(4).poisson(0.4, (6, 2, 2, 7, 6)))
    result = run_twin(graph, x, record="output")
    spikes = result["fc"].spikes.double()
    expected = torch.stack([spikes[:6, 0].view(6, 2, 2).mean((0, 2)), spikes[:4, 1].view(4, 2, 2).mean((0, 2))])
    torch.testing.assert_close(result.scores(torch.tensor([6, 4])), expected)
    torch.testing.assert_close(result.scores()[0], expected[0])
    assert result["pool"].spikes is None
    with pytest.raises(ConfigError, match="were not recorded"):
        run_twin(graph, x, record="none").scores()


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (torch.ones(4, 2, 7, 6), {}, "5 dimensions"),
        (torch.ones(4, 1, 7, 6, 2), {}, "input has shape"),
        (torch.ones(0, 1, 2, 7, 6), {}, "at least one step"),
        (torch.full((4, 1, 2, 7, 6), 0.5), {"graded": True}, "whole numbers"),
        (torch.full((4, 1, 2, 7, 6), float("nan")), {}, "holds NaN or infinity"),
        (np.ones((4, 1, 2, 7, 6)), {}, "input is a numpy.ndarray; expected a torch tensor"),
        (torch.ones(4, 1, 2, 7, 6, dtype=torch.complex64), {}, "expected real numbers"),
        (torch.full((4, 1, 2, 7, 6), 256), {"graded": True}, "0 to 255"),
        (torch.full((4, 1, 2, 7, 6), -1), {"graded": True}, "0 to 255"),
        (torch.ones(4, 1, 2, 7, 6), {"mode": "fast"}, "mode = 'fast'"),
        (torch.ones(4, 1, 2, 7, 6), {"record": "some"}, "record = 'some'"),
        (torch.ones(4, 1, 2, 7, 6), {"record": ["conv9"]}, "layer 'conv9'"),
    ],
)
def test_bad_input(x, options, message):
    with pytest.raises(SnnferError, match=message):
        run_twin(chain(), x, **options)


def test_unknown_layer():
    with pytest.raises(ConfigError, match="one of 3x3, pool, fc"):
        run_twin(chain(), torch.ones(1, 1, 2, 7, 6))["conv"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight": np.array([[255]])}, "odd"),
        ({"weight": np.array([[256]])}, "from 0 to 256"),
        ({"weight": np.array([[0]])}, "are zero"),
        ({"weight": np.array([[2.0]])}, "whole numbers"),
        ({"bias": np.array([4096])}, "bias of 4096"),
        ({"bias": np.array([1, 2])}, "one bias per output"),
        ({"threshold": 131072}, "threshold of 131072"),
        ({"current_decay": 4097}, "current decay of 4097"),
        ({"voltage_decay": -1}, "voltage decay of -1"),
        ({"time_taps": 64}, "delay of 63"),
    ],
)
def test_registers_are_checked(changes, message):
    with pytest.raises(ExportError, match=message):
        IntegerLayer(**{**vars(neuron()), **changes})


def test_layers_must_fit_each_other():
    first, pool, last = chain().layers
    with pytest.raises(ExportError, match="shapes that fit"):
        IntegerGraph((first, last), (2, 7, 6))
    with pytest.raises(ExportError, match="shapes that fit"):
        IntegerGraph((first, pool), (3, 7, 6))
    with pytest.raises(ExportError, match="unique names"):
        IntegerGraph((neuron(), neuron()), (1,))


def test_errors_of_layouts_are_shape_errors():
    with pytest.raises(ShapeError):
        run_twin(chain(), torch.ones(4, 1, 7, 6, 2))


def test_lava_wraps_and_clips_as_the_twin(lava, tmp_path):
    """Registers that overflow all the time, in lava itself: every spike is the same."""
    pytest.importorskip("h5py")
    rng = np.random.default_rng(0)
    first = (rng.integers(-40, 127, (20, 3000)) * 2).astype(np.int32)
    first[10:] *= -1
    biases = rng.integers(-4095, 4095, 20).astype(np.int32)
    second = (rng.integers(-127, 120, (30, 20)) * 2).astype(np.int32)
    layers = (
        IntegerLayer("wraps", "dense", first, biases, 100_000, 3500, 300, 1.0, (20,)),
        IntegerLayer("clips", "dense", second, np.tile([-4000, 900], 15), 20_000, 100, 0, 1.0, (30,)),
    )
    x = torch.rand(40, 2, 3000, generator=torch.Generator().manual_seed(0)) < 0.7
    path = tmp_path / "overflow.net"
    write_netx(IntegerGraph(layers, (3000,)), path)
    found = compare(path, x)
    assert found.twin["wraps"].wraps > 1000
    assert found.twin["clips"].clips > 300
    assert [layer.n_mismatches for layer in found.layers] == [0, 0]
    assert all(layer.n_spikes for layer in found.layers)
