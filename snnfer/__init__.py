"""snnfer: spiking neural networks that read faces from event cameras.

The names below load on first use, so that ``import snnfer`` costs little more than numpy and torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_SUBMODULES = (
    "benchmark",
    "converters",
    "datasets",
    "errors",
    "events",
    "faces",
    "layers",
    "layout",
    "metrics",
    "models",
    "neurons",
    "plot",
    "profiling",
    "representations",
    "synth",
    "training",
)
_FUNCTIONS = {
    "create_model": "snnfer.models",
    "list_models": "snnfer.models",
    "load_model": "snnfer.training",
}

__all__ = ["__version__", *_SUBMODULES, *_FUNCTIONS]

if TYPE_CHECKING:
    from snnfer import (
        benchmark,
        converters,
        datasets,
        errors,
        events,
        faces,
        layers,
        layout,
        metrics,
        models,
        neurons,
        plot,
        profiling,
        representations,
        synth,
        training,
    )
    from snnfer.models import create_model, list_models
    from snnfer.training import load_model


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"snnfer.{name}")
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(_FUNCTIONS[name]), name)
    raise AttributeError(f"module 'snnfer' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
