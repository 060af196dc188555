"""Spiking neurons over a whole sequence on CUDA: one program per block of neurons, the state in registers.

Imported when it is first needed, because importing triton takes long; nothing is compiled before the first call. With
``TRITON_INTERPRET=1`` in the environment the same code runs on the CPU, for tests.
"""

from typing import Any

import torch
import triton
import triton.language as tl

from snnfer.neurons._dynamics import Dynamics
from snnfer.neurons.kernels._neuron_cpu import make_settings, surrogate_obstacle

BLOCK = 256
WARPS = 4
NO_LEAK, TAU, RATE, RATES = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2), tl.constexpr(3)
ZERO, VALUE, SOFT = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)
ATAN, SIGMOID, TRIANGLE = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)


class TritonNeuron:
    """The kernels below, as a `snnfer.neurons.kernels._sequence.NeuronKernel`."""

    @staticmethod
    def forward(
        x: torch.Tensor,
        v: torch.Tensor,
        rate: torch.Tensor | None,
        rates: torch.Tensor | None,
        spikes: torch.Tensor,
        potentials: torch.Tensor | None,
        last: torch.Tensor,
        dynamics: Dynamics,
    ) -> None:
        if not v.numel():
            return
        keep = potentials is not None
        launch: Any = _forward[_grid(v)]
        launch(
            x, v, rates if rates is not None else v, spikes, potentials if keep else spikes, last,
            len(x), v.numel(), KEEP=keep, **_constants(dynamics, rate),
        )  # fmt: skip

    @staticmethod
    def backward(
        potentials: torch.Tensor,
        grad_spikes: torch.Tensor,
        grad_last: torch.Tensor,
        rate: torch.Tensor | None,
        rates: torch.Tensor | None,
        v: torch.Tensor | None,
        x: torch.Tensor | None,
        grad_x: torch.Tensor,
        grad_v: torch.Tensor,
        grad_rate: torch.Tensor | None,
        dynamics: Dynamics,
    ) -> None:
        if not potentials.numel():
            grad_v.copy_(grad_last)
            if grad_rate is not None:
                grad_rate.zero_()
            return
        unused = potentials
        settings = make_settings(dynamics, None)
        launch: Any = _backward[_grid(grad_v)]
        launch(
            potentials, grad_spikes, grad_last, rates if rates is not None else unused,
            v if v is not None else unused, x if x is not None else unused,
            grad_x, grad_v, grad_rate if grad_rate is not None else grad_v, len(potentials), grad_v.numel(),
            NEEDS_RATE=grad_rate is not None, SURROGATE=settings.surrogate, ALPHA=settings.alpha,
            DETACHED=bool(settings.detach_reset), **_constants(dynamics, rate),
        )  # fmt: skip


def obstacle(x: torch.Tensor, dynamics: Dynamics) -> str:
    """What keeps the kernel from running on `x`; empty where it can."""
    if x.dtype != torch.float32:
        return f"it takes float32 (and half precision), not {x.dtype}"
    return surrogate_obstacle(dynamics)


def _grid(v: torch.Tensor) -> tuple[int]:
    return (triton.cdiv(v.numel(), BLOCK),)


def _constants(dynamics: Dynamics, rate: torch.Tensor | None) -> dict[str, Any]:
    """Every operation is rounded on its own, as in the reference: no fused multiply-add."""
    settings = make_settings(dynamics, None)
    leak = settings.leak if rate is None else RATE.value if rate.numel() == 1 else RATES.value
    return {
        "scalar_rate": rate if rate is not None and rate.numel() == 1 else None,
        "threshold": settings.v_threshold,
        "rest": settings.v_reset,
        "tau": settings.tau,
        "LEAK": leak,
        "RESET": settings.reset,
        "DECAY_INPUT": bool(settings.decay_input),
        "BLOCK": BLOCK,
        "num_warps": WARPS,
        "enable_fp_fusion": False,
    }


@triton.jit
def _charge(x, v, rest, tau, k, LEAK: tl.constexpr, RESET: tl.constexpr, DECAY_INPUT: tl.constexpr):
    if LEAK == NO_LEAK:
        return v + x
    above = v if RESET == ZERO else v - rest
    d = x - above if DECAY_INPUT else above
    leaked = tl.div_rn(d, tau) if LEAK == TAU else d * k
    return leaked + v if DECAY_INPUT else (v - leaked) + x


@triton.jit
def _after_reset(h, fires, threshold, rest, RESET: tl.constexpr):
    if RESET == SOFT:
        return tl.where(fires, h - threshold, h)
    return tl.where(fires, rest, h)


