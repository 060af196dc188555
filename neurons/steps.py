"""Neurons one step at a time, written as the equations are, with ordinary autograd.

These are the definitions; the sequence functions in `snnfer.neurons.functional` give the same bits faster. Each takes
the input current of one step and the potential after the step before, and returns ``(spikes, potential)``.
"""

import torch

from snnfer.neurons._dynamics import Dynamics, Reset
from snnfer.neurons.functional import check_tau
from snnfer.neurons.surrogate import ATan, Surrogate

_ATAN = ATan()


def if_step(
    x: torch.Tensor,
    v: torch.Tensor,
    *,
    v_threshold: float = 1.0,
    v_reset: float = 0.0,
    reset: Reset = "hard",
    detach_reset: bool = True,
    surrogate: Surrogate = _ATAN,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One step of `snnfer.neurons.IF`.

    Examples:
        >>> if_step(torch.tensor([0.5, 1.5]), torch.zeros(2))
        (tensor([0., 1.]), tensor([0.5000, 0.0000]))
    """
    dynamics = Dynamics(surrogate, v_threshold, v_reset, reset, detach_reset=detach_reset)
    return _fire(v + x, dynamics)


def lif_step(
    x: torch.Tensor,
    v: torch.Tensor,
    *,
    tau: float = 2.0,
    v_threshold: float = 1.0,
    v_reset: float = 0.0,
    reset: Reset = "hard",
    decay_input: bool = True,
    detach_reset: bool = True,
    surrogate: Surrogate = _ATAN,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One step of `snnfer.neurons.LIF`.

    Examples:
        >>> lif_step(torch.tensor([1.0, 3.0]), torch.zeros(2), tau=2.0)
        (tensor([0., 1.]), tensor([0.5000, 0.0000]))
    """
    check_tau(tau)
    dynamics = Dynamics(surrogate, v_threshold, v_reset, reset, decay_input, detach_reset, tau)
    h = v + (x - (v - v_reset)) / tau if decay_input else v - (v - v_reset) / tau + x
    return _fire(h, dynamics)


def plif_step(
    x: torch.Tensor,
    v: torch.Tensor,
    *,
    w: torch.Tensor,
    v_threshold: float = 1.0,
    v_reset: float = 0.0,
    reset: Reset = "hard",
    decay_input: bool = False,
    detach_reset: bool = True,
    surrogate: Surrogate = _ATAN,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One step of `snnfer.neurons.PLIF`; ``1 / tau = sigmoid(w)``.

    Examples:
        >>> plif_step(torch.tensor([0.6, 1.2]), torch.zeros(2), w=torch.tensor(0.0))
        (tensor([0., 1.]), tensor([0.6000, 0.0000]))
    """
    dynamics = Dynamics(surrogate, v_threshold, v_reset, reset, decay_input, detach_reset)
    rate = w.sigmoid()
    h = v + (x - (v - v_reset)) * rate if decay_input else v - (v - v_reset) * rate + x
    return _fire(h, dynamics)


def li_step(
    x: torch.Tensor, v: torch.Tensor, *, tau: float = 2.0, v_rest: float = 0.0, decay_input: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """One step of `snnfer.neurons.LI`: the potential, as output and as state.

    Examples:
        >>> li_step(torch.tensor([1.0]), torch.zeros(1))
        (tensor([0.5000]), tensor([0.5000]))
    """
    check_tau(tau)
    h = v + (x - (v - v_rest)) / tau if decay_input else v - (v - v_rest) / tau + x
    return h, h


def _fire(h: torch.Tensor, dynamics: Dynamics) -> tuple[torch.Tensor, torch.Tensor]:
    """Spikes and potential after the reset of the charged potential `h`."""
    spikes = dynamics.surrogate(h - dynamics.v_threshold)
    resetting = spikes.detach() if dynamics.detach_reset else spikes
    if dynamics.reset == "soft":
        return spikes, h - resetting * dynamics.v_threshold
    return spikes, (1 - resetting) * h + resetting * dynamics.v_reset
