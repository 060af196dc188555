import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from snnfer.converters.lava.direct import run_sigma_delta_lava
from snnfer.converters.lava.sigma_delta_compare import compare_sigma_delta
from snnfer.converters.lava.sigma_delta_file import read_sigma_delta, write_sigma_delta
from snnfer.converters.loihi.sigma_delta import SigmaDeltaGraph, SigmaDeltaLayer, sigma_delta
from snnfer.converters.loihi.sigma_delta_report import SigmaDeltaEncoder, report_sigma_delta
from snnfer.converters.loihi.sigma_delta_twin import run_sigma_delta
from snnfer.errors import ConfigError, ConversionError, ExportError, ShapeError, SnnferError
from snnfer.models import UNetEncoder, create_model


def make_encoder(size: int = 16, width: int = 4, seed: int = 0) -> UNetEncoder:
    """An encoder with activations of usual size and batch statistics of its own."""
    torch.manual_seed(seed)
    encoder = UNetEncoder(size=(size, size), width=width)
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, 0.2)
            nn.init.normal_(module.get_parameter("bias"), 0, 0.1)
    with torch.no_grad():
        for _ in range(5):
            encoder(torch.rand(32, 3, size, size) * 2 - 1)
    return encoder.eval()


def make_clip(size: int = 16, n_steps: int = 4, n_samples: int = 3, seed: int = 1) -> torch.Tensor:
    """Video in which 5 % of the pixels change in a step."""
    generator = torch.Generator().manual_seed(seed)
    frames = [torch.rand(n_samples, 3, size, size, generator=generator) * 2 - 1]
    for _ in range(n_steps - 1):
        changed = torch.rand(frames[0].shape, generator=generator) < 0.05
        frames.append(torch.where(changed, torch.rand(frames[0].shape, generator=generator) * 2 - 1, frames[-1]))
    return torch.stack(frames)


