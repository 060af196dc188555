"""Spiking neurons over a whole sequence in compiled code: one pass over time, forward and backward."""

import ctypes

import torch

from snnfer.neurons._dynamics import Dynamics
from snnfer.neurons.kernels import _library
from snnfer.neurons.surrogate import ATan, Sigmoid, SuperSpike, Triangle

_SURROGATES = {ATan: 0, Sigmoid: 1, Triangle: 2, SuperSpike: 3}
_NO_LEAK, _TAU, _RATE, _RATES = range(4)
_ZERO, _VALUE, _SOFT = range(3)
_TYPES = {torch.float32: "f32", torch.float64: "f64"}


class Settings(ctypes.Structure):
    """``snnfer::Settings`` of dynamics.h."""

    _fields_ = (
        *((name, ctypes.c_double) for name in ("v_threshold", "v_reset", "tau", "rate", "alpha")),
        *((name, ctypes.c_int32) for name in ("leak", "reset", "surrogate", "decay_input", "detach_reset")),
    )


def obstacle(x: torch.Tensor, dynamics: Dynamics) -> str:
    """What keeps the kernel from running on `x`; empty where it can."""
    return surrogate_obstacle(dynamics) if x.dtype in _TYPES else f"it takes float32 and float64, not {x.dtype}"


def surrogate_obstacle(dynamics: Dynamics) -> str:
    """What keeps a kernel from the surrogate gradient; empty where it knows it."""
    known = type(dynamics.surrogate) in _SURROGATES
    return "" if known else f"the surrogate {type(dynamics.surrogate).__name__} is known to plain torch only"


class CompiledNeuron:
    """The kernels of neuron.cpp, as a `snnfer.neurons.kernels._sequence.NeuronKernel`."""

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
        _run("neuron_forward", x, (x, v, rates, spikes, potentials, last), make_settings(dynamics, rate))

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
        arguments = (potentials, grad_spikes, grad_last, rates, v, x, grad_x, grad_v, grad_rate)
        _run("neuron_backward", potentials, arguments, make_settings(dynamics, rate))


def _run(name: str, x: torch.Tensor, arguments: tuple[torch.Tensor | None, ...], settings: Settings) -> None:
    """Call ``name`` with the addresses of `arguments` and the size of `x` ``[T, N, *]``."""
    sizes = (ctypes.c_int64(len(x)), ctypes.c_int64(x.shape[1:].numel()))
    pointers = (ctypes.c_void_p(a.data_ptr() if a is not None else None) for a in arguments)
    function = _library.function(f"{name}_{_TYPES[x.dtype]}")
    function(*pointers, *sizes, ctypes.byref(settings), ctypes.c_int(torch.get_num_threads()))


def make_settings(dynamics: Dynamics, rate: torch.Tensor | None) -> Settings:
    """What the kernels know about a neuron; more than one rate is passed beside it."""
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
