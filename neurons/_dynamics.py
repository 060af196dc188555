"""The membrane equation, shared by all leaky neurons: charge, fire, reset."""

import dataclasses
from typing import Literal

import torch

from snnfer.errors import SnnferError
from snnfer.neurons.surrogate import Surrogate

Reset = Literal["hard", "soft"]


@dataclasses.dataclass(frozen=True)
class Dynamics:
    """Constants of a leaky integrate-and-fire neuron; without `tau` the leak rate is a tensor, or none."""

    surrogate: Surrogate
    v_threshold: float = 1.0
    v_reset: float = 0.0
    reset: Reset = "hard"
    decay_input: bool = False
    detach_reset: bool = True
    tau: float | None = None

    def __post_init__(self) -> None:
        if self.reset not in ("hard", "soft"):
            raise SnnferError(f"reset = {self.reset!r}", expected="'hard' (to v_reset) or 'soft' (minus v_threshold)")
        if not self.v_threshold > self.v_reset:
            raise SnnferError(
                f"v_threshold = {self.v_threshold} with v_reset = {self.v_reset}",
                expected="a threshold above the reset potential",
                cause="the neuron would fire at rest",
            )


def charge(
    x: torch.Tensor, v: torch.Tensor, out: torch.Tensor, *, rate: torch.Tensor | None, dynamics: Dynamics
) -> None:
    """Write the potential before the reset into `out`: leak towards v_reset, add the input `x` to `v`.

    Every operation is rounded on its own (no fused multiply-add), so that other implementations can repeat the bits.
    """
    if rate is None and dynamics.tau is None:
        torch.add(v, x, out=out)
        return
    above_rest = torch.sub(v, dynamics.v_reset, out=out) if dynamics.v_reset else v
    if dynamics.decay_input:
        leak(torch.sub(x, above_rest, out=out), out, rate=rate, tau=dynamics.tau).add_(v)
    else:
        torch.sub(v, leak(above_rest, out, rate=rate, tau=dynamics.tau), out=out).add_(x)


def leak(d: torch.Tensor, out: torch.Tensor, *, rate: torch.Tensor | None, tau: float | None) -> torch.Tensor:
    """Write ``d * rate``, or ``d / tau`` where there is no rate, into `out`."""
    return torch.mul(d, rate, out=out) if rate is not None else torch.div(d, tau, out=out)  # type: ignore[arg-type]


def reset_potential(h: torch.Tensor, spikes: torch.Tensor, out: torch.Tensor, *, dynamics: Dynamics) -> torch.Tensor:
    """Write the potential after the reset into `out`: exact, because spikes are 0 or 1."""
    if dynamics.reset == "soft":
        return torch.add(h, spikes, alpha=-dynamics.v_threshold, out=out)
    torch.addcmul(h, h, spikes, value=-1, out=out)
    return out.add_(spikes, alpha=dynamics.v_reset) if dynamics.v_reset else out


def rate_factor(
    x: torch.Tensor, v: torch.Tensor, out: torch.Tensor, *, dynamics: Dynamics
) -> tuple[torch.Tensor, float]:
    """Derivative of the charged potential with respect to the leak rate, as (tensor, sign); may use `out`."""
    above_rest = torch.sub(v, dynamics.v_reset, out=out) if dynamics.v_reset else v
    if dynamics.decay_input:
        return torch.sub(x, above_rest, out=out), 1.0
    return above_rest, -1.0
