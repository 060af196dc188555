"""Benchmarks: protocols, runner, results store and report."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snnfer.benchmark.config import BenchmarkConfig
    from snnfer.benchmark.kinds import load_config, run
    from snnfer.benchmark.reconstruction.config import ReconstructionBenchmarkConfig
    from snnfer.benchmark.report import write_report
    from snnfer.benchmark.transfer.config import TransferConfig

__all__ = [
    "BenchmarkConfig",
    "ReconstructionBenchmarkConfig",
    "TransferConfig",
    "load_config",
    "run",
    "write_report",
]

_HOME = {
    "BenchmarkConfig": "config",
    "ReconstructionBenchmarkConfig": "reconstruction.config",
    "TransferConfig": "transfer.config",
    "load_config": "kinds",
    "run": "kinds",
    "write_report": "report",
}


def __getattr__(name: str) -> Any:
    """Names load on first use: reading a report needs no Lightning, running one no jinja2."""
    if name in _HOME:
        return getattr(importlib.import_module(f"snnfer.benchmark.{_HOME[name]}"), name)
    raise AttributeError(f"module 'snnfer.benchmark' has no attribute '{name}'")
