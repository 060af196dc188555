r"""Sigma-delta networks: a network of ReLU and LeakyReLU in integers, whose neurons send changes of their activation.

A layer of lava's bit-accurate ``SigmaDelta`` neurons with the state exponent :math:`e`, all in integers:

.. math::
    \sigma_t &= \sigma_{t-1} + W s_t^\text{in}, \quad a_t = \max(0, \sigma_t + b\,2^e), \\
    d_t &= a_t - a_{t-1} + r_{t-1}, \quad \hat d_t = d_t\,[|d_t| \ge \vartheta\,2^e], \quad r_t = d_t - \hat d_t,
    \quad s_t = \lfloor \hat d_t / 2^e \rfloor

The receiver sums :math:`s` up. A unit of the network's own activation is `payload_scale` units of that sum. What
the shift by :math:`e` cuts off is lost, so that the sum drifts by up to one unit per message: `sigma_delta` chooses
payloads as large as accumulators and messages allow.

No limit of a chip on :math:`e` is published. lava-nc 0.10 declares 3 bits for it (0 to 7), 16 for the shifted bias
:math:`b\,2^e` and 24 for :math:`\sigma`, :math:`a`, :math:`r` and the shifted threshold, and enforces none of them: its
simulator computes in 32 bits. Wide layers need more than 7, because a sum over thousands of 8-bit weights is that much
larger than a 16-bit message; within 7 their weights have to shrink. `sigma_delta` keeps all registers within 24 bits
on calibration data, and lets exponents be what they must, unless ``state_exp`` bounds them.

LeakyReLU is :math:`\mathrm{ReLU}(z) - \mathrm{ReLU}(-\lambda z)`: two populations, twice the neurons, and as many
messages as one, since a neuron of a pair is silent while the other is not. No activation is the same with
:math:`\lambda = 1`.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from snnfer._check import check_choice, check_ndim
from snnfer.converters.from_model import to_graph
from snnfer.converters.graph import Conv, Graph, Pair, Shape
from snnfer.converters.loihi._stages import Ranges, Stage, measure_ranges, stages_of
from snnfer.converters.loihi.graph import ACCUMULATOR_LIMIT, MAX_BIAS, MAX_THRESHOLD, WEIGHT_RANGE
from snnfer.errors import ConfigError, ConversionError, ShapeError

MAX_MESSAGE = (1 << 15) - 1
"""Graded messages of 16 bits with sign."""
ACCUMULATOR_SHARE = 0.45
"""Share of the accumulator that calibration data may fill: a change between two steps is up to twice the value."""
NETX_INPUT_LEVELS = 127
"""Levels of the input where all state exponents are the same and payloads must grow from layer to layer."""
MAX_STATE_EXPONENT = 23
"""An accumulator of 24 bits with sign has nothing left to shift out."""
VANILLA_STATE_EXPONENT = 6
"""The state exponent that an unmodified netx gives every layer."""


@dataclass(frozen=True)
class SigmaDeltaLayer:
    """Synapses and the sigma-delta neurons behind them.

    Args:
        name: Name in the network.
        kind: ``conv`` or ``dense``.
        weight: int32 ``[O, I / groups, kH, kW]`` or ``[O, I]``, even, from one population of the layer before.
        bias: int32 ``[O]``, mantissas.
        threshold: Smallest change that is sent, in units of a message.
        state_exp: Bits that an accumulator has more than a message.
        payload_scale: Units of summed messages per unit of the network's own activation.
        shape: Output ``(C, H, W)`` or ``(F,)``, both populations.
        input_pairs: Where the layer before is two populations, its channels before they were doubled; else 0. The
            synapses of the second population are those of the first, negated.
        paired_output: Whether this layer is two populations, with the two neurons of a pair in neighbouring channels:
            the even channels minus the odd ones are the output.
        stride, padding, dilation, groups: Of a convolution.
    """

    name: str
    kind: Literal["conv", "dense"]
    weight: np.ndarray
    bias: np.ndarray
    threshold: int
    state_exp: int
    payload_scale: float
    shape: Shape
    input_pairs: int
    paired_output: bool
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    @property
    def synapses(self) -> np.ndarray:
        """Weights from both populations of the layer before: what a file holds and a chip stores."""
        if not self.input_pairs:
            return self.weight
        weight = self.weight.reshape(len(self.weight), self.input_pairs // self.groups, -1)  # [O, C, *]
        pairs = np.stack([weight, -weight], axis=2)  # [O, C, 2, *]
        return pairs.reshape(len(weight), 2 * self.weight.shape[1], *self.weight.shape[2:])


@dataclass(frozen=True)
class SigmaDeltaGraph:
    """A chain of sigma-delta layers behind a delta encoder of the input.

    Args:
        layers: In the order of computation; a dense layer behind maps reads them flattened in the order C, H, W.
        input_shape: ``(C, H, W)`` or ``(F,)`` of one step.
        input_scale: The encoder's integer input is ``round(x * input_scale)``.
        input_threshold: Smallest change of the input that is sent, as `SigmaDeltaLayer.threshold`.
        metadata: Written into exports.
    """

    layers: tuple[SigmaDeltaLayer, ...]
    input_shape: Shape
    input_scale: float
    input_threshold: int = 0
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def fits_netx(self) -> bool:
        """Whether an unmodified netx reads the file with these state exponents."""
        return all(layer.state_exp == VANILLA_STATE_EXPONENT for layer in self.layers)


def sigma_delta(
    network: nn.Module | Graph,
    *,
    calibration: torch.Tensor,
    weight_bits: int = 8,
    state_exp: Literal["per_layer", "netx"] | int = "per_layer",
    threshold: float = 0.0,
) -> SigmaDeltaGraph:
    """Convert a chain of convolutions and fully connected layers to a sigma-delta network in integers.

    Normalisation and average pooling are folded, LeakyReLU is split into two populations (as by
    `snnfer.converters.passes.split_leaky`). The ranges of activations and accumulators are
    measured on `calibration`, and each layer then gets the largest weights and payloads that fit the registers: with
    ``c`` integer units of weight per unit, accumulators hold ``c * payload_scale_before`` units per unit. A layer has
    one scale for all channels: where their weights differ in size, pass an equalised graph
    (`snnfer.converters.passes.equalise`), which nearly halved the errors of a trained evTransFER network.

    Args:
        network: In evaluation mode, such as `snnfer.models.UNetEncoder`; or its graph.
        calibration: Typical input ``[T, N, *input_shape]``, of training subjects only.
        weight_bits: Bits of a weight, 2 to 8; weights are multiples of ``2 ** (9 - weight_bits)``, so always even.
        state_exp: "per_layer" for the smallest exponent that fits, or "netx" for 6 everywhere: the only one that an
            unmodified netx can have, at the price of an error that grows quickly with depth; or a number, the largest
            that any layer may have: where more would fit, weights shrink.
        threshold: Smallest change that is sent, as a share of the largest activation of a layer. 0 sends every change
            and is exact up to rounding.

    Raises:
        ConversionError: a layer cannot be represented, or a layer never becomes active on `calibration`.
        ShapeError: `calibration` has another layout.

    References:
        O'Connor and Welling, "Sigma Delta Quantized Networks", 2016; Intel, lava-nc 0.10, ``lava.proc.sdn``.

    Examples:
        >>> from snnfer.models import UNetEncoder
        >>> from snnfer.converters.loihi.sigma_delta_twin import run_sigma_delta
        >>> encoder = UNetEncoder(size=(16, 16), width=4).eval()
        >>> graph = sigma_delta(encoder, calibration=torch.rand(2, 3, 3, 16, 16))
        >>> [layer.shape for layer in graph.layers]
        [(8, 8, 8), (16, 4, 4), (32, 2, 2), (32, 1, 1)]
        >>> run_sigma_delta(graph, torch.rand(1, 5, 3, 16, 16)).output.shape
        torch.Size([1, 5, 32, 1, 1])
    """
    _check_settings(weight_bits, threshold, state_exp)
    graph = as_graph(network)
    stages = stages_of(graph)
    check_calibration(calibration, graph.input_shape)
    ranges = measure_ranges(stages, calibration.flatten(0, 1).float())
    factors = [_weight_factor(stage, weight_bits) for stage in stages]
    limits = _shared_limits(ranges) if state_exp == "netx" else _payload_limits(factors, ranges)
    scale = input_scale = limits[0]
    layers = []
    for i, stage in enumerate(stages):
        factor = min(factors[i], ACCUMULATOR_SHARE * ACCUMULATOR_LIMIT / (scale * ranges.linear[i]))
        limit = min(limits[i + 1], _bias_limit(stage))
        exponent, factor = _exponent(factor * scale, factor, limit, state_exp)
        scale = factor * scale / 2**exponent
        vth = round(threshold * ranges.values[i + 1] * scale)
        layers.append(
            _quantise(
                stage,
                factor,
                weight_step=2 ** (9 - weight_bits),
                payload_scale=scale,
                threshold=min(vth, MAX_THRESHOLD),
                state_exp=exponent,
                input_pairs=stages[i - 1].shape[0] if i and stages[i - 1].is_split else 0,
            )
        )
    vth = round(threshold * ranges.values[0] * input_scale)
    return SigmaDeltaGraph(tuple(layers), graph.input_shape, input_scale, vth, dict(graph.metadata))


def check_calibration(x: torch.Tensor, input_shape: Shape, *, name: str = "the calibration data") -> None:
    """Raise `ShapeError` unless `x` is ``[T, N, *input_shape]`` with at least one step and sample."""
    layout = "[T, N, C, H, W]" if len(input_shape) == 3 else "[T, N, F]"
    check_ndim(x, len(input_shape) + 2, layout=layout, name=name)
    if tuple(x.shape[2:]) != tuple(input_shape) or not x.shape[0] * x.shape[1]:
        raise ShapeError(
            f"{name} has shape {list(x.shape)}",
            expected=f"{layout} with {list(input_shape)} per step, and at least one step of one sample",
            cause="another layout, another size of the maps, or no data",
            fix="see snnfer.layout for conversions",
        )


def as_graph(network: nn.Module | Graph) -> Graph:
    """The graph of `network`, unless it is one."""
    if isinstance(network, Graph):
        return network
    return to_graph(network)


def _check_settings(weight_bits: int, threshold: float, state_exp: str | int) -> None:
    if isinstance(state_exp, str):
        check_choice(state_exp, ("per_layer", "netx"), name="state_exp")
    elif not 0 <= state_exp <= MAX_STATE_EXPONENT:
        raise ConfigError(f"state_exp = {state_exp}", expected=f"per_layer, netx, or 0 to {MAX_STATE_EXPONENT} bits")
    if not 2 <= weight_bits <= 8:
        raise ConfigError(f"weight_bits = {weight_bits}", expected="2 to 8 bits")
    if not 0 <= threshold < 1:
        raise ConfigError(f"threshold = {threshold}", expected="a share of the largest activation, 0 to below 1")


def _weight_factor(stage: Stage, weight_bits: int) -> float:
    largest = float(stage.node.weight.abs().max()) * max(1.0, stage.slope)
    if not 0 < largest < np.inf:
        raise ConversionError(
            f"the largest weight of '{stage.node.name}' is {largest:g}",
            expected="a finite value above 0",
            cause="a layer that was never trained, or lost its channels",
        )
    return (WEIGHT_RANGE[1] + 2 - 2 ** (9 - weight_bits)) / largest


def _payload_limits(factors: list[float], ranges: Ranges) -> list[float]:
    """Largest payload scales, of the input and of each stage, with which all weights keep all their bits."""
    full = [ACCUMULATOR_SHARE * ACCUMULATOR_LIMIT / (a * b) for a, b in zip(factors, ranges.linear, strict=True)]
    return [min(limit, MAX_MESSAGE / value) for limit, value in zip([*full, np.inf], ranges.values, strict=True)]


def _shared_limits(ranges: Ranges) -> list[float]:
    """Payload scales for one state exponent: weights are as large as payloads grow, so all layers grow alike."""
    growth = (MAX_MESSAGE / NETX_INPUT_LEVELS) ** (1 / len(ranges.linear))
    return [NETX_INPUT_LEVELS * growth**i / value for i, value in enumerate(ranges.values)]


def _bias_limit(stage: Stage) -> float:
    largest = float(stage.node.bias.abs().max())
    return MAX_BIAS / largest if largest else np.inf


def _exponent(accumulated: float, factor: float, limit: float, state_exp: str | int) -> tuple[int, float]:
    """State exponent, and the factor of weights where the exponent alone cannot bring the payload below its limit."""
    exponent = VANILLA_STATE_EXPONENT
    if state_exp != "netx":
        largest = MAX_STATE_EXPONENT if isinstance(state_exp, str) else state_exp
        exponent = min(largest, max(0, int(np.ceil(np.log2(accumulated / limit)))))
    return exponent, factor * min(1.0, limit * 2**exponent / accumulated)


def _quantise(
    stage: Stage, factor: float, *, weight_step: int, payload_scale: float, **settings: Any
) -> SigmaDeltaLayer:
    """Integer weights and biases; of a split stage, the two of a pair beside each other."""
    node, sides = stage.node, (1.0, -stage.slope) if stage.is_split else (1.0,)
    weight = torch.stack([side * node.weight.double() for side in sides], 1).flatten(0, 1) * factor
    bias = torch.stack([side * node.bias.double() for side in sides], 1).flatten() * payload_scale
    integer = (weight / weight_step).round() * weight_step
    if not integer.any():
        raise ConversionError(
            f"all weights of '{node.name}' round to 0",
            cause="its accumulators are full with payloads of this size",
            fix="use state_exp='per_layer', or more weight bits",
        )
    geometry = {}
    if isinstance(node, Conv):
        geometry = {key: getattr(node, key) for key in ("stride", "padding", "dilation", "groups")}
    return SigmaDeltaLayer(
        name=node.name,
        kind="conv" if isinstance(node, Conv) else "dense",
        weight=integer.clamp(*WEIGHT_RANGE).to(torch.int32).numpy(),
        bias=bias.round().to(torch.int32).numpy(),
        payload_scale=payload_scale,
        shape=(len(bias), *stage.shape[1:]),
        paired_output=stage.is_split,
        **geometry,
        **settings,
    )