def convolve_by_loops(x: np.ndarray, layer: SigmaDeltaLayer) -> np.ndarray:
    """Correlation of maps ``[C, H, W]``, pixel by pixel, or the product with a matrix, in Python's whole numbers."""
    weight = layer.synapses.astype(object)
    if layer.kind == "dense":
        return weight @ x.reshape(-1).astype(object)
    (sy, sx), (py, px), (dy, dx) = layer.stride, layer.padding, layer.dilation
    padded = np.pad(x, ((0, 0), (py, py), (px, px))).astype(object)
    out = np.zeros(layer.shape, object)
    per_group, inputs = len(weight) // layer.groups, weight.shape[1]
    for o, i, j in np.ndindex(*layer.shape):
        first = (o // per_group) * inputs
        rows = slice(i * sy, i * sy + dy * (weight.shape[2] - 1) + 1, dy)
        columns = slice(j * sx, j * sx + dx * (weight.shape[3] - 1) + 1, dx)
        out[o, i, j] = (padded[first : first + inputs, rows, columns] * weight[o]).sum()
    return (out + 2**23) % 2**24 - 2**23


def messages_by_loops(graph: SigmaDeltaGraph, clip: np.ndarray, *, latency: bool) -> list[np.ndarray]:
    """Messages ``[S, *shape]`` of one clip ``[T, C, H, W]``, from the equations, layer by layer."""
    steps = len(clip) + (len(graph.layers) if latency else 0)
    frames = np.rint(clip.astype(np.float64) * graph.input_scale).astype(np.int64)
    frames = np.concatenate([frames, np.repeat(frames[-1:], steps - len(clip), axis=0)])
    before, residue, sent = np.zeros_like(frames[0]), np.zeros_like(frames[0]), []
    for frame in frames:
        change = frame - before + residue
        message = np.where(abs(change) >= graph.input_threshold, change, 0)
        residue, before = change - message, frame
        sent.append(message)
    all_messages = [np.stack(sent)]
    for layer in graph.layers:
        sigma = np.zeros(layer.shape, object)
        act, rest, sent = sigma.copy(), sigma.copy(), []
        bias = layer.bias.astype(object).reshape(-1, *[1] * (len(layer.shape) - 1)) * 2**layer.state_exp
        for t in range(steps):
            source = t - 1 if latency else t
            if source >= 0:
                sigma = sigma + convolve_by_loops(all_messages[-1][source], layer)
            value = np.maximum(sigma + bias, 0)
            change = value - act + rest
            out = np.where(abs(change) >= layer.threshold * 2**layer.state_exp, change, 0)
            rest, act = change - out, value
            sent.append(out // 2**layer.state_exp)  # floor, as an arithmetic shift
        all_messages.append(np.stack(sent).astype(np.int64))
    return all_messages


@pytest.mark.parametrize("threshold", [0.0, 0.02])
@pytest.mark.parametrize("mode", ["zero_latency", "free_running"])
def test_the_twin_sends_what_the_equations_say(mode, threshold):
    clip = make_clip(n_steps=3, n_samples=2)
    graph = sigma_delta(make_encoder(), calibration=clip, threshold=threshold)
    result = run_sigma_delta(graph, clip, mode=mode, record=True)
    for sample in range(2):
        wanted = messages_by_loops(graph, clip[:, sample].numpy(), latency=mode == "free_running")
        for ours, theirs in zip(result.messages, wanted, strict=True):
            np.testing.assert_array_equal(ours[:, sample].numpy(), theirs)


def test_grouped_convolutions_linear_ends_and_flattened_maps():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.LeakyReLU(0.25),
        nn.Conv2d(8, 8, 3, stride=2, padding=2, dilation=2, groups=4), nn.LeakyReLU(0.25),
        nn.AvgPool2d(2), nn.Flatten(), nn.Linear(32, 6), nn.ReLU(), nn.Linear(6, 3),
    ).eval()  # fmt: skip
    from snnfer.converters.from_model import to_graph

    clip = torch.randn(3, 2, 4, 8, 8)
    graph = sigma_delta(to_graph(network, input_shape=(4, 8, 8)), calibration=clip)
    result = run_sigma_delta(graph, clip, record=True)
    wanted = messages_by_loops(graph, clip[:, 1].numpy(), latency=False)
    for ours, theirs in zip(result.messages, wanted, strict=True):
        np.testing.assert_array_equal(ours[:, 1].numpy(), theirs)
    with torch.no_grad():
        expected = network(clip.flatten(0, 1)).view(3, 2, 3)
    assert torch.linalg.norm(result.output - expected) < 0.03 * torch.linalg.norm(expected)
    assert (result.output < 0).any(), "the last layer has no activation, so that its output can be negative"


def test_free_running_is_zero_latency_delayed_where_biases_are_zero():
    encoder = make_encoder()
    clip = make_clip()
    graph = sigma_delta(encoder, calibration=clip)
    layers = tuple(SigmaDeltaLayer(**{**vars(layer), "bias": 0 * layer.bias}) for layer in graph.layers)
    graph = SigmaDeltaGraph(layers, graph.input_shape, graph.input_scale)
    now = run_sigma_delta(graph, clip, record=True)
    later = run_sigma_delta(graph, clip, mode="free_running", record=True)
    for number, (a, b) in enumerate(zip(now.messages, later.messages, strict=True)):
        assert torch.equal(a, b[number : number + len(a)])
    assert torch.equal(now.output, later.output)


def test_the_encoder_of_evtransfer_is_kept_to_a_few_percent():
    encoder, clip = make_encoder(), make_clip(seed=2)
    graph = sigma_delta(encoder, calibration=make_clip(seed=1))
    report = report_sigma_delta(encoder, graph, clip, batch_size=2)
    result = run_sigma_delta(graph, clip, record=True)
    with torch.no_grad():
        code, skips = encoder.encode(clip.flatten(0, 1))
    for i, (layer, wanted) in enumerate(zip(graph.layers, [*skips, code], strict=True)):
        total = result.messages[i + 1].long().cumsum(0).flatten(0, 1)
        decoded = (total[:, 0::2] - total[:, 1::2] if layer.paired_output else total) / layer.payload_scale
        error = float(torch.linalg.norm(decoded - wanted) / torch.linalg.norm(wanted))
        assert report.layers[i].relative_l2 == pytest.approx(error, rel=1e-4)
        assert error < 0.04
    assert [activity.overflows for activity in result.activity] == [0] * 5
    assert all(0 < activity.peak_accumulator < 2**23 for activity in result.activity[1:])
    assert "bottleneck" in report.table()
    assert report.to_dict()["n_samples"] == 3


def test_registers_hold():
    for bits in (8, 6, 4):
        graph = sigma_delta(make_encoder(), calibration=make_clip(), weight_bits=bits)
        for layer in graph.layers:
            step = 2 ** (9 - bits)
            assert not (layer.weight % step).any()
            assert -256 <= layer.weight.min() <= layer.weight.max() <= 254
            assert len(np.unique(layer.weight)) <= 2**bits
            assert abs(layer.bias).max() <= 4095
            assert layer.state_exp >= 0
        activity = run_sigma_delta(graph, make_clip()).activity
        assert max(item.peak_message for item in activity) < 2**15


def test_one_exponent_for_all_costs_accuracy():
    encoder, clip = make_encoder(), make_clip()
    own = report_sigma_delta(encoder, sigma_delta(encoder, calibration=clip), clip)
    shared = sigma_delta(encoder, calibration=clip, state_exp="netx")
    assert shared.fits_netx
    assert not sigma_delta(encoder, calibration=clip).fits_netx
    assert report_sigma_delta(encoder, shared, clip).layers[-1].relative_l2 > 2 * own.layers[-1].relative_l2


def test_exponents_stay_below_a_given_number():
    encoder, clip = make_encoder(), make_clip()
    free = sigma_delta(encoder, calibration=clip)
    assert max(layer.state_exp for layer in free.layers) > 7
    bounded = sigma_delta(encoder, calibration=clip, state_exp=7)
    assert max(layer.state_exp for layer in bounded.layers) == 7
    assert max(item.peak_message for item in run_sigma_delta(bounded, clip).activity) < 2**15
    errors = [report_sigma_delta(encoder, graph, clip).layers[-1].relative_l2 for graph in (free, bounded)]
    assert errors[0] < errors[1] < 0.5
    for wrong in (-1, 24):
        with pytest.raises(ConfigError, match=f"state_exp = {wrong}"):
            sigma_delta(encoder, calibration=clip, state_exp=wrong)


def test_counts_of_messages_and_synaptic_operations():
    dense = SigmaDeltaLayer("fc", "dense", np.array([[2, 0], [4, -2]], np.int32), np.zeros(2, np.int32), 0, 0, 1.0,
                            (2,), input_pairs=0, paired_output=False)  # fmt: skip
    x = torch.tensor([[[1.0, 0.0]], [[1.0, 3.0]], [[1.0, 3.0]]])
    result = run_sigma_delta(SigmaDeltaGraph((dense,), (2,), 1.0), x, record=True)
    assert [step[0].tolist() for step in result.output] == [[2.0, 4.0], [2.0, 0.0], [2.0, 0.0]]
    assert result.messages[1][:, 0].tolist() == [[2, 4], [0, -4], [0, 0]]  # ReLU(4 - 6) = 0
    encoder, layer = result.activity
    assert (encoder.messages, layer.messages, layer.neuron_steps) == (2, 3, 6)
    assert layer.synaptic_operations == 3, "input 0 has two synapses, input 1 has one"
    assert layer.peak_accumulator == 6


def test_a_convolution_wraps_to_24_bits_and_says_so():
    conv = SigmaDeltaLayer("conv", "conv", np.full((1, 2, 1, 1), 254, np.int32), np.zeros(1, np.int32), 0, 0, 1.0,
                           (1, 1, 1), input_pairs=0, paired_output=False)  # fmt: skip
    x = torch.full((1, 1, 2, 1, 1), 20_000.0)
    result = run_sigma_delta(SigmaDeltaGraph((conv,), (2, 1, 1), 1.0), x)
    assert result.activity[1].overflows == 1
    assert float(result.output) == max(2 * 254 * 20_000 - 2**24, 0)


def test_a_classifier_stands_on_the_integer_encoder():
    model = create_model("evtransfer", n_classes=3, size=(16, 16), width=4).eval()
    encoder = make_encoder()
    model.get_submodule("encoder").load_state_dict(encoder.state_dict())
    images = make_clip(n_steps=1, n_samples=40)
    with torch.no_grad():
        wanted = model(images)
        graph = sigma_delta(encoder, calibration=make_clip(seed=5))
        model.encoder = SigmaDeltaEncoder(graph, config=encoder.config)
        scores = model(images)
    assert torch.linalg.norm(scores - wanted) < 0.05 * torch.linalg.norm(wanted)
    assert (scores.argmax(1) == wanted.argmax(1)).float().mean() >= 0.9


@pytest.mark.parametrize("state_exp", ["per_layer", "netx"])
def test_files_come_back_as_they_were(tmp_path, state_exp):
    graph = sigma_delta(make_encoder(), calibration=make_clip(), state_exp=state_exp, threshold=0.01)
    write_sigma_delta(graph, tmp_path / "encoder.net")
    again = read_sigma_delta(tmp_path / "encoder.net")
    for a, b in zip(graph.layers, again.layers, strict=True):
        np.testing.assert_array_equal(a.weight, b.weight)
        np.testing.assert_array_equal(a.bias, b.bias)
        assert {**vars(a), "weight": 0, "bias": 0} == {**vars(b), "weight": 0, "bias": 0}
    assert torch.equal(run_sigma_delta(graph, make_clip()).output, run_sigma_delta(again, make_clip()).output)


def test_bad_files_end_in_one_sentence(tmp_path):
    graph = sigma_delta(make_encoder(), calibration=make_clip())
    write_sigma_delta(graph, tmp_path / "whole.net")
    whole = (tmp_path / "whole.net").read_bytes()
    (tmp_path / "half.net").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.net").write_text("no HDF5")
    for name in ("half.net", "text.net", "missing.net"):
        with pytest.raises(ExportError, match="truncated or another kind"):
            read_sigma_delta(tmp_path / name)
    import h5py

    with h5py.File(tmp_path / "foreign.net", "w") as file:
        file.create_group("layer/0")
    with pytest.raises(ExportError, match="no sigma-delta file"):
        read_sigma_delta(tmp_path / "foreign.net")


def refused(network: nn.Module, calibration: torch.Tensor, match: str, kind: type[SnnferError] = ConversionError):
    with pytest.raises(kind, match=match):
        sigma_delta(network, calibration=calibration)


def test_what_cannot_be_converted_is_refused():
    encoder, clip = make_encoder(), make_clip()
    refused(encoder, clip[0], "calibration data", ShapeError)
    refused(encoder, clip[:, :, :2], "calibration data", ShapeError)
    refused(encoder, clip[:0], "no data", ShapeError)
    refused(encoder, 0 * clip, "the input has a largest activation of 0")
    refused(encoder, torch.full_like(clip, float("nan")), "largest activation of nan")
    with pytest.raises(ConfigError, match="weight_bits = 9"):
        sigma_delta(encoder, calibration=clip, weight_bits=9)
    with pytest.raises(ConfigError, match="not finite"):
        run_sigma_delta(sigma_delta(encoder, calibration=clip), clip * float("nan"))
    for parameter in encoder.blocks[1].parameters():
        nn.init.zeros_(parameter)
    refused(encoder, clip, "largest weight of 'blocks.1.conv' is 0|largest activation of 0")
    model = create_model("au_snn", n_classes=3, size=(16, 16), channels=4, hidden=8, votes=2)
    refused(model, torch.rand(2, 2, 2, 16, 16), "the network spikes already")


@pytest.mark.usefixtures("lava")
def test_the_first_difference_between_lava_and_the_twin_is_found(tmp_path):
    clip = make_clip(n_steps=2, n_samples=2)
    graph = sigma_delta(make_encoder(width=2), calibration=clip)
    write_sigma_delta(graph, tmp_path / "encoder.net")
    bias = graph.layers[2].bias.copy()
    bias[5] += 100
    layers = list(graph.layers)
    layers[2] = dataclasses.replace(layers[2], bias=bias)
    other = dataclasses.replace(graph, layers=tuple(layers))
    result = compare_sigma_delta(tmp_path / "encoder.net", clip, graph=other)
    assert [bool(layer.n_mismatches) for layer in result.layers[:3]] == [False] * 3
    assert result.layers[3].n_mismatches > 0
    assert result.first is not None
    assert (result.first.layer, result.first.step, result.first.neuron[0]) == (graph.layers[2].name, 0, 5)
    assert f"first in layer '{graph.layers[2].name}' at step 0" in result.verdict()
    wanted = run_sigma_delta(graph, clip, mode="free_running").output
    assert torch.equal(result.lava_output, wanted), "what lava gives is that of the file"


@pytest.mark.usefixtures("lava")
def test_lava_runs_more_channels_than_8_bits_count(tmp_path):
    generator = np.random.default_rng(0)

    def make(name, shape, **settings):
        weight = generator.integers(-60, 60, shape) * 2
        return SigmaDeltaLayer(name, "conv", weight, generator.integers(-9, 9, shape[0]), 0, 3, 1.0,
                               (shape[0], 2, 2), input_pairs=0, paired_output=False, **settings)  # fmt: skip

    layers = (make("wide", (130, 2, 1, 1)), make("depthwise", (130, 1, 3, 3), padding=(1, 1), groups=130))
    graph = SigmaDeltaGraph(layers, (2, 2, 2), 10.0)
    write_sigma_delta(graph, tmp_path / "wide.net")
    result = compare_sigma_delta(tmp_path / "wide.net", torch.randn(2, 1, 2, 2, 2))
    assert [layer.n_mismatches for layer in result.layers] == [0, 0, 0]
    assert all(layer.n_spikes for layer in result.layers)


@pytest.mark.parametrize("state_exp", ["per_layer", pytest.param("netx", marks=pytest.mark.slow)])
@pytest.mark.usefixtures("lava")
def test_lava_sends_the_same_messages(tmp_path, state_exp):
    clip = make_clip(n_steps=3, n_samples=1)
    graph = sigma_delta(make_encoder(width=2), calibration=clip, state_exp=state_exp, threshold=0.01)
    write_sigma_delta(graph, tmp_path / "encoder.net")
    lava = run_sigma_delta_lava(tmp_path / "encoder.net", clip).messages
    twin = run_sigma_delta(graph, clip, mode="free_running", record=True).messages
    assert [int((a != b).sum()) for a, b in zip(lava, twin, strict=True)] == [0] * 5
    assert all(message.count_nonzero() for message in lava)
