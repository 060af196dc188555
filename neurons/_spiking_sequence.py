"""The reference implementation of a spiking neuron over a whole sequence, with a hand-written backward pass.

Both directions run one step at a time on preallocated tensors, so that a step stays in the cache and autograd records
one node instead of ten per step. Only the potentials before the reset and the spikes are kept for the backward pass.
"""

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from snnfer.neurons._dynamics import Dynamics, charge, rate_factor, reset_potential


def spiking_sequence(
    x: torch.Tensor, v: torch.Tensor, rate: torch.Tensor | None, dynamics: Dynamics
) -> tuple[torch.Tensor, torch.Tensor]:
    """Spikes ``[T, N, *]`` and last potential ``[N, *]`` of the input `x` ``[T, N, *]``, started at `v`."""
    if torch.is_grad_enabled() and any(a is not None and a.requires_grad for a in (x, v, rate)):
        return _SpikingSequence.apply(x, v, rate, dynamics)  # type: ignore[return-value]
    spikes, last = torch.empty_like(x), torch.empty_like(v)
    _run(x, v, rate, dynamics, spikes=spikes, charged=[torch.empty_like(v)] * len(x), last=last)
    return spikes, last


class _SpikingSequence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, v: torch.Tensor, rate: torch.Tensor | None, dynamics: Dynamics) -> Any:
        spikes, charged, last = torch.empty_like(x), torch.empty_like(x), torch.empty_like(v)
        _run(x, v, rate, dynamics, spikes=spikes, charged=charged.unbind(0), last=last)
        needs_rate = rate is not None and ctx.needs_input_grad[2]
        ctx.save_for_backward(
            charged,
            spikes,
            rate,
            v if needs_rate else None,
            x if needs_rate and dynamics.decay_input else None,
        )
        ctx.dynamics = dynamics
        return spikes, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: torch.Tensor, grad_last: torch.Tensor) -> Any:  # type: ignore[override]
        charged, spikes, rate, v, x = ctx.saved_tensors
        return *_run_backward(charged, spikes, rate, v, x, grad_spikes, grad_last, ctx.dynamics), None


def _run(
    x: torch.Tensor,
    v: torch.Tensor,
    rate: torch.Tensor | None,
    dynamics: Dynamics,
    *,
    spikes: torch.Tensor,
    charged: Any,
    last: torch.Tensor,
) -> None:
    """Fill `spikes`, `charged` (one tensor per step) and `last`."""
    last.copy_(v)
    for x_t, s_t, h_t in zip(x.unbind(0), spikes.unbind(0), charged, strict=True):
        charge(x_t, last, h_t, rate=rate, dynamics=dynamics)
        torch.ge(h_t, dynamics.v_threshold, out=s_t)
        reset_potential(h_t, s_t, last, dynamics=dynamics)


def _run_backward(
    charged: torch.Tensor,
    spikes: torch.Tensor,
    rate: torch.Tensor | None,
    v: torch.Tensor | None,
    x: torch.Tensor | None,
    grad_spikes: torch.Tensor,
    grad_last: torch.Tensor,
    dynamics: Dynamics,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Gradients of the input, the initial potential and the leak rate."""
    grad_x = torch.empty_like(charged)
    grad_v = torch.empty_like(grad_last).copy_(grad_last)
    scratch, previous = torch.empty_like(grad_v), torch.empty_like(grad_v)
    grad_rate = torch.zeros_like(grad_v) if v is not None else None
    k = rate if rate is not None else (1 / dynamics.tau if dynamics.tau is not None else None)
    h, s, g_s, g_x = (tensor.unbind(0) for tensor in (charged, spikes, grad_spikes, grad_x))
    inputs = x.unbind(0) if x is not None else g_x
    for t in range(len(h) - 1, -1, -1):
        _fire_backward(h[t], s[t], g_s[t], grad_v, scratch, out=g_x[t], dynamics=dynamics)
        if grad_rate is not None:
            v_before = reset_potential(h[t - 1], s[t - 1], previous, dynamics=dynamics) if t else v
            factor, sign = rate_factor(inputs[t], v_before, scratch, dynamics=dynamics)  # type: ignore[arg-type]
            grad_rate.addcmul_(g_x[t], factor, value=sign)
        if k is None:
            grad_v.copy_(g_x[t])
        else:
            torch.mul(g_x[t], 1 - k, out=grad_v)
            if dynamics.decay_input:
                g_x[t].mul_(k)
    return grad_x, grad_v, grad_rate.sum_to_size(rate.shape) if grad_rate is not None else None  # type: ignore[union-attr]


def _fire_backward(
    h: torch.Tensor,
    s: torch.Tensor,
    grad_s: torch.Tensor,
    grad_v: torch.Tensor,
    scratch: torch.Tensor,
    *,
    out: torch.Tensor,
    dynamics: Dynamics,
) -> None:
    """Write the gradient of the charged potential into `out`; overwrites `grad_v` and `scratch`."""
    if not dynamics.detach_reset:
        grad_s = _through_reset(h, grad_s, grad_v, dynamics)
    if dynamics.reset == "hard":
        grad_v.addcmul_(grad_v, s, value=-1)
    slope = dynamics.surrogate.derivative_(torch.sub(h, dynamics.v_threshold, out=scratch))
    torch.addcmul(grad_v, slope, grad_s, out=out)


def _through_reset(h: torch.Tensor, grad_s: torch.Tensor, grad_v: torch.Tensor, dynamics: Dynamics) -> torch.Tensor:
    """Gradient of the spikes plus what reaches them through the reset."""
    if dynamics.reset == "soft":
        return torch.add(grad_s, grad_v, alpha=-dynamics.v_threshold)
    return torch.addcmul(grad_s, dynamics.v_reset - h, grad_v)
