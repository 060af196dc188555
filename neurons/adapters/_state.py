"""Checks of a foreign state, shared by the adapters."""

from collections.abc import Iterable
from typing import Any

import torch

from snnfer.errors import StateError


def check_batch(state: Iterable[Any], x: torch.Tensor, *, library: str) -> None:
    """Raise `StateError` unless every tensor in `state` has the batch size of `x` ``[T, N, *]``; scalars fit."""
    for value in state:
        if isinstance(value, torch.Tensor) and value.ndim and value.shape[0] != x.shape[1]:
            raise StateError(
                f"a {library} state of shape {list(value.shape)} with an input of shape {list(x.shape)}",
                expected=f"a state of {x.shape[1]} samples",
                cause="the state of another batch",
                fix="pass state=None to start from rest",
            )
