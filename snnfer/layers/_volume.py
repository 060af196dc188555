"""3-D convolutions on ``[T, N, C, H, W]``: over whole clips, or looking back alone and going on from a state."""

from typing import Any

import torch
from torch import nn

from snnfer._check import check_ndim
from snnfer.errors import ShapeError, SnnferError, StateError
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
    found = list(state.shape) if isinstance(state, torch.Tensor) else type(state).__name__
    if found != list(shape):
        raise StateError(
            f"a state of {found} with an input of shape {list(x.shape)}",
            expected=f"a state of shape {list(shape)}: the steps before the input",
            cause="the state of another batch or layer",
            fix="pass state=None to start from rest",
        )
    x = torch.cat([state, x])  # [k - 1 + T, N, C, H, W]
    return on_volume(conv, x), x[len(x) - reach :]


def check_clip(x: torch.Tensor, channels: int) -> None:
    """Raise `ShapeError` unless `x` is ``[T, N, C, H, W]`` with at least one step and `channels` channels."""
    check_ndim(x, 5, layout="[T, N, C, H, W]")
    if x.shape[2] != channels or not len(x):
        raise ShapeError(
            f"the input has shape {list(x.shape)}",
            expected=f"at least one time step and {channels} channels [T, N, C, H, W]",
            cause="another layout, or another width",
            fix="convert with snnfer.layout",
        )


def check_streams(layer: nn.Module, *, looks_ahead: bool) -> None:
    """Raise `StateError` where a layer that needs later steps is asked to go on from a state."""
    if looks_ahead:
        raise StateError(
            f"{type(layer).__name__} sees later steps and cannot stream",
            expected="a whole clip, in one call of the layer",
            fix="build it with causal=True, or chain it with torch.nn.Sequential instead of SpikingSequential",
        )


def split_state(state: Any, n: int, *, layer: nn.Module) -> tuple[Any, ...]:
    """The `n` parts of the state of a layer, all None at rest."""
    if state is None:
        return (None,) * n
    if not isinstance(state, tuple) or len(state) != n:
        found = f"{len(state)} entries" if isinstance(state, tuple) else type(state).__name__
        raise StateError(
            f"a state of {found} for {type(layer).__name__}",
            expected=f"{n} entries",
            cause="the state of another layer",
            fix="pass state=None to start from rest",
        )
    return state
