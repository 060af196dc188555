"""Batch normalisation, neuron and max pooling behind a convolution in compiled code, forward and backward.

The convolution's output is the only large tensor that is kept for the backward pass: potentials are computed again,
tile by tile.
"""

import ctypes
from typing import Any, NamedTuple

import torch
from torch.autograd.function import once_differentiable

from snnfer.neurons._dynamics import Dynamics
from snnfer.neurons.kernels import _library
from snnfer.neurons.kernels._neuron_cpu import make_settings

_NONE, _STORED, _BATCH = range(3)
_TYPES = {torch.float32: "f32", torch.float64: "f64"}


class BlockSettings(ctypes.Structure):
    """``snnfer::BlockSettings`` of block.h."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("steps", "samples", "channels", "height", "width", "pool")),
        ("eps", ctypes.c_double),
        ("norm", ctypes.c_int32),
    )


class Normalisation(NamedTuple):
    """Batch normalisation of ``[T, N, C, H, W]``: scale and offset ``[C]`` (None: 1 and 0), and its statistics."""

    weight: torch.Tensor | None
    bias: torch.Tensor | None
    mean: torch.Tensor
    """Mean ``[C]``."""
    spread: torch.Tensor
    """Stored variance ``[C]``, or 1 / deviation of `of_batch`."""
    eps: float
    of_batch: bool
    """Whether mean and spread are those of the input itself, so that gradients go through them."""


def statistics(y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and (biased) variance ``[C]`` of ``[T, N, C, H, W]`` in float64; the same bits for any number of threads."""
    pixels = _pixels(y)
    n_channels = pixels.shape[-1]
    mean, variance = torch.empty(2, n_channels, dtype=torch.float64).unbind()
    sizes = (ctypes.c_int64(pixels.numel() // n_channels), ctypes.c_int64(n_channels))
    _call("block_statistics", y.dtype, (pixels, mean, variance), *sizes)
    return mean, variance


def block_sequence(
    y: torch.Tensor,
    v: torch.Tensor | None,
    rate: torch.Tensor | None,
    dynamics: Dynamics,
    *,
    norm: Normalisation | None,
    pool: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pooled spikes ``[T, N, C, H / pool, W / pool]`` and last potential ``[N, C, H, W]``, both channels-last.

    Args:
        y: What a convolution gives, ``[T, N, C, H, W]``; read as it lies if channels-last, copied otherwise.
        v: Initial potential ``[N, C, H, W]``; None: at rest.
        rate: Leak rate, a scalar or ``[C, 1, 1]``; None: a constant one, or none.
        dynamics: Constants of the neuron.
        norm: Normalisation before the neuron; None for none.
        pool: Side and stride of the max pooling; 1 for none.
    """
    weight, bias = (norm.weight, norm.bias) if norm is not None else (None, None)
    inputs = (y, weight, bias, v, rate)
    if torch.is_grad_enabled() and any(a is not None and a.requires_grad for a in inputs):
        return _BlockSequence.apply(*inputs, dynamics, norm, pool)  # type: ignore[return-value]
    return _forward(_pixels(y), v, rate, dynamics, norm, pool)


class _BlockSequence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        y: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        v: torch.Tensor | None,
        rate: torch.Tensor | None,
        dynamics: Dynamics,
        norm: Normalisation | None,
        pool: int,
    ) -> Any:
        pixels = _pixels(y)
        statistics = (None, None) if norm is None else (norm.mean, norm.spread)
        ctx.save_for_backward(pixels, weight, bias, v, rate, *statistics)
        ctx.set_materialize_grads(False)
        ctx.dynamics, ctx.pool = dynamics, pool
        ctx.norm = None if norm is None else (norm.eps, norm.of_batch)
        return _forward(pixels, v, rate, dynamics, norm, pool)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: torch.Tensor | None, grad_last: torch.Tensor | None) -> Any:  # type: ignore[override]
        pixels, weight, bias, v, rate, mean, spread = ctx.saved_tensors
        norm = None if ctx.norm is None else Normalisation(weight, bias, mean, spread, *ctx.norm)
        needs_y, needs_weight, needs_bias, needs_v, needs_rate = ctx.needs_input_grad[:5]
        grad_y = torch.empty_like(pixels) if needs_y else None
        grad_v = torch.empty_like(pixels[0]) if needs_v else None
        sums = torch.empty(3, pixels.shape[-1], dtype=torch.float64)
        gradients = (_last_axis(grad_spikes), _last_axis(grad_last), grad_y, grad_v, sums)
        block, neuron = _block_settings(pixels, norm, ctx.pool), make_settings(ctx.dynamics, rate)
        arguments = (pixels, *_norm_arguments(norm), _last_axis(v), _channel_rates(rate), *gradients)
        sizes = (ctypes.c_int(needs_rate), ctypes.byref(block), ctypes.byref(neuron))
        _call("block_backward", pixels.dtype, arguments, *sizes)
        if norm is not None and norm.of_batch and grad_y is not None:
            _through_statistics(pixels, grad_y, norm, sums)
        parameters = (
            (sums[1] * _inverse_deviation(norm)).to(weight.dtype) if needs_weight and norm is not None else None,
            sums[0].to(bias.dtype) if needs_bias else None,
        )
        grad_rate = sums[2].view(-1, 1, 1).sum_to_size(rate.shape).to(rate.dtype) if needs_rate else None
        return _channels_first(grad_y), *parameters, _channels_first(grad_v), grad_rate, None, None, None


def _forward(
    pixels: torch.Tensor,
    v: torch.Tensor | None,
    rate: torch.Tensor | None,
    dynamics: Dynamics,
    norm: Normalisation | None,
    pool: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    n_steps, n_samples, height, width, n_channels = pixels.shape
    spikes = pixels.new_empty(n_steps, n_samples, height // pool, width // pool, n_channels)
    last = pixels.new_empty(pixels.shape[1:])
    arguments = (pixels, *_norm_arguments(norm), _last_axis(v), _channel_rates(rate), spikes, last)
    block, neuron = _block_settings(pixels, norm, pool), make_settings(dynamics, rate)
    _call("block_forward", pixels.dtype, arguments, ctypes.byref(block), ctypes.byref(neuron))
    return spikes.movedim(-1, -3), last.movedim(-1, -3)


def _through_statistics(pixels: torch.Tensor, grad: torch.Tensor, norm: Normalisation, sums: torch.Tensor) -> None:
    """Turn the gradient of the normalised input into that of the input, in place."""
    n_channels = pixels.shape[-1]
    sizes = (ctypes.c_int64(pixels.numel() // n_channels), ctypes.c_int64(n_channels))
    _call("block_through_statistics", pixels.dtype, (pixels, grad, norm.mean, norm.spread, norm.weight, sums), *sizes)


def _inverse_deviation(norm: Normalisation) -> torch.Tensor:
    return norm.spread if norm.of_batch else torch.rsqrt(norm.spread + norm.eps)


def _call(name: str, dtype: torch.dtype, tensors: tuple[torch.Tensor | None, ...], *others: Any) -> None:
    """Call ``name`` with the addresses of `tensors`, the `others` and the number of threads."""
    pointers = (ctypes.c_void_p(a.data_ptr() if a is not None else None) for a in tensors)
    _library.function(f"{name}_{_TYPES[dtype]}")(*pointers, *others, ctypes.c_int(torch.get_num_threads()))


def _block_settings(pixels: torch.Tensor, norm: Normalisation | None, pool: int) -> BlockSettings:
    n_steps, n_samples, height, width, n_channels = pixels.shape
    kind = _NONE if norm is None else _BATCH if norm.of_batch else _STORED
    eps = 0.0 if norm is None else norm.eps
    return BlockSettings(n_steps, n_samples, n_channels, height, width, pool, eps, kind)


def _norm_arguments(norm: Normalisation | None) -> tuple[torch.Tensor | None, ...]:
    if norm is None:
        return (None,) * 4
    return tuple(a.contiguous() if a is not None else None for a in (norm.mean, norm.spread, norm.weight, norm.bias))


def _channel_rates(rate: torch.Tensor | None) -> torch.Tensor | None:
    """A rate per channel, where there is more than one."""
    return None if rate is None or rate.numel() == 1 else rate.contiguous()


def _pixels(x: torch.Tensor) -> torch.Tensor:
    """``[..., C, H, W]`` as a contiguous ``[..., H, W, C]``; not copied if it lies so already."""
    return x.movedim(-3, -1).contiguous()


def _last_axis(x: torch.Tensor | None) -> torch.Tensor | None:
    return _pixels(x) if x is not None else None


def _channels_first(x: torch.Tensor | None) -> torch.Tensor | None:
    """The reverse of `_pixels`, a view."""
    return x.movedim(-1, -3) if x is not None else None
