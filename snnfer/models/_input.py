"""Checks of the input of a model, shared by all models."""

from collections.abc import Sequence

import torch

from snnfer._check import check_ndim
from snnfer.errors import ShapeError


def check_video(x: torch.Tensor, *, in_channels: int, size: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """Return the input ``[T, N, C, H, W]`` in `dtype`; raise `ShapeError` where it does not fit the model."""
    check_ndim(x, 5, layout="[T, N, C, H, W]", name="the model's input")
    if x.shape[2] != in_channels:
        raise ShapeError(
            f"the input has {x.shape[2]} channels (shape {list(x.shape)})",
            expected=f"{in_channels} channels in [T, N, C, H, W]",
            cause="another modality, or another layout",
            fix=f"create_model(..., in_channels={x.shape[2]}), or convert with snnfer.layout",
        )
    if list(x.shape[3:]) != list(size):
        raise ShapeError(
            f"the input has {x.shape[3]} x {x.shape[4]} pixels (shape {list(x.shape)})",
            expected=f"{size[0]} x {size[1]} pixels",
            fix=f"CountFrames(..., size=({size[0]}, {size[1]})), or create_model(..., size={tuple(x.shape[3:])})",
        )
    if not len(x):
        raise ShapeError(f"the input has shape {list(x.shape)}", expected="at least one time step")
    return x.to(dtype)


def check_lengths(lengths: torch.Tensor | None, x: torch.Tensor) -> torch.Tensor:
    """Valid steps of each sample ``[N]`` on the device of `x` ``[T, N, ...]``; all steps where `lengths` is None."""
    n_steps, n_samples = x.shape[:2]
    if lengths is None:
        return torch.full((n_samples,), n_steps, device=x.device)
    if lengths.shape != (n_samples,):
        raise ShapeError(f"lengths has shape {list(lengths.shape)}", expected=f"[{n_samples}], one per sample")
    if lengths.is_floating_point() or (n_samples and not (1 <= int(lengths.min()) <= int(lengths.max()) <= n_steps)):
        raise ShapeError(
            f"lengths = {lengths.tolist()}", expected=f"whole numbers of time steps between 1 and {n_steps}"
        )
    return lengths.to(x.device)


def check_pooled_time(lengths: torch.Tensor | None, n_steps: int, *, stride: int) -> None:
    """Raise `ShapeError` where a sample of a clip of `n_steps` steps is too short to be pooled by `stride` in time."""
    shortest = n_steps if lengths is None or not len(lengths) else int(lengths.min())
    if shortest < stride:
        raise ShapeError(
            f"a clip of {shortest} time step{'' if shortest == 1 else 's'}",
            expected=f"at least {stride}, because the network pools time by {stride}",
            cause="a short clip, or an input that is not [T, N, C, H, W]",
            fix="use shorter time bins or longer clips, or convert with snnfer.layout",
        )


def time_mean(x: torch.Tensor, lengths: torch.Tensor, *, start: torch.Tensor | int = 0) -> torch.Tensor:
    """Mean over the steps from `start` to below `lengths`: ``[T, N, *]``, ``[N]`` and ``[N]`` to ``[N, *]``."""
    shape = (1, -1) + (1,) * (x.ndim - 2)
    steps = torch.arange(len(x), device=x.device)[:, None]
    valid = (start <= steps) & (steps < lengths)  # [T, N]
    total = x.masked_fill(~valid.reshape(len(x), *shape[1:]), 0).sum(0)
    return total / (lengths - start).reshape(shape[1:])
