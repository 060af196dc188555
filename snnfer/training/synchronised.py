"""Batch normalisation over the batches of all processes that train together."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode


@contextmanager
def synchronised_norms(model: nn.Module) -> Iterator[None]:
    r"""Let every batch normalisation in `model` use the statistics of all processes while it trains.

    .. math::
        n = \sum_r n_r, \quad \mu = \frac1n \sum_r n_r \mu_r, \quad
        \sigma^2 = \frac1n \sum_r n_r \left(\sigma_r^2 + (\mu_r - \mu)^2\right)

    over the processes r, so that several small batches are normalised as one large batch. Gradients pass through the
    statistics to all processes. It works for layers of every number of dimensions, on every device that the processes
    can exchange tensors of; `torch.nn.SyncBatchNorm` needs GPUs. Parameters and buffers stay as they are. Layers in
    evaluation mode keep their stored statistics.

    References:
        Chan, Golub and LeVeque, "Algorithms for Computing the Sample Variance", The American Statistician 1983,
        section 2 (statistics of joined samples).
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    for norm in norms:
        norm.forward = functools.partial(_forward, norm.forward)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward


class SynchronisedNorms(Callback):
    """`synchronised_norms` during training, where several processes train."""

    def __init__(self) -> None:
        self._active: Any = None

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if trainer.world_size > 1:
            self._active = synchronised_norms(pl_module)
            self._active.__enter__()

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._leave()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        if self._active is not None:
            self._active.__exit__(None, None, None)
            self._active = None


def _forward(forward: Callable[[torch.Tensor], torch.Tensor], x: Any) -> Any:
    with _Synchronised():
        return forward(x)


class _Synchronised(TorchFunctionMode):
    """Replaces the normalisation of a batch, whatever the layer does before and after it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is nn.functional.batch_norm:
            return _batch_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _batch_norm(
    x: torch.Tensor,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> torch.Tensor:
    """As `torch.nn.functional.batch_norm`."""
    if not training:
        return nn.functional.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    count, mean, variance = joint_statistics(x)
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((variance * count / (count - 1)).to(running_var.dtype), momentum)
    spread = (variance + eps).rsqrt()
    y = _Normalise.apply(x, mean.to(spread.dtype), spread, float(count))
    shape = (1, -1, *(1,) * (x.ndim - 2))
    y = y if weight is None else y * weight.to(y.dtype).view(shape)
    y = y if bias is None else y + bias.to(y.dtype).view(shape)
    return y.to(x.dtype)


@torch.no_grad()
def joint_statistics(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Number of values per channel, mean and biased variance per channel ``[C]`` of ``[N, C, ...]``, in float64.

    Every process must call it at the same time, and gets the same bits.
    """
    n = x.numel() // x.shape[1] if x.shape[1] else 0
    values = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    dimensions = [d for d in range(x.ndim) if d != 1]
    if n:
        variance, mean = torch.var_mean(values, dimensions, correction=0)
    else:
        variance = mean = values.new_zeros(x.shape[1])
    own = torch.stack([torch.full_like(mean, n), mean, variance]).double()  # [3, C]
    everyone = [torch.empty_like(own) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(everyone, own)
    counts, means, variances = torch.stack(everyone).unbind(1)  # [processes, C] each
    count = counts.sum(0)
    mean = (counts * means).sum(0) / count
    return count[0], mean, (counts * (variances + (means - mean).square())).sum(0) / count


class _Normalise(torch.autograd.Function):
    """``(x - mean) * spread``, with the gradient that reaches x of every process through mean and spread."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, mean: torch.Tensor, spread: torch.Tensor, count: float) -> torch.Tensor:
        ctx.count = count
        ctx.save_for_backward(x, mean, spread)
        return _standardise(x, mean, spread)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:  # type: ignore[override]
        (gradient,) = gradients
        x, mean, spread = ctx.saved_tensors
        y = _standardise(x, mean, spread)
        dimensions = [d for d in range(x.ndim) if d != 1]
        sums = torch.stack([gradient.sum(dimensions), (gradient * y).sum(dimensions)]).double()  # [2, C]
        torch.distributed.all_reduce(sums)
        shape = (1, -1, *(1,) * (x.ndim - 2))
        own, along = ((part / ctx.count).to(y.dtype).view(shape) for part in sums)
        return ((gradient - own - y * along) * spread.to(y.dtype).view(shape)).to(x.dtype), None, None, None


def _standardise(x: torch.Tensor, mean: torch.Tensor, spread: torch.Tensor) -> torch.Tensor:
    shape = (1, -1, *(1,) * (x.ndim - 2))
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    return (x.to(dtype) - mean.to(dtype).view(shape)) * spread.to(dtype).view(shape)
