"""Spiking neurons over a whole sequence in compiled code: one pass over time, forward and backward."""

import ctypes
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from snnfer.neurons._dynamics import Dynamics
from snnfer.neurons.kernels import _library
from snnfer.neurons.surrogate import ATan, Sigmoid, SuperSpike, Triangle

_SURROGATES = {ATan: 0, Sigmoid: 1, Triangle: 2, SuperSpike: 3}
_NO_LEAK, _TAU, _RATE, _RATES = range(4)
_ZERO, _VALUE, _SOFT = range(3)
_TYPES = {torch.float32: "f32", torch.float64: "f64"}
Order = tuple[int, ...]


class Settings(ctypes.Structure):
    """``snnfer::Settings`` of dynamics.h."""

    _fields_ = (
        *((name, ctypes.c_double) for name in ("v_threshold", "v_reset", "tau", "rate", "alpha")),
        *((name, ctypes.c_int32) for name in ("leak", "reset", "surrogate", "decay_input", "detach_reset")),
    )


def obstacle(x: torch.Tensor, dynamics: Dynamics) -> str:
    """What keeps the kernel from running on `x`; empty where it can."""
    if type(dynamics.surrogate) not in _SURROGATES:
        return f"the surrogate {type(dynamics.surrogate).__name__} is known to plain torch only"
    if x.dtype not in _TYPES:
        return f"it takes float32 and float64, not {x.dtype}"
    return ""


def spiking_sequence(
    x: torch.Tensor, v: torch.Tensor, rate: torch.Tensor | None, dynamics: Dynamics
) -> tuple[torch.Tensor, torch.Tensor]:
    """Spikes ``[T, N, *]`` and last potential ``[N, *]`` of the input `x` ``[T, N, *]``, started at `v`."""
    if torch.is_grad_enabled() and any(a is not None and a.requires_grad for a in (x, v, rate)):
        return _SpikingSequence.apply(x, v, rate, dynamics)  # type: ignore[return-value]
    spikes, _, last = _forward(x, v, rate, dynamics, keep=False)
    return spikes, last


class _SpikingSequence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, v: torch.Tensor, rate: torch.Tensor | None, dynamics: Dynamics) -> Any:
        spikes, potentials, last = _forward(x, v, rate, dynamics, keep=True)
        needs_rate = rate is not None and ctx.needs_input_grad[2]
        ctx.save_for_backward(
            potentials, rate, v if needs_rate else None, x if needs_rate and dynamics.decay_input else None
        )
        ctx.dynamics = dynamics
        ctx.needs_rate = needs_rate
        return spikes, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: torch.Tensor, grad_last: torch.Tensor) -> Any:  # type: ignore[override]
        potentials, rate, v, x = ctx.saved_tensors
        order = _memory_order(potentials)
        h, grad_s, last = _arranged(potentials, order), _arranged(grad_spikes, order), _arranged_state(grad_last, order)
        x = _arranged(x, order) if x is not None else None
        v = _arranged_state(v, order) if v is not None else None
        grad_x, grad_v = torch.empty_like(h), torch.empty_like(last)
        grad_rate = torch.empty_like(last) if ctx.needs_rate else None
        arguments = (h, grad_s, last, _rates(rate, potentials, order), v, x, grad_x, grad_v, grad_rate)
        _run("neuron_backward", h, arguments, _settings(ctx.dynamics, rate))
        back = _inverse(order)
        if grad_rate is not None:
            grad_rate = grad_rate.permute(back).sum_to_size(rate.shape)
        return grad_x.permute(0, *(axis + 1 for axis in back)), grad_v.permute(back), grad_rate, None


def _forward(
    x: torch.Tensor, v: torch.Tensor, rate: torch.Tensor | None, dynamics: Dynamics, *, keep: bool
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
    """Spikes, potentials before the reset (None unless kept) and last potential, laid out as `x`."""
    order = _memory_order(x)
    current, start = _arranged(x, order), _arranged_state(v, order)
    spikes, last = torch.empty_like(current), torch.empty_like(start)
    potentials = torch.empty_like(current) if keep else None
    arguments = (current, start, _rates(rate, x, order), spikes, potentials, last)
    _run("neuron_forward", current, arguments, _settings(dynamics, rate))
    back = _inverse(order)
    axes = (0, *(axis + 1 for axis in back))
    return spikes.permute(axes), potentials.permute(axes) if potentials is not None else None, last.permute(back)


def _run(name: str, x: torch.Tensor, arguments: tuple[torch.Tensor | None, ...], settings: Settings) -> None:
    """Call ``name`` with the addresses of `arguments` and the size of `x` ``[T, N, *]``."""
    sizes = (ctypes.c_int64(len(x)), ctypes.c_int64(x.shape[1:].numel()))
    pointers = (ctypes.c_void_p(a.data_ptr() if a is not None else None) for a in arguments)
    function = _library.function(f"{name}_{_TYPES[x.dtype]}")
    function(*pointers, *sizes, ctypes.byref(settings), ctypes.c_int(torch.get_num_threads()))


def _settings(dynamics: Dynamics, rate: torch.Tensor | None) -> Settings:
    reset = _SOFT if dynamics.reset == "soft" else _VALUE if dynamics.v_reset else _ZERO
    constant = _NO_LEAK if dynamics.tau is None else _TAU
    leak = constant if rate is None else _RATE if rate.numel() == 1 else _RATES
    return Settings(
        v_threshold=dynamics.v_threshold,
        v_reset=dynamics.v_reset,
        tau=dynamics.tau or 0.0,
        rate=rate.item() if leak == _RATE and rate is not None else 0.0,
        alpha=dynamics.surrogate.alpha,
        leak=leak,
        reset=reset,
        surrogate=_SURROGATES[type(dynamics.surrogate)],
        decay_input=dynamics.decay_input,
        detach_reset=dynamics.detach_reset,
    )


def _memory_order(x: torch.Tensor) -> Order:
    """Axes of ``[N, *]`` from the slowest to the fastest in memory: the kernel takes channels-last as it is."""
    strides = x.stride()[1:]
    return tuple(sorted(range(len(strides)), key=lambda axis: -strides[axis]))


def _inverse(order: Order) -> Order:
    return tuple(sorted(range(len(order)), key=order.__getitem__))


def _arranged(x: torch.Tensor, order: Order) -> torch.Tensor:
    """A sequence ``[T, N, *]`` with its axes in `order`, contiguous; not copied where it lies so already."""
    return x.permute(0, *(axis + 1 for axis in order)).contiguous()


def _arranged_state(v: torch.Tensor, order: Order) -> torch.Tensor:
    return v.permute(order).contiguous()


def _rates(rate: torch.Tensor | None, x: torch.Tensor, order: Order) -> torch.Tensor | None:
    """A rate per neuron, where there is more than one."""
    return None if rate is None or rate.numel() == 1 else _arranged_state(rate.expand(x.shape[1:]), order)
