"""From a spiking network with real weights to the integers of a Loihi-style chip."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from snnfer.converters.graph import Activation, Affine, Conv, Dense, Flatten, Graph, Node, Pool, Shape, Spike, Vote
from snnfer.converters.loihi.graph import (
    ACCUMULATOR_LIMIT,
    DECAY_ONE,
    STATE_EXPONENT,
    IntegerGraph,
    IntegerLayer,
    LayerQuantisation,
)
from snnfer.converters.loihi.rounding import RoundingSettings, round_layer
from snnfer.converters.loihi.synapses import worst_accumulator
from snnfer.converters.loihi.twin import prepare_input, run_layer
from snnfer.converters.passes import for_chip, is_or
from snnfer.errors import ExportError

HEADROOM = 1.25
"""Currents of data that was not seen may be this much larger than those of the calibration; in our networks, on people
whom they had not seen, at most 1.11 times."""


def quantise(
    graph: Graph,
    *,
    weight_bits: int = 8,
    weight_percentile: float = 100.0,
    calibration: torch.Tensor | None = None,
    graded: bool = False,
    allow_approximate: bool = False,
) -> IntegerGraph:
    r"""Integers for weights, biases, thresholds and decays; the network is first brought into shape by `for_chip`.

    Each layer has a scale s, integer units per unit of its potential, the largest that every register allows:

    .. math::
        m = \left\lfloor \theta\, \min\!\left(\frac{254}{\max |w|}, \frac{4095}{\max |b|},
            \frac{131071}{\theta}\right) \right\rfloor, \qquad
        s = \frac{m + 1/128}{\theta}, \qquad
        W = 2 \left[\frac{s\, w}{2}\right], \quad B = [s\, b], \quad d_v = \left[\frac{4096}{\tau}\right]

    A network fires where :math:`h \ge \theta`, the chip where :math:`v > 2^6 m`. The half step of v in s makes both the
    same for every value that v can have: the integers fire exactly as a network with the weights W / s, the biases
    B / s and the decay :math:`d_v / 4096` would, until leaks cut fractions of a step of v. What is left is the rounding
    of weights; it also decides where a potential of the original network would meet its threshold exactly.

    Args:
        graph: A spiking network, as `to_graph` gives it.
        weight_bits: Bits per weight, 2 to 8; weights are multiples of ``2 ** (9 - weight_bits)`` up to +-254.
        weight_percentile: Percentile of the magnitudes that becomes the largest integer; larger weights are cut. 100
            cuts none: at 8 bits less than that gained nothing in our trials.
        calibration: Clips of training subjects ``[T, N, C, H, W]``. The network runs on them; a layer whose currents
            come within a factor `HEADROOM` of 24 bits gets a smaller scale:
            :math:`m \to \lfloor m\, 2^{23} / (\text{HEADROOM} \cdot \max |u|) \rfloor`. Without them the reports have
            only the worst case.
        graded: Whether inputs are numbers up to 255; see `run_twin`.
        allow_approximate: Whether a soft reset may become a hard one, the only kind of such chips.

    Returns:
        The integer network; each layer has its `LayerQuantisation`.

    Raises:
        ExportError: a layer cannot be represented: soft reset, an activation without spikes, neurons without synapses
            or synapses without neurons, weights that are all zero, not finite, or too large for the threshold.
        ShapeError: the calibration data does not fit.

    References:
        Davies et al., "Loihi: a neuromorphic manycore processor with on-chip learning", IEEE Micro 38(1), 2018 (widths
        of the registers); the threshold between two integers is our own.

    Examples:
        >>> from snnfer.converters.graph import Dense
        >>> dense = Dense("fc", torch.tensor([[0.5, -1.0]]), torch.tensor([0.25]))
        >>> layer = quantise(Graph((dense, Spike("lif", tau=2.0)), (2,))).layers[0]
        >>> layer.threshold, layer.weight.tolist(), layer.bias.tolist(), layer.voltage_decay
        (254, [[128, -254]], [64], 2048)
    """
    settings = _Settings(RoundingSettings(weight_bits, weight_percentile), allow_approximate)
    stages, votes = chip_stages(for_chip(graph))
    layers = tuple(_layer(stage, settings) for stage in stages)
    integer = IntegerGraph(layers, graph.input_shape, votes, dict(graph.metadata))
    if calibration is None:
        return integer
    return _calibrated(integer, stages, settings, prepare_input(integer, calibration, graded=graded))


@dataclass(frozen=True)
class _Settings:
    rounding: RoundingSettings
    allow_approximate: bool


@dataclass(frozen=True)
class ChipStage:
    """Synapses, the neurons behind them, and the shape of the neurons."""

    synapses: Conv | Dense
    neurons: Spike
    shape: Shape


def chip_stages(graph: Graph) -> tuple[list[ChipStage], int]:
    """Pairs of synapses and neurons of a graph that `for_chip` has rewritten, and the votes per class.

    Raises:
        ExportError: something else is left in it.
    """
    stages: list[ChipStage] = []
    votes, waiting = 1, None
    for position, (node, shape) in enumerate(zip(graph.nodes, graph.shapes, strict=True)):
        if waiting is not None and not isinstance(node, Spike):
            _refuse(waiting, "synapses without neurons behind them", "put a spiking neuron behind the layer")
        if isinstance(node, Conv | Dense):
            waiting = node
        elif isinstance(node, Spike) and waiting is not None:
            stages.append(ChipStage(waiting, node, shape))
            waiting = None
        elif isinstance(node, Vote) and position == len(graph.nodes) - 1:
            votes = node.votes
        elif not isinstance(node, Flatten):
            _refuse(node, *_reason(node))
    if waiting is not None or not stages:
        name = waiting if waiting is not None else Node("the network")
        _refuse(name, "no spiking neurons at its end", "end the network with a spiking layer and a vote")
    return stages, votes


def _reason(node: Node) -> tuple[str, str]:
    if isinstance(node, Affine):
        return "a normalisation that cannot be folded into weights", "put it directly behind a layer with weights"
    if isinstance(node, Pool):
        return f"{node.kind} pooling of values that are not spikes", "put the pooling behind spiking neurons"
    if isinstance(node, Activation):
        return "an activation without spikes", "train spiking neurons, or convert with sigma-delta neurons"
    if isinstance(node, Spike):
        return "neurons without synapses before them", "put a layer with weights before the neurons"
    return "a vote in the middle of the network", "vote at the end"


def _refuse(node: Node, what: str, fix: str) -> None:
    raise ExportError(
        f"'{node.name}' is {what}" if not what.startswith("no ") else f"'{node.name}' has {what}", fix=fix
    )


def _layer(stage: ChipStage, settings: _Settings, *, shrink: float = 1.0) -> IntegerLayer:
    if is_or(stage.synapses, stage.neurons):
        return _or_layer(stage)
    synapses, neurons = stage.synapses, stage.neurons
    notes = _check_neurons(neurons, allow_approximate=settings.allow_approximate)
    rounded = round_layer(synapses, neurons, settings.rounding, shrink=shrink)
    layer = _integer_layer(
        stage,
        weight=rounded.weight.cpu().numpy().astype(np.int32),
        bias=rounded.bias.cpu().numpy().astype(np.int32),
        threshold=rounded.threshold,
        voltage_decay=rounded.voltage_decay,
        scale=rounded.scale,
    )
    weight, bias = synapses.weight.detach().double(), synapses.bias.detach().double()
    report = LayerQuantisation(
        rounded.limited_by,
        weight_error=float((rounded.weight / rounded.scale - weight).norm() / weight.norm()),
        bias_error=float((rounded.bias / rounded.scale - bias).abs().max() / neurons.v_threshold),
        decay_error=abs(rounded.voltage_decay / DECAY_ONE - 1 / neurons.tau),
        clipped_weights=rounded.clipped_weights,
        worst_current=worst_accumulator(layer) * (1 << STATE_EXPONENT) / ACCUMULATOR_LIMIT,
        notes=notes,
    )
    return replace(layer, quantisation=report)


def _check_neurons(neurons: Spike, *, allow_approximate: bool) -> tuple[str, ...]:
    if not neurons.v_threshold > 0 or not neurons.tau >= 1 or neurons.decay_input or neurons.v_reset != 0:
        raise ExportError(
            f"neurons '{neurons.name}' rest at {neurons.v_reset:g}, fire at {neurons.v_threshold:g} above it and have "
            f"a time constant of {neurons.tau:g} steps",
            expected="a threshold above rest, hard reset to rest, and a time constant of at least 1 step",
            fix="train with v_reset=0",
        )
    if neurons.reset == "hard":
        return ()
    if not allow_approximate:
        raise ExportError(
            f"neurons '{neurons.name}' have a soft reset",
            expected="a hard reset, the only one of Loihi's neurons",
            fix='train with reset="hard", or allow approximate layers (--allow-approximate) and read the certificate',
        )
    return ("soft reset became hard",)


def _or_layer(stage: ChipStage) -> IntegerLayer:
    """Weights of 2 against a threshold of 1: any spike is enough, none is not."""
    weight = np.full(tuple(stage.synapses.weight.shape), 2, dtype=np.int32)
    bias = np.zeros(len(weight), dtype=np.int32)
    layer = _integer_layer(stage, weight=weight, bias=bias, threshold=1, voltage_decay=DECAY_ONE, scale=2.0, exact=True)
    worst = worst_accumulator(layer) * (1 << STATE_EXPONENT) / ACCUMULATOR_LIMIT
    return replace(layer, quantisation=LayerQuantisation("exact", 0.0, 0.0, 0.0, 0.0, worst))


def _integer_layer(
    stage: ChipStage,
    *,
    weight: np.ndarray,
    bias: np.ndarray,
    threshold: int,
    voltage_decay: int,
    scale: float,
    exact: bool = False,
) -> IntegerLayer:
    node = stage.synapses
    layer = IntegerLayer(
        node.name,
        "conv" if isinstance(node, Conv) else "dense",
        weight,
        bias,
        threshold,
        current_decay=DECAY_ONE,
        voltage_decay=voltage_decay,
        scale=scale,
        shape=stage.shape,
        exact=exact,
    )
    if isinstance(node, Dense):
        return layer
    return replace(
        layer,
        stride=node.stride,
        padding=node.padding,
        dilation=node.dilation,
        groups=node.groups,
        time_taps=node.time_taps,
    )


def _calibrated(integer: IntegerGraph, stages: list[ChipStage], settings: _Settings, x: torch.Tensor) -> IntegerGraph:
    """The network with smaller scales where the currents of `x` come near 24 bits, layer by layer."""
    layers, largest = [], int(x.max())
    for layer, stage in zip(integer.layers, stages, strict=True):
        spikes, runner = run_layer(integer, layer, x, largest_input=largest)
        room = runner.extremes.peak_current * HEADROOM / ACCUMULATOR_LIMIT
        if room > 1 and not layer.exact:
            layer = _layer(stage, settings, shrink=1 / room)
            spikes, runner = run_layer(integer, layer, x, largest_input=largest)
        peak = max(runner.extremes.peak_current, runner.extremes.peak_voltage) / ACCUMULATOR_LIMIT
        assert layer.quantisation is not None
        layers.append(replace(layer, quantisation=replace(layer.quantisation, calibrated_peak=peak)))
        x, largest = spikes, 1
    return replace(integer, layers=tuple(layers))
