"""Running NIR in other libraries, each through its own importer."""

import contextlib
import copy
import importlib.metadata
import io
import logging
import math
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from snnfer._optional import require
from snnfer.converters.nir.reading import module_name
from snnfer.errors import ConversionError

SNNTORCH_DT_S = 1e-4
"""Duration of a step that the importer of snnTorch has fixed."""
_BATCHED = {"spikingjelly"}
"""Importers whose ``Flatten`` keeps the batch."""


def run_library(
    library: str, graph: Any, x: torch.Tensor, neurons: list[str], *, dt_s: float
) -> dict[str, torch.Tensor]:
    """Spikes ``[T, N, *]`` of the named neurons, as `library` computes them.

    Raises:
        ConversionError: the library refuses the graph, or cannot run it.
        MissingExtraError: it is not installed.
    """
    load = _IMPORTERS[library]
    x = x.to("cpu", torch.float32)
    batches = [x] if library in _BATCHED else x.unbind(1)  # [T, N, C, H, W], or N times [T, C, H, W]
    try:
        with _quiet():
            runs = [_run(load(copy.deepcopy(graph), dt_s), batch, neurons) for batch in batches]
    except Exception as error:
        if isinstance(error, ConversionError) or type(error).__module__.startswith("snnfer"):
            raise
        raise ConversionError(
            f"{library} cannot run the NIR graph ({type(error).__name__}: {str(error).splitlines()[0]})",
            cause="a node outside the portable profile",
            fix="export with snnfer.converters.nir.to_nir",
        ) from error
    return runs[0] if library in _BATCHED else {name: torch.stack([run[name] for run in runs], 1) for name in neurons}


def library_version(library: str) -> str:
    """Version of an installed library; nothing for snnfer itself."""
    return "" if library == "snnfer" else importlib.metadata.version(library)


def _run(network: nn.Module, x: torch.Tensor, neurons: list[str]) -> dict[str, torch.Tensor]:
    """Spikes of all steps; the network hands its state from step to step."""
    steps: dict[str, list[torch.Tensor]] = {name: [] for name in neurons}
    members = dict(network.named_children())
    with contextlib.ExitStack() as hooks, torch.inference_mode():
        for name in neurons:
            handle = members[module_name(name)].register_forward_hook(_recorder(steps[name]))
            hooks.callback(handle.remove)
        state = None
        for frame in x:
            output = network(frame) if state is None else network(frame, state)
            state = output[1] if isinstance(output, tuple) else None
    return {name: torch.stack(outputs) for name, outputs in steps.items()}


def _recorder(steps: list[torch.Tensor]) -> Any:
    def record(module: nn.Module, args: Any, output: Any) -> None:
        steps.append((output[0] if isinstance(output, tuple) else output).detach().bool())

    return record


def _spikingjelly(graph: Any, dt_s: float) -> nn.Module:
    exchange = require("spikingjelly.activation_based.nir_exchange", extra="spikingjelly")
    return exchange.import_from_nir(graph, dt=dt_s)


def _norse(graph: Any, dt_s: float) -> nn.Module:
    return require("norse.torch", extra="norse").from_nir(graph, dt=dt_s)


def _snntorch(graph: Any, dt_s: float) -> nn.Module:
    if not math.isclose(dt_s, SNNTORCH_DT_S, rel_tol=1e-6):
        raise ConversionError(
            f"a step of the NIR graph lasts {dt_s:g} s",
            expected=f"{SNNTORCH_DT_S:g} s, which snnTorch assumes in every file",
            fix="export with dt_s=1e-4 (--dt 1e-4)",
        )
    return require("snntorch.import_nir", extra="snntorch").import_from_nir(graph)


_IMPORTERS = {"spikingjelly": _spikingjelly, "norse": _norse, "snntorch": _snntorch}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the notes that importers print, log and warn with."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
