"""The soft spiking activation of CS3D: a hard threshold forward, a logistic slope backward."""

from typing import Any

import torch
from torch.autograd.function import once_differentiable


class _SoftSpike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, theta: float, beta: float) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.theta, ctx.beta = theta, beta
        return torch.where(x > theta, x, torch.zeros((), dtype=x.dtype, device=x.device))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return torch.sub(x, ctx.theta).mul_(ctx.beta).sigmoid_().mul_(grad), None, None


def soft_spike(x: torch.Tensor, theta: float, beta: float) -> torch.Tensor:
    """``x if x > theta else 0``, with the gradient ``sigmoid(beta (x - theta))``."""
    return _SoftSpike.apply(x, theta, beta)  # type: ignore[return-value]
