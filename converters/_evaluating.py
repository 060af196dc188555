"""Evaluation mode for the length of a run."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """The model in evaluation mode; afterwards every module has the mode that it had, frozen ones too.

    A graph has no mode and stays as it is.

    Examples:
        >>> model = nn.Sequential(nn.BatchNorm1d(2).eval(), nn.Dropout())
        >>> with evaluating(model):
        ...     [module.training for module in model]
        [False, False]
        >>> [module.training for module in model]
        [False, True]
    """
    modes = [(module, module.training) for module in model.modules()] if isinstance(model, nn.Module) else []
    try:
        for module, _ in modes:
            module.training = False
        yield
    finally:
        for module, training in modes:
            module.training = training
