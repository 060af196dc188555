"""Checks at the API boundary."""

from collections.abc import Sequence

import torch

from snnfer.errors import ShapeError, SnnferError


def check_ndim(x: torch.Tensor, ndim: int, *, layout: str, name: str = "input") -> None:
    """Raise `ShapeError` unless `x` has `ndim` dimensions; `layout` names them, e.g. ``[T, N, C, H, W]``."""
    if x.ndim != ndim:
        raise ShapeError(
            f"{name} has shape {list(x.shape)}",
            expected=f"{ndim} dimensions {layout}",
            cause="a missing batch or time dimension" if x.ndim < ndim else "an extra dimension",
            fix="add it with x[:, None], or see snnfer.layout for conversions" if x.ndim < ndim else "index it away",
        )


def check_values(x: object, *, name: str = "input") -> None:
    """Raise `ShapeError` unless `x` is a tensor of real, finite numbers."""
    if not isinstance(x, torch.Tensor):
        kind = f"{type(x).__module__}.{type(x).__name__}".removeprefix("builtins.")
        raise ShapeError(f"{name} is a {kind}", expected="a torch tensor", fix="pass torch.as_tensor(x)")
    if x.is_complex():
        raise ShapeError(f"{name} has the type {x.dtype}", expected="real numbers")
    if not bool(torch.isfinite(x).all()):
        raise ShapeError(f"{name} holds NaN or infinity", expected="finite values", cause="a division by zero before")


def check_labels(labels: torch.Tensor, n_classes: int) -> None:
    """Raise `ShapeError` unless `labels` are classes of a network of `n_classes` scores.

    Examples:
        >>> check_labels(torch.tensor([0, 2]), 2)
        Traceback (most recent call last):
        ...
        snnfer.errors.ShapeError: labels from 0 to 2; expected classes 0 to 1 of the network; ...
    """
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ShapeError(f"labels of the type {labels.dtype}", expected="whole numbers", fix="pass labels.long()")
    if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < n_classes:
        raise ShapeError(
            f"labels from {int(labels.min())} to {int(labels.max())}",
            expected=f"classes 0 to {n_classes - 1} of the network",
            cause="classes that are counted from 1, or labels of another data set",
        )


def check_positive(value: float, *, name: str, unit: str = "") -> None:
    """Raise `SnnferError` unless `value` is above zero."""
    if not value > 0:
        raise SnnferError(f"{name} = {value}", expected=f"a value above 0{' ' + unit if unit else ''}")


def check_choice(value: str, choices: Sequence[str], *, name: str) -> None:
    """Raise `SnnferError` unless `value` is one of `choices`."""
    if value not in choices:
        raise SnnferError(f"{name} = '{value}'", expected="one of " + ", ".join(choices))
