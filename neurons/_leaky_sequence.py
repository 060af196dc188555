"""The leaky integrator (no threshold) over a whole sequence, with a hand-written backward pass."""

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from snnfer.neurons._dynamics import Dynamics, charge


def leaky_sequence(x: torch.Tensor, v: torch.Tensor, dynamics: Dynamics) -> torch.Tensor:
    """Potentials ``[T, N, *]`` of a leaky integrator driven by `x` ``[T, N, *]`` and started at `v` ``[N, *]``."""
    if torch.is_grad_enabled() and (x.requires_grad or v.requires_grad):
        return _LeakySequence.apply(x, v, dynamics)  # type: ignore[return-value]
    return _run(x, v, dynamics)


def _run(x: torch.Tensor, v: torch.Tensor, dynamics: Dynamics) -> torch.Tensor:
    potentials = torch.empty_like(x)
    for x_t, h_t in zip(x.unbind(0), potentials.unbind(0), strict=True):
        charge(x_t, v, h_t, rate=None, dynamics=dynamics)
        v = h_t
    return potentials


class _LeakySequence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, v: torch.Tensor, dynamics: Dynamics) -> torch.Tensor:
        ctx.dynamics = dynamics
        return _run(x, v, dynamics)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:  # type: ignore[override]
        k = 1 / ctx.dynamics.tau
        grad_x = torch.empty_like(grad)
        grad_v = torch.zeros_like(grad[0])
        for g_t, out in zip(reversed(grad.unbind(0)), reversed(grad_x.unbind(0)), strict=True):
            torch.add(grad_v, g_t, out=out)
            torch.mul(out, 1 - k, out=grad_v)
        return grad_x.mul_(k) if ctx.dynamics.decay_input else grad_x, grad_v, None
