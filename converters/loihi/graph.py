"""The integer network of a Loihi-style chip: what netx files hold, what the twin runs, what lava simulates."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from snnfer.converters.graph import Pair, Shape

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


@dataclass(frozen=True)
class IntegerGraph:
    """A chain of integer layers; a dense layer behind maps reads them flattened in the order C, H, W.

    Args:
        layers: In the order of computation.
        input_shape: ``(C, H, W)`` or ``(F,)`` of one step.
        votes: Output neurons per class, averaged outside the chip.
        metadata: Written into exports.
    """

    layers: tuple[IntegerLayer, ...]
    input_shape: Shape
    votes: int = 1
    metadata: dict[str, Any] = field(default_factory=dict)
