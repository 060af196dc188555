"""Checks of what a layer is given."""

import torch

from snnfer._check import check_ndim
from snnfer.errors import ShapeError


def check_maps(x: torch.Tensor, *, channels: int | None = None) -> None:
    """Raise `ShapeError` unless `x` is ``[T, N, C, H, W]`` with at least one step, and `channels` channels if given."""
    check_ndim(x, 5, layout="[T, N, C, H, W]")
    if not len(x):
        raise ShapeError(f"the input has shape {list(x.shape)}", expected="at least one time step [T, N, C, H, W]")
    if channels is not None and x.shape[2] != channels:
        raise ShapeError(
            f"input of {x.shape[2]} channels, shape {list(x.shape)}",
            expected=f"{channels} channels [T, N, {channels}, H, W]",
            cause="another layout" if channels in x.shape else "another modality or number of polarities",
            fix="see snnfer.layout for conversions" if channels in x.shape else f"build the layer for {x.shape[2]}",
        )
