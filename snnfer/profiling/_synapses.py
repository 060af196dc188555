"""Synaptic operations of weighted layers: dense, and on the nonzero inputs alone."""

import copy
import math
from typing import Any

import torch
from torch import nn

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
WEIGHTED = (*CONVOLUTIONS, *TRANSPOSED, nn.Linear)


def dense_macs(module: Any, x: torch.Tensor, y: torch.Tensor) -> int:
    """Multiply-accumulates of a call, padding included, bias left out (the convention of torch's FLOP counter)."""
    if isinstance(module, nn.Linear):
        return y.numel() * module.in_features
    kernel = math.prod(module.kernel_size)
    if isinstance(module, TRANSPOSED):
        return x.numel() * kernel * (module.out_channels // module.groups)
    return y.numel() * kernel * (module.in_channels // module.groups)


def nonzero_operations(module: Any, x: torch.Tensor) -> int:
    """Operations that the nonzero entries of the input `x` cause: the sum of their exact fan-outs.

    An input in the corner of an image under a 3 x 3 kernel with padding 1 reaches 4 positions, not 9. All output
    channels of a group see the same inputs, so one channel per group with a kernel of ones counts them.
    """
    nonzero = (x != 0).double()
    if isinstance(module, nn.Linear):
        return int(nonzero.sum().item()) * module.out_features
    spatial_ndim = len(module.kernel_size)
    if nonzero.ndim == spatial_ndim + 1:
        nonzero = nonzero.unsqueeze(0)
    per_group = nonzero.unflatten(1, (module.groups, -1)).sum(2)  # [B, groups, *]
    reached = _run_as_counter(module, per_group).sum()
    return round(reached.item()) * (module.out_channels // module.groups)


def _run_as_counter(module: Any, x: torch.Tensor) -> torch.Tensor:
    """What `module` gives for ``[B, groups, *]`` with one channel per group and weights 1, in float64 (exact counts).

    Its own forward is called, because a subclass may pad there, as TensorFlow's "SAME" convolutions of timm do.
    """
    counter = copy.copy(module)
    ones = torch.ones(module.groups, 1, *module.kernel_size, dtype=x.dtype, device=x.device)
    counter._parameters = {"weight": nn.Parameter(ones, requires_grad=False), "bias": None}
    counter.in_channels = counter.out_channels = module.groups
    return type(module).forward(counter, x)


def is_binary(x: torch.Tensor) -> bool:
    """Whether all entries are 0 or 1."""
    return bool(((x == 0) | (x == 1)).all())
