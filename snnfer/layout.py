"""Named conversions between tensor layouts; views wherever torch allows.

snnfer's public layout is ``[T, N, C, H, W]`` (time, batch, channels, height, width).

Examples:
    >>> x = torch.zeros(4, 2, 3, 8, 8)  # [T, N, C, H, W]
    >>> tnchw_to_ncthw(x).shape
    torch.Size([2, 3, 4, 8, 8])
    >>> tnchw_to_ncthw(x).data_ptr() == x.data_ptr()
    True
"""

import torch

from snnfer._check import check_ndim


def tnchw_to_ntchw(x: torch.Tensor) -> torch.Tensor:
    """``[T, N, C, H, W]`` to ``[N, T, C, H, W]`` (batch first), a view."""
    check_ndim(x, 5, layout="[T, N, C, H, W]")
    return x.transpose(0, 1)


def ntchw_to_tnchw(x: torch.Tensor) -> torch.Tensor:
    """``[N, T, C, H, W]`` (batch first) to ``[T, N, C, H, W]``, a view."""
    check_ndim(x, 5, layout="[N, T, C, H, W]")
    return x.transpose(0, 1)


def tnchw_to_ncthw(x: torch.Tensor) -> torch.Tensor:
    """``[T, N, C, H, W]`` to ``[N, C, T, H, W]``, the layout of `torch.nn.Conv3d`, a view."""
    check_ndim(x, 5, layout="[T, N, C, H, W]")
    return x.permute(1, 2, 0, 3, 4)


def ncthw_to_tnchw(x: torch.Tensor) -> torch.Tensor:
    """``[N, C, T, H, W]``, the layout of `torch.nn.Conv3d`, to ``[T, N, C, H, W]``, a view."""
    check_ndim(x, 5, layout="[N, C, T, H, W]")
    return x.permute(2, 0, 1, 3, 4)


def tnchw_to_nchwt(x: torch.Tensor) -> torch.Tensor:
    """``[T, N, C, H, W]`` to ``[N, C, H, W, T]``, the layout of lava-dl, a view."""
    check_ndim(x, 5, layout="[T, N, C, H, W]")
    return x.permute(1, 2, 3, 4, 0)


def nchwt_to_tnchw(x: torch.Tensor) -> torch.Tensor:
    """``[N, C, H, W, T]``, the layout of lava-dl, to ``[T, N, C, H, W]``, a view."""
    check_ndim(x, 5, layout="[N, C, H, W, T]")
    return x.permute(4, 0, 1, 2, 3)


def merge_time(x: torch.Tensor) -> torch.Tensor:
    """``[T, N, ...]`` to ``[T * N, ...]``: time joins the batch, for layers without memory."""
    return x.flatten(0, 1)


def split_time(x: torch.Tensor, n_steps: int) -> torch.Tensor:
    """``[T * N, ...]`` back to ``[T, N, ...]``."""
    return x.unflatten(0, (n_steps, -1))