@triton.jit
def _slope(u, SURROGATE: tl.constexpr, ALPHA: tl.constexpr):
    if SURROGATE == ATAN:
        z = 1.5707963267948966 * ALPHA
        return (1 / (1 + (z * z) * (u * u))) * (ALPHA / 2)
    elif SURROGATE == SIGMOID:
        e = tl.exp(-tl.abs(ALPHA * u))
        s = 1 / (1 + e)
        return ALPHA * (e * s) * s
    elif SURROGATE == TRIANGLE:
        return tl.maximum(ALPHA - (ALPHA * ALPHA) * tl.abs(u), 0.0)
    else:
        y = 1 / (1 + ALPHA * tl.abs(u))
        return y * y


@triton.jit
def _forward(
    x_ptr,
    v_ptr,
    rates_ptr,
    spikes_ptr,
    potentials_ptr,
    last_ptr,
    n_steps,
    n_neurons,
    scalar_rate,
    threshold,
    rest,
    tau,
    KEEP: tl.constexpr,
    LEAK: tl.constexpr,
    RESET: tl.constexpr,
    DECAY_INPUT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    neuron = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = neuron < n_neurons
    v = tl.load(v_ptr + neuron, mask=inside, other=0.0)
    k = v
    if LEAK == RATE:
        k = tl.load(scalar_rate)
    elif LEAK == RATES:
        k = tl.load(rates_ptr + neuron, mask=inside, other=0.0)
    at = neuron
    for _ in range(n_steps):
        x = tl.load(x_ptr + at, mask=inside, other=0.0)
        h = _charge(x, v, rest, tau, k, LEAK, RESET, DECAY_INPUT)
        fires = h >= threshold
        tl.store(spikes_ptr + at, tl.where(fires, 1.0, 0.0), mask=inside)
        if KEEP:
            tl.store(potentials_ptr + at, h, mask=inside)
        v = _after_reset(h, fires, threshold, rest, RESET)
        at += n_neurons
    tl.store(last_ptr + neuron, v, mask=inside)


@triton.jit
def _backward(
    potentials_ptr,
    grad_spikes_ptr,
    grad_last_ptr,
    rates_ptr,
    v_ptr,
    x_ptr,
    grad_x_ptr,
    grad_v_ptr,
    grad_rate_ptr,
    n_steps,
    n_neurons,
    scalar_rate,
    threshold,
    rest,
    tau,
    NEEDS_RATE: tl.constexpr,
    SURROGATE: tl.constexpr,
    ALPHA: tl.constexpr,
    DETACHED: tl.constexpr,
    LEAK: tl.constexpr,
    RESET: tl.constexpr,
    DECAY_INPUT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    neuron = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = neuron < n_neurons
    carry = tl.load(grad_last_ptr + neuron, mask=inside, other=0.0)
    k = carry
    if LEAK == RATE:
        k = tl.load(scalar_rate)
    elif LEAK == RATES:
        k = tl.load(rates_ptr + neuron, mask=inside, other=0.0)
    elif LEAK == TAU:
        k = 1 / tau
    rate_sum = tl.zeros([BLOCK], dtype=tl.float32)
    at = neuron + (n_steps - 1) * n_neurons.to(tl.int64)
    h = tl.load(potentials_ptr + at, mask=inside, other=0.0)
    for _ in range(n_steps):
        g = tl.load(grad_spikes_ptr + at, mask=inside, other=0.0)
        if not DETACHED:
            g = g - threshold * carry if RESET == SOFT else g + (rest - h) * carry
        kept = carry if RESET == SOFT else tl.where(h < threshold, carry, 0.0)
        g = kept + _slope(h - threshold, SURROGATE, ALPHA) * g
        has_before = at >= n_neurons
        before = tl.load(potentials_ptr + at - n_neurons, mask=inside & has_before, other=0.0)
        if NEEDS_RATE:
            v = _after_reset(before, before >= threshold, threshold, rest, RESET)
            v = tl.where(has_before, v, tl.load(v_ptr + neuron, mask=inside & (at < n_neurons), other=0.0))
            above = v - rest
            if DECAY_INPUT:
                above = above - tl.load(x_ptr + at, mask=inside, other=0.0)
            rate_sum -= g * above
        carry = g if LEAK == NO_LEAK else g * (1 - k)
        tl.store(grad_x_ptr + at, g * k if DECAY_INPUT and LEAK != NO_LEAK else g, mask=inside)
        h = before
        at -= n_neurons
    tl.store(grad_v_ptr + neuron, carry, mask=inside)
    if NEEDS_RATE:
        tl.store(grad_rate_ptr + neuron, rate_sum, mask=inside)
