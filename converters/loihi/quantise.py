"""From a spiking network with real weights to the integers of a Loihi-style chip."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from snnfer.converters.graph import Activation, Affine, Conv, Dense, Flatten, Graph, Node, Pool, Shape, Spike, Vote
from snnfer.converters.loihi.graph import (
    ACCUMULATOR_LIMIT,
    DECAY_ONE,
    MAX_BIAS,
    MAX_THRESHOLD,
    STATE_EXPONENT,
    IntegerGraph,
    IntegerLayer,
    LayerQuantisation,
    Limit,
)
from snnfer.converters.loihi.synapses import worst_accumulator
from snnfer.converters.loihi.twin import prepare_input, run_layer
from snnfer.converters.passes import for_chip, is_or
from snnfer.errors import ExportError, SnnferError

HALF_STEP = 1 / 128
"""Half a step of the potential, whose unit is 1/64 of a mantissa."""
HEADROOM = 2.0
"""Currents of data that was not seen may be this much larger than those of the calibration."""


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
            come within a factor 2 of 24 bits gets a smaller scale. Without them the reports have only the worst case.
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
    if not 2 <= weight_bits <= 8:
        raise SnnferError(f"weight_bits = {weight_bits}", expected="2 to 8")
    if not 0 < weight_percentile <= 100:
        raise SnnferError(f"weight_percentile = {weight_percentile:g}", expected="above 0, at most 100")
    chip = for_chip(graph)
    settings = _Settings(weight_bits, weight_percentile, allow_approximate)
    stages, votes = _stages(chip)
    layers = tuple(_layer(stage, settings) for stage in stages)
    integer = IntegerGraph(layers, graph.input_shape, votes, dict(graph.metadata))
    if calibration is None:
        return integer
    return _calibrated(integer, stages, settings, prepare_input(integer, calibration, graded=graded))


@dataclass(frozen=True)
class _Settings:
    weight_bits: int
    weight_percentile: float
    allow_approximate: bool


@dataclass(frozen=True)
class _Stage:
    """Synapses, the neurons behind them, and the shape of the neurons."""

    synapses: Conv | Dense
    neurons: Spike
    shape: Shape


def _stages(graph: Graph) -> tuple[list[_Stage], int]:
    """Pairs of synapses and neurons, and the votes per class."""
    stages: list[_Stage] = []
    votes, waiting = 1, None
    for position, (node, shape) in enumerate(zip(graph.nodes, graph.shapes, strict=True)):
        if waiting is not None and not isinstance(node, Spike):
            _refuse(waiting, "synapses without neurons behind them", "put a spiking neuron behind the layer")
        if isinstance(node, Conv | Dense):
            waiting = node
        elif isinstance(node, Spike) and waiting is not None:
            stages.append(_Stage(waiting, node, shape))
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


def _layer(stage: _Stage, settings: _Settings, *, shrink: float = 1.0) -> IntegerLayer:
    if is_or(stage.synapses, stage.neurons):
        return _or_layer(stage)
    synapses, neurons = stage.synapses, stage.neurons
    notes = _check_neurons(neurons, allow_approximate=settings.allow_approximate)
    weight, bias = (values.detach().cpu().double().numpy() for values in (synapses.weight, synapses.bias))
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise ExportError(f"'{synapses.name}' has weights that are not finite", cause="training diverged")
    if not weight.any():
        raise ExportError(
            f"all weights of layer '{synapses.name}' are zero",
            expected="at least one synapse",
            cause="the layer was never trained, or pruned away",
            fix="remove the layer",
        )
    step = 1 << (9 - settings.weight_bits)
    threshold, limit = _threshold(stage, weight, bias, settings, step, shrink)
    scale = (threshold + HALF_STEP) / neurons.v_threshold
    largest = 256 - step
    wanted = np.rint(weight * scale / step) * step
    integers = np.clip(wanted, -largest, largest).astype(np.int32)
    biases = np.rint(bias * scale).astype(np.int32)
    decay = round(DECAY_ONE / neurons.tau)
    layer = _integer_layer(stage, weight=integers, bias=biases, threshold=threshold, voltage_decay=decay, scale=scale)
    report = LayerQuantisation(
        limit,
        weight_error=float(np.linalg.norm(integers / scale - weight) / np.linalg.norm(weight)),
        bias_error=float(np.abs(biases / scale - bias).max() / neurons.v_threshold),
        decay_error=abs(decay / DECAY_ONE - 1 / neurons.tau),
        clipped_weights=float((wanted != integers).mean()),
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


def _threshold(
    stage: _Stage, weight: np.ndarray, bias: np.ndarray, settings: _Settings, step: int, shrink: float
) -> tuple[int, Limit]:
    """Mantissa of the threshold, and the register that limits it."""
    theta = stage.neurons.v_threshold
    largest_weight = float(np.percentile(np.abs(weight), settings.weight_percentile)) or float(np.abs(weight).max())
    largest_bias = float(np.abs(bias).max())
    mantissas: dict[Limit, float] = {
        "weight": (256 - step) * theta / largest_weight,
        "bias": MAX_BIAS * theta / largest_bias - HALF_STEP if largest_bias else math.inf,
        "threshold": MAX_THRESHOLD,
    }
    limit = min(mantissas, key=lambda name: mantissas[name])
    mantissa = math.floor(mantissas[limit] * shrink)
    if (mantissa + HALF_STEP) / theta * largest_weight >= 256 - step / 2:
        mantissa -= 1  # the half step would round the largest weight up, out of its range
    if mantissa < 1:
        raise ExportError(
            f"'{stage.synapses.name}' has weights up to {largest_weight:.3g} and biases up to {largest_bias:.3g} for a "
            f"threshold of {theta:.3g}",
            expected="weights below 250 thresholds, and biases below 4000",
            cause="a normalisation with almost no variance was folded into the weights",
            fix="train longer, with weight decay, or raise eps of the normalisation",
        )
    return mantissa, limit if shrink == 1 else "accumulator"


def _or_layer(stage: _Stage) -> IntegerLayer:
    """Weights of 2 against a threshold of 1: any spike is enough, none is not."""
    weight = np.full(tuple(stage.synapses.weight.shape), 2, dtype=np.int32)
    bias = np.zeros(len(weight), dtype=np.int32)
    layer = _integer_layer(stage, weight=weight, bias=bias, threshold=1, voltage_decay=DECAY_ONE, scale=2.0, exact=True)
    worst = worst_accumulator(layer) * (1 << STATE_EXPONENT) / ACCUMULATOR_LIMIT
    return replace(layer, quantisation=LayerQuantisation("exact", 0.0, 0.0, 0.0, 0.0, worst))


def _integer_layer(
    stage: _Stage,
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


def _calibrated(integer: IntegerGraph, stages: list[_Stage], settings: _Settings, x: torch.Tensor) -> IntegerGraph:
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
