"""The integer network of a Loihi-style chip: what netx files hold, what the twin runs, what lava simulates."""

from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal

import numpy as np

from snnfer.converters.graph import Pair, Shape
from snnfer.errors import ExportError

WEIGHT_RANGE = (-256, 254)
"""8-bit weights of mixed sign, even values only."""
MAX_BIAS = 4095
"""Mantissa of a bias: 13 bits with sign."""
MAX_THRESHOLD = 131_071
"""Mantissa of a threshold: 17 bits."""
DECAY_ONE = 4096
"""A decay of 4096 forgets everything, 0 nothing: 12 bits."""
STATE_EXPONENT = 6
"""Currents, biases and thresholds are shifted by 6 bits against their mantissas."""
ACCUMULATOR_LIMIT = 1 << 23
"""Signed 24 bits."""
MAX_DELAY = 62
"""Largest delay of a synapse, in steps: 6 bits."""


Limit = Literal["weight", "bias", "threshold", "accumulator", "exact"]


@dataclass(frozen=True)
class LayerQuantisation:
    """How the integers of a layer were found.

    Args:
        limited_by: The register that set the scale: ``weight``, ``bias``, ``threshold``, ``accumulator``, or ``exact``
            for a layer that is rewritten without error.
        weight_error: Relative root mean square error of the weights.
        bias_error: Largest error of a bias, as a share of the threshold.
        decay_error: Error of the voltage decay, absolute, as a share of 1.
        clipped_weights: Share of the weights beyond the range.
        worst_current: Largest current that any binary input can cause, as a share of the 24-bit register.
        calibrated_peak: Largest current or potential on the calibration data, as the same share; None without data.
        notes: What is approximated, in words.
    """

    limited_by: Limit
    weight_error: float
    bias_error: float
    decay_error: float
    clipped_weights: float
    worst_current: float
    calibrated_peak: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class IntegerLayer:
    """Synapses and the neurons behind them, in integers. A step of lava's ``fixed_pt`` LIF (bit-accurate model):

    ``u = trunc(u (4096 - current_decay) / 4096) + (a << 6)``, wrapped once to 24 bits;
    ``v = clip(trunc(v (4096 - voltage_decay) / 4096) + u + (bias << 6))``; a spike where ``v > threshold << 6``
    (strictly), which sets v to 0.

    Args:
        name: Name in the network.
        kind: ``conv`` or ``dense``.
        weight: int32 ``[O, I / groups, kH, kW]`` (cross-correlation) or ``[O, I]``; with `time_taps` K > 1
            ``[O, I / groups, K, kH, kW]``, the last tap being the step itself.
        bias: int32 ``[O]``, mantissas.
        threshold: Mantissa.
        current_decay, voltage_decay: 0 to 4096; a current decay of 4096 is a neuron without synaptic memory.
        scale: Integer units per unit of the network's own potential, before the shift by 6.
        shape: Output ``(C, H, W)`` or ``(F,)``.
        stride, padding, dilation, groups: Of a convolution.
        exact: Whether the layer is a rewriting without error (an OR that stands for max pooling of spikes).
        quantisation: How the integers were found; None for a layer that was read from a file.

    Raises:
        ExportError: a value does not fit its register.
    """

    name: str
    kind: Literal["conv", "dense"]
    weight: np.ndarray
    bias: np.ndarray
    threshold: int
    current_decay: int
    voltage_decay: int
    scale: float
    shape: Shape
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    time_taps: int = 1
    exact: bool = False
    quantisation: LayerQuantisation | None = None

    def __post_init__(self) -> None:
        check_registers(self)

    @property
    def n_neurons(self) -> int:
        """Neurons of the layer."""
        return prod(self.shape)


