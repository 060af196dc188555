"""Synaptic operations of weighted layers: dense, and on the nonzero inputs alone."""

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
    reached = _counter(module, x.device)(per_group).sum()
    return round(reached.item()) * (module.out_channels // module.groups)


def _counter(module: Any, device: torch.device) -> nn.Module:
    """`module` with one channel per group and all weights 1, in float64, where counts are exact."""
    options = {
        "stride": module.stride,
        "padding": module.padding,
        "dilation": module.dilation,
        "groups": module.groups,
        "padding_mode": module.padding_mode,
        "bias": False,
        "device": device,
        "dtype": torch.float64,
    }
    if isinstance(module, TRANSPOSED):
        options["output_padding"] = module.output_padding
    kind: Any = next(cls for cls in WEIGHTED if isinstance(module, cls))
    counter = kind(module.groups, module.groups, module.kernel_size, **options).requires_grad_(False)
    counter.weight.fill_(1)
    return counter


def is_binary(x: torch.Tensor) -> bool:
    """Whether all entries are 0 or 1."""
    return bool(((x == 0) | (x == 1)).all())
