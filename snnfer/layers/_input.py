"""Checks of what a layer is given: the input, the state and the neuron."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from snnfer._check import check_ndim
from snnfer.errors import ConfigError, ShapeError, StateError


def check_maps(x: torch.Tensor, *, channels: int | None = None) -> None:
    """Raise `ShapeError` unless `x` is ``[T, N, C, H, W]`` with at least one step.

    A layer with weights gives `channels`: there must be as many, of floating point.
    """
    check_ndim(x, 5, layout="[T, N, C, H, W]")
    if len(x) and channels in (None, x.shape[2]):
        if channels is not None:
            check_floating(x)
        return
    moved = channels in x.shape
    raise ShapeError(
        f"the input has shape {list(x.shape)}",
        expected=f"at least one time step{'' if channels is None else f' and {channels} channels'} [T, N, C, H, W]",
        cause="" if not len(x) else "another layout" if moved else "another modality, or a layer of another width",
        fix="convert it with snnfer.layout" if len(x) and moved else "",
    )


def check_steps(x: torch.Tensor, *, features: int | None = None) -> None:
    """Raise `ShapeError` unless `x` is ``[T, N, *]``.

    A layer with weights gives `features`: the last size must be that, of floating point.
    """
    if x.ndim >= 2 and features in (None, x.shape[-1]):
        if features is not None:
            check_floating(x)
        return
    layout = "at least two dimensions [T, N, *]" if features is None else f"[T, N, {features}]"
    flat = features is not None and x.ndim > 2 and x.shape[2:].numel() == features
    raise ShapeError(
        f"the input has shape {list(x.shape)}",
        expected=layout,
        cause="maps that are not flattened" if flat else "",
        fix="put torch.nn.Flatten(2) before this layer" if flat else "",
    )


def check_floating(x: torch.Tensor) -> None:
    """Raise `ShapeError` where a layer that calculates with real numbers is given whole numbers."""
    if not x.is_floating_point():
        raise ShapeError(
            f"the input has dtype {str(x.dtype).removeprefix('torch.')} (shape {list(x.shape)})",
            expected="floating-point values",
            cause="event counts as they are stored",
            fix="x.float()",
        )


def check_pool(x: torch.Tensor, kernel_size: int, *, padding: int = 0) -> None:
    """Raise `ShapeError` where a pooling window does not fit into the maps ``[T, N, C, H, W]``."""
    height, width = x.shape[3:]
    if min(height, width) + 2 * padding < kernel_size:
        raise ShapeError(
            f"maps of {height} x {width} pixels (shape {list(x.shape)})",
            expected=f"at least {kernel_size - 2 * padding} x {kernel_size - 2 * padding}, for a pooling window of "
            f"{kernel_size} x {kernel_size}",
            cause="an input too small for the layers before this one, or another layout",
            fix="use a larger input, or pool less",
        )


def check_state(state: Any, shape: Sequence[int], *, x: torch.Tensor) -> torch.Tensor:
    """`state`, if it is a tensor of this shape; `x` is the input that it came with."""
    found = list(state.shape) if isinstance(state, torch.Tensor) else type(state).__name__
    if found != list(shape):
        raise StateError(
            f"a state of {found} with an input of shape {list(x.shape)}",
            expected=f"a state of shape {list(shape)}",
            cause="the state of another batch or layer",
            fix="pass state=None to start from rest",
        )
    return state


def check_neuron(neuron: Any) -> None:
    """Raise `ConfigError` where a layer of one neuron was given a class of neurons, or a function that makes them."""
    if isinstance(neuron, type):
        raise ConfigError(
            f"neuron = {neuron.__name__}, a class", expected="one neuron", fix=f"neuron={neuron.__name__}()"
        )
    if neuron is not None and not isinstance(neuron, nn.Module):
        raise ConfigError(
            f"neuron is a {type(neuron).__name__}",
            expected="one neuron, such as LIF()",
            cause="a function that makes neurons, which blocks of several take" if callable(neuron) else "",
        )


def check_neuron_maker(neuron: Any) -> None:
    """Raise `ConfigError` where a block of several neurons was given one."""
    if isinstance(neuron, nn.Module):
        name = type(neuron).__name__
        raise ConfigError(
            f"neuron = {name}(...), one neuron",
            expected="a class or function that makes each neuron of the block",
            fix=f"neuron={name}, or neuron=lambda: {name}(...)",
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