def check_registers(layer: IntegerLayer) -> None:
    """Raise `ExportError` where a value of `layer` does not fit the register that holds it."""
    _check_weights(layer)
    _check_range(layer, "bias", int(np.abs(layer.bias).max(initial=0)), 0, MAX_BIAS)
    _check_range(layer, "threshold", layer.threshold, 0, MAX_THRESHOLD)
    _check_range(layer, "current decay", layer.current_decay, 0, DECAY_ONE)
    _check_range(layer, "voltage decay", layer.voltage_decay, 0, DECAY_ONE)
    _check_range(layer, "delay", layer.time_taps - 1, 0, MAX_DELAY)
    if layer.bias.shape != (layer.weight.shape[0],):
        raise ExportError(
            f"layer '{layer.name}' has {layer.weight.shape[0]} outputs and biases of shape {list(layer.bias.shape)}",
            expected="one bias per output",
        )


def _check_weights(layer: IntegerLayer) -> None:
    if not all(np.issubdtype(values.dtype, np.integer) for values in (layer.weight, layer.bias)):
        raise ExportError(
            f"layer '{layer.name}' has {layer.weight.dtype} weights and {layer.bias.dtype} biases",
            expected="whole numbers",
            cause="a float network; quantise it first",
        )
    low, high = int(layer.weight.min(initial=0)), int(layer.weight.max(initial=0))
    odd = bool((layer.weight & 1).any())
    smallest, largest = (-128, 127) if odd else WEIGHT_RANGE
    if low < smallest or high > largest:
        raise ExportError(
            f"layer '{layer.name}' has weights from {low} to {high}{', some of them odd' if odd else ''}",
            expected="even numbers from -256 to 254, or any from -128 to 127",
            cause="more than 8 bits per weight",
            fix="quantise the network again",
        )
    if not layer.weight.any():
        raise ExportError(
            f"all weights of layer '{layer.name}' are zero",
            expected="at least one synapse",
            cause="the layer is unused, or one extreme weight or bias leaves no bits for the others",
            fix="remove the layer, or train with weight decay",
        )


def _check_range(layer: IntegerLayer, what: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ExportError(
            f"layer '{layer.name}' has a {what} of {value}",
            expected=f"{low} to {high}",
            cause="the register is smaller",
        )


@dataclass(frozen=True)
class IntegerGraph:
    """A chain of integer layers; a dense layer behind maps reads them flattened in the order C, H, W.

    Args:
        layers: In the order of computation.
        input_shape: ``(C, H, W)`` or ``(F,)`` of one step.
        votes: Output neurons per class, averaged outside the chip.
        metadata: Written into exports.

    Raises:
        ExportError: two layers of one name, or a layer that does not fit the one before it.
    """

    layers: tuple[IntegerLayer, ...]
    input_shape: Shape
    votes: int = 1
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [layer.name for layer in self.layers]
        if len(set(names)) < len(names) or not names:
            raise ExportError(f"the layers are named {', '.join(names) or '(none)'}", expected="unique names")
        for layer, shape in zip(self.layers, self.input_shapes, strict=True):
            _check_shapes(layer, shape)

    @property
    def input_shapes(self) -> tuple[Shape, ...]:
        """Input shape of each layer; ``(F,)`` for a dense one."""
        before = (self.input_shape, *(layer.shape for layer in self.layers[:-1]))
        pairs = zip(self.layers, before, strict=True)
        return tuple((prod(shape),) if layer.kind == "dense" else shape for layer, shape in pairs)


def _check_shapes(layer: IntegerLayer, shape: Shape) -> None:
    """Raise `ExportError` unless `layer` makes its own shape of `shape`."""
    if layer.kind == "dense":
        fits = layer.weight.shape == (*layer.shape, *shape)
    else:
        fits = (
            len(shape) == 3 and layer.weight.shape[1] * layer.groups == shape[0] and layer.shape == _maps(layer, shape)
        )
    if not fits:
        raise ExportError(
            f"layer '{layer.name}' with weights of {list(layer.weight.shape)} makes {list(layer.shape)} "
            f"of {list(shape)}",
            expected="shapes that fit each other",
            cause="a layer before it is missing",
        )


def _maps(layer: IntegerLayer, shape: Shape) -> Shape:
    axes = zip(shape[1:], layer.weight.shape[-2:], layer.stride, layer.padding, layer.dilation, strict=True)
    return (layer.weight.shape[0], *((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes))
