"""Weights from other projects: the tensors of a file, and what of it does not fit a network."""

from collections.abc import Mapping
from typing import Any

import torch

from snnfer.errors import CheckpointError

N_NAMED = 4  # keys of each kind that an error names


def plain_state(state_dict: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The tensors of what ``torch.load(path, weights_only=True)`` gave, by their names without ``module.``.

    Raises:
        CheckpointError: it is no dictionary of tensors, and holds none under ``state_dict``.
    """
    if not isinstance(state_dict, Mapping):
        raise CheckpointError(
            f"the weights are a {type(state_dict).__name__}",
            expected="a dictionary of tensors",
            fix="torch.load(path, weights_only=True)",
        )
    inner = state_dict.get("state_dict", state_dict)
    if not isinstance(inner, Mapping) or not all(isinstance(value, torch.Tensor) for value in inner.values()):
        raise CheckpointError(
            "the weights hold other things than tensors", expected="a state dict of names and tensors"
        )
    in_parallel = bool(inner) and all(key.startswith("module.") for key in inner)
    return {key.removeprefix("module.") if in_parallel else key: value for key, value in inner.items()}


def mismatches(
    names: Mapping[str, str], own: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor]
) -> list[str]:
    """What is missing, unexpected or of another shape, one text per kind; empty where the weights fit.

    Args:
        names: For each tensor of the network its name in the file.
        own: Tensors of the network.
        given: Tensors of the file.
    """
    expected = set(names.values())
    shapes = [
        f"{names[key]} {list(given[names[key]].shape)} instead of {list(value.shape)}"
        for key, value in own.items()
        if names[key] in given and given[names[key]].shape != value.shape
    ]
    lists = {
        "missing": [name for name in names.values() if name not in given],
        "unexpected": [key for key in given if key not in expected],
        "of another shape": shapes,
    }
    return [f"{len(found)} {kind} ({_shorten(found)})" for kind, found in lists.items() if found]


def _shorten(found: list[str]) -> str:
    more = f", and {len(found) - N_NAMED} more" if len(found) > N_NAMED else ""
    return ", ".join(found[:N_NAMED]) + more
