"""Leaky integrate-and-fire neurons of a Loihi-style chip, bit for bit, a run of steps at a time."""

from dataclasses import dataclass

import torch

from snnfer.converters.loihi.graph import ACCUMULATOR_LIMIT, DECAY_ONE, STATE_EXPONENT, IntegerLayer

_UNIT = 1 << STATE_EXPONENT


@dataclass
class Registers:
    """Current and potential of each neuron ``[N, *shape]``, whole numbers in float64."""

    current: torch.Tensor
    voltage: torch.Tensor

    @classmethod
    def at_rest(cls, layer: IntegerLayer, n_samples: int, device: torch.device) -> "Registers":
        zeros = torch.zeros(n_samples, *layer.shape, dtype=torch.float64, device=device)
        return cls(zeros, zeros.clone())


@dataclass
class Extremes:
    """What the registers went through.

    Args:
        peak_current: Largest magnitude of the current before it is wrapped.
        peak_voltage: Largest magnitude of the potential before it is clipped.
        wraps: Currents that left 24 bits and came back with the other sign.
        clips: Potentials that were cut to 24 bits.
    """

    peak_current: int = 0
    peak_voltage: int = 0
    wraps: int = 0
    clips: int = 0


def fire(layer: IntegerLayer, sums: torch.Tensor, registers: Registers, extremes: Extremes) -> torch.Tensor:
    r"""Spikes of a run of steps; `registers` and `extremes` are brought up to date.

    .. math::
        u_t &= \text{wrap}\!\left(\left[u_{t-1} (4096 - d_u) / 4096\right] + 2^6 a_t\right) \\
        h_t &= \text{clip}\!\left(\left[v_{t-1} (4096 - d_v) / 4096\right] + u_t + 2^6 b\right) \\
        s_t &= \Theta(h_t > 2^6 m), \qquad v_t = (1 - s_t)\, h_t

    where [ ] cuts toward zero, wrap adds or subtracts :math:`2^{24}` once where the current is above :math:`2^{23}` or
    not above :math:`-2^{23}`, and clip keeps :math:`|h| < 2^{23}`. All values are whole and below :math:`2^{53}`, so
    that float64 is exact.

    Args:
        layer: Decays, biases and threshold.
        sums: What the synapses bring, whole numbers ``[T, N, *shape]``; overwritten.
        registers: State before the first step.
        extremes: Counters to add to.

    Returns:
        Booleans ``[T, N, *shape]``.

    References:
        Davies et al., "Loihi: a neuromorphic manycore processor with on-chip learning", IEEE Micro 38(1), 2018; the
        widths and roundings are those of ``PyLifModelBitAcc`` of lava-nc 0.10.
    """
    spikes = torch.empty(sums.shape, dtype=torch.bool, device=sums.device)
    if not sums.numel():
        return spikes
    bias = torch.from_numpy(layer.bias).to(sums).view(-1, *[1] * (len(layer.shape) - 1))
    largest = int(_magnitude(sums)) * _UNIT
    if layer.current_decay == DECAY_ONE and largest < ACCUMULATOR_LIMIT:
        extremes.peak_current = max(extremes.peak_current, largest)
        registers.current = sums[-1].double() * _UNIT
        drives = sums.add_(bias)
        if layer.voltage_decay == DECAY_ONE and int(_magnitude(drives)) * _UNIT < ACCUMULATOR_LIMIT:
            return _fire_without_memory(layer, drives, registers, extremes)
        for step, drive in enumerate(drives):
            _integrate(layer, drive, registers, extremes, spikes[step])
        return spikes
    for step, arriving in enumerate(sums.double()):
        _update_current(layer, arriving, registers, extremes)
        _integrate(layer, registers.current / _UNIT + bias, registers, extremes, spikes[step])
    return spikes


def _update_current(layer: IntegerLayer, arriving: torch.Tensor, registers: Registers, extremes: Extremes) -> None:
    current = _decayed(registers.current, layer.current_decay).add_(arriving, alpha=_UNIT)
    peak = int(_magnitude(current))
    extremes.peak_current = max(extremes.peak_current, peak)
    if peak >= ACCUMULATOR_LIMIT:
        above, below = current > ACCUMULATOR_LIMIT, current <= -ACCUMULATOR_LIMIT
        extremes.wraps += int(above.sum() + below.sum())
        current = current - above * float(2 * ACCUMULATOR_LIMIT) + below * float(2 * ACCUMULATOR_LIMIT)
    registers.current = current


def _integrate(
    layer: IntegerLayer, drive: torch.Tensor, registers: Registers, extremes: Extremes, spikes: torch.Tensor
) -> None:
    """One step of the potential, driven by current and bias in units of the mantissas; fills `spikes`."""
    voltage = _decayed(registers.voltage, layer.voltage_decay).add_(drive, alpha=_UNIT)
    peak = int(_magnitude(voltage))
    extremes.peak_voltage = max(extremes.peak_voltage, peak)
    if peak >= ACCUMULATOR_LIMIT:
        extremes.clips += int((voltage.abs() >= ACCUMULATOR_LIMIT).sum())
        voltage.clamp_(1 - ACCUMULATOR_LIMIT, ACCUMULATOR_LIMIT - 1)
    torch.gt(voltage, layer.threshold * _UNIT, out=spikes)
    registers.voltage = voltage.masked_fill_(spikes, 0)


def _fire_without_memory(
    layer: IntegerLayer, drives: torch.Tensor, registers: Registers, extremes: Extremes
) -> torch.Tensor:
    """All steps at once: neither current nor potential outlives its step, and both are far from their limits."""
    extremes.peak_voltage = max(extremes.peak_voltage, int(_magnitude(drives)) * _UNIT)
    spikes = drives > layer.threshold
    registers.voltage = (drives[-1].double() * _UNIT).masked_fill_(spikes[-1], 0)
    return spikes


def _decayed(values: torch.Tensor, decay: int) -> torch.Tensor:
    """What is left of `values` after a step, cut toward zero; in place."""
    return values if decay == 0 else values.mul_((DECAY_ONE - decay) / DECAY_ONE).trunc_()


def _magnitude(values: torch.Tensor) -> torch.Tensor:
    low, high = torch.aminmax(values)
    return torch.maximum(-low, high)
