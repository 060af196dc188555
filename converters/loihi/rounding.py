"""Rounding of one layer to integers: the one place that export and quantisation-aware training share."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from snnfer.converters.graph import Conv, Dense, Spike
from snnfer.converters.loihi.graph import DECAY_ONE, MAX_BIAS, MAX_THRESHOLD, Limit
from snnfer.errors import ExportError, SnnferError

HALF_STEP = 1 / 128
"""Half a step of the potential, whose unit is 1/64 of a mantissa."""


@dataclass(frozen=True)
class RoundingSettings:
    """How finely weights are rounded.

    Args:
        weight_bits: Bits per weight, 2 to 8.
        weight_percentile: Percentile of the magnitudes that becomes the largest integer.

    Raises:
        SnnferError: a value out of range.
    """

    weight_bits: int = 8
    weight_percentile: float = 100.0

    def __post_init__(self) -> None:
        if not 2 <= self.weight_bits <= 8:
            raise SnnferError(f"weight_bits = {self.weight_bits}", expected="2 to 8")
        if not 0 < self.weight_percentile <= 100:
            raise SnnferError(f"weight_percentile = {self.weight_percentile:g}", expected="above 0, at most 100")

    @property
    def step(self) -> int:
        """Distance between two weights."""
        return 1 << (9 - self.weight_bits)

    @property
    def largest(self) -> int:
        """The largest weight."""
        return 256 - self.step


@dataclass(frozen=True)
class RoundedLayer:
    """Integers of a layer, on the device of its weights.

    Args:
        weight, bias: float64, whole numbers.
        threshold: Mantissa.
        voltage_decay: 0 to 4096.
        scale: Integer units per unit of the potential.
        limited_by: The register that set the scale.
        clipped_weights: Share of the weights beyond the range.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    threshold: int
    voltage_decay: int
    scale: float
    limited_by: Limit
    clipped_weights: float


def round_layer(
    synapses: Conv | Dense, neurons: Spike, settings: RoundingSettings, *, shrink: float = 1.0
) -> RoundedLayer:
    r"""Round synapses and the neurons behind them; the equations stand in `snnfer.converters.loihi.quantise`.

    Args:
        synapses: Weights and biases, with normalisation folded in.
        neurons: Neurons that rest at 0 and take their input as it is.
        settings: Bits.
        shrink: Factor on the threshold, up to 1, for currents that would overflow.

    Raises:
        ExportError: weights that are all zero, not finite, or too large for the threshold.

    Examples:
        >>> dense = Dense("fc", torch.tensor([[0.5, -1.0]]), torch.tensor([0.25]))
        >>> rounded = round_layer(dense, Spike("lif", tau=2.0), RoundingSettings())
        >>> rounded.threshold, rounded.weight.tolist(), rounded.bias.tolist()
        (254, [[128.0, -254.0]], [64.0])
    """
    weight, bias = (values.detach().double() for values in (synapses.weight, synapses.bias))
    if not bool(torch.isfinite(weight).all() and torch.isfinite(bias).all()):
        raise ExportError(f"'{synapses.name}' has weights that are not finite", cause="training diverged")
    if not bool(weight.any()):
        raise ExportError(
            f"all weights of layer '{synapses.name}' are zero",
            expected="at least one synapse",
            cause="the layer was never trained, or pruned away",
            fix="remove the layer",
        )
    threshold, limit = _threshold(synapses.name, neurons.v_threshold, weight, bias, settings, shrink)
    scale = (threshold + HALF_STEP) / neurons.v_threshold
    wanted = torch.round(weight * scale / settings.step) * settings.step
    integers = wanted.clamp(-settings.largest, settings.largest)
    clipped = float((wanted != integers).double().mean())
    decay = round(DECAY_ONE / neurons.tau)
    return RoundedLayer(integers, torch.round(bias * scale), threshold, decay, scale, limit, clipped)


def _threshold(
    name: str, theta: float, weight: torch.Tensor, bias: torch.Tensor, settings: RoundingSettings, shrink: float
) -> tuple[int, Limit]:
    """Mantissa of the threshold, and the register that limits it."""
    largest_weight, largest_bias = _largest(weight, settings.weight_percentile), float(bias.abs().max())
    mantissas: dict[Limit, float] = {
        "weight": settings.largest * theta / largest_weight,
        "bias": MAX_BIAS * theta / largest_bias - HALF_STEP if largest_bias else math.inf,
        "threshold": MAX_THRESHOLD,
    }
    limit = min(mantissas, key=lambda key: mantissas[key])
    mantissa = math.floor(mantissas[limit] * shrink)
    if (mantissa + HALF_STEP) / theta * largest_weight >= 256 - settings.step / 2:
        mantissa -= 1  # the half step would round the largest weight up, out of its range
    if mantissa < 1:
        raise ExportError(
            f"'{name}' has weights up to {largest_weight:.3g} and biases up to {largest_bias:.3g} for a threshold of "
            f"{theta:.3g}",
            expected="weights below 250 thresholds, and biases below 4000",
            cause="a normalisation with almost no variance was folded into the weights",
            fix="train longer, with weight decay, or raise eps of the normalisation",
        )
    return mantissa, limit if shrink == 1 else "accumulator"


def _largest(weight: torch.Tensor, percentile: float) -> float:
    """Percentile of the magnitudes; their maximum where that is 0."""
    maximum = float(weight.abs().max())
    if percentile == 100:
        return maximum
    return float(np.percentile(weight.abs().cpu().numpy(), percentile)) or maximum
