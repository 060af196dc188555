"""3-D convolutions on ``[T, N, C, H, W]``: over whole clips, or looking back alone and going on from a state."""

from typing import Any

import torch
from torch import nn

from snnfer.errors import SnnferError, StateError
from snnfer.layers._input import check_state
from snnfer.layout import ncthw_to_tnchw, tnchw_to_ncthw


def make_conv(
    in_channels: int, out_channels: int, kernel_size: tuple[int, int, int], *, groups: int = 1, causal: bool = False
) -> nn.Conv3d:
    """Convolution without bias that keeps height and width; time is kept too, or is left to `convolve_back`."""
    if any(side < 1 or side % 2 == 0 for side in kernel_size):
        raise SnnferError(f"kernel_size = {tuple(kernel_size)}", expected="odd numbers, so that the size stays")
    time, height, width = (side // 2 for side in kernel_size)
    padding = (0 if causal else time, height, width)
    return nn.Conv3d(in_channels, out_channels, kernel_size, padding=padding, groups=groups, bias=False)


def on_volume(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Apply a module on ``[N, C, T, H, W]``, such as `torch.nn.Conv3d`, to ``[T, N, C, H, W]``."""
    return ncthw_to_tnchw(module(tnchw_to_ncthw(x)))


def convolve_back(conv: nn.Conv3d, x: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Convolve ``[T, N, C, H, W]`` so that no step sees a later one.

    Args:
        conv: Convolution without padding in time.
        x: At least one step.
        state: The steps before `x` that the kernel reaches, ``[k - 1, N, C, H, W]``; zeros where None.

    Returns:
        The result ``[T, N, C_out, H, W]``, and the state after the last step.
    """
    reach = conv.kernel_size[0] - 1
    shape = (reach, *x.shape[1:])
    if state is None:
        state = x.new_zeros(shape)
    x = torch.cat([check_state(state, shape, x=x), x])  # [k - 1 + T, N, C, H, W]
    return on_volume(conv, x), x[len(x) - reach :]


def check_streams(layer: nn.Module, *, looks_ahead: bool) -> None:
    """Raise `StateError` where a layer that needs later steps is asked to go on from a state."""
    if looks_ahead:
        raise StateError(
            f"{type(layer).__name__} sees later steps and cannot stream",
            expected="a whole clip, in one call of the layer",
            fix="build it with causal=True, or chain it with torch.nn.Sequential instead of SpikingSequential",
        )
