"""When batch normalisation, neuron and max pooling run as one compiled kernel, and how.

It is an optimisation of the three modules and must not be seen: where anything watches or changes one of them, they run
themselves.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as _torch_module

from snnfer.layers._input import check_pool
from snnfer.layers.norm import ThresholdDependentBatchNorm2d, TimeBatchNorm2d
from snnfer.layers.pooling import SpikingMaxPool2d
from snnfer.layout import merge_time, split_time
from snnfer.neurons import IF, LIF, PLIF
from snnfer.neurons.functional import prepare
from snnfer.neurons.kernels import _block_cpu, _neuron_cpu
from snnfer.neurons.kernels._select import chosen_kernel

_NORMS = (TimeBatchNorm2d, ThresholdDependentBatchNorm2d)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_FEW_PIXELS = 25
"""Of an output map: below, oneDNN convolves faster with the pixels last (512 channels, 4 x 4: 26 against 34 ms)."""
_METHODS = ("forward", "forward_with_state", "dynamics")


def is_fusible(norm: nn.Module, neuron: nn.Module, pool: nn.Module, x: torch.Tensor) -> bool:
    """Whether one kernel may stand in for the three modules behind a convolution of `x`."""
    return (
        type(x) in (torch.Tensor, nn.Parameter)
        and not _is_traced()
        and chosen_kernel(x)[0] == "cpu"
        and type(neuron) in (IF, LIF, PLIF)
        and type(norm) in (*_NORMS, nn.Identity)
        and _is_tiling(pool)
        and not _is_watched((norm, neuron, pool))
    )


def convolve(conv: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    """Convolution of ``[T, N, C, H, W]`` with the channels last in memory, where that is faster."""
    frames = merge_time(x)
    if frames.shape[2] * frames.shape[3] < _FEW_PIXELS * conv.stride[0] * conv.stride[1]:
        frames = frames.contiguous()
    elif frames.shape[1] == 1:  # the layout of one channel is a matter of its stride
        frames = frames.squeeze(1).unsqueeze(-1).movedim(-1, 1)
    else:
        frames = frames.contiguous(memory_format=torch.channels_last)
    return split_time(conv(frames), len(x))


def fused_block(
    norm: nn.Module, neuron: Any, pool: nn.Module, y: torch.Tensor, state: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Pooled spikes and the last potential of the current `y` ``[T, N, C, H, W]``; None where the kernel cannot."""
    dynamics, rate = neuron.dynamics()
    if _obstructs(norm, y, rate) or _neuron_cpu.obstacle(y, dynamics):
        return None
    side = pool.kernel_size if isinstance(pool, SpikingMaxPool2d) else 1
    check_pool(y, side)
    if state is not None:
        prepare(y, state, dynamics.v_reset)
    terms = None if isinstance(norm, nn.Identity) else _normalisation(norm, y)
    return _block_cpu.block_sequence(y, state, rate, dynamics, norm=terms, pool=side)


def _obstructs(norm: Any, y: torch.Tensor, rate: torch.Tensor | None) -> bool:
    """Whether shapes or dtypes are such that the modules must compute, or complain, themselves."""
    n_channels = y.shape[2]
    if rate is not None and (rate.dtype != y.dtype or (rate.numel() > 1 and rate.shape != (n_channels, 1, 1))):
        return True
    if not y.numel() or isinstance(norm, nn.Identity):
        return not y.numel()
    tensors = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    fits = all(a is None or (a.dtype == y.dtype and a.shape == (n_channels,)) for a in tensors)
    return not fits or y.numel() == n_channels  # one value has no variance: torch says so


def _normalisation(norm: Any, y: torch.Tensor) -> _block_cpu.Normalisation:
    """Terms of the normalisation of `y`; updates the stored statistics as `torch.nn.BatchNorm2d` does."""
    if not norm.training and norm.running_mean is not None:
        return _block_cpu.Normalisation(
            norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.eps, of_batch=False
        )
    mean, variance = _block_cpu.statistics(y)
    if norm.training and norm.track_running_stats and norm.running_mean is not None:
        _update(norm, mean, variance * (y.numel() / (y.numel() - y.shape[2])))
    spread = (variance + norm.eps).rsqrt()
    return _block_cpu.Normalisation(
        norm.weight, norm.bias, mean.to(y.dtype), spread.to(y.dtype), norm.eps, of_batch=True
    )


@torch.no_grad()
def _update(norm: Any, mean: torch.Tensor, variance: torch.Tensor) -> None:
    """Move the stored statistics towards those of the batch."""
    momentum = norm.momentum or 0.0
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
        momentum = 1 / norm.num_batches_tracked.item() if norm.momentum is None else norm.momentum
    for stored, found in ((norm.running_mean, mean), (norm.running_var, variance)):
        # as torch does without counting it: earlier passes that kept the tensor can still be gone back
        stored.data.copy_((1 - momentum) * stored.double() + momentum * found)


def _is_tiling(pool: nn.Module) -> bool:
    """Whether the windows touch, or there is no pooling."""
    if type(pool) is SpikingMaxPool2d:
        plain = pool.padding == 0 and pool.dilation == 1 and not pool.ceil_mode and not pool.return_indices
        return plain and isinstance(pool.kernel_size, int) and pool.stride == pool.kernel_size
    return type(pool) is nn.Identity


def _is_watched(modules: Iterable[nn.Module]) -> bool:
    """Whether a hook, an observer or a replaced method would miss the call of a module."""
    if any(getattr(_torch_module, f"_global{kind}", None) for kind in _HOOKS):
        return True
    return any(
        any(getattr(module, kind) for kind in _HOOKS) or any(name in module.__dict__ for name in _METHODS)
        for module in modules
    )


def _is_traced() -> bool:
    """Whether torch's operations are recorded or replaced, so that they must take place."""
    return (
        torch.jit.is_tracing()
        or torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._len_torch_function_stack() > 0
    )
