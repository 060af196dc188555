"""Run a netx file on lava's fixed-point simulator, in its own environment, and compare it with the integer twin."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from snnfer.converters.lava.comparison import LayerComparison, RunComparison, compare_layer
from snnfer.converters.lava.launch import run_worker
from snnfer.converters.lava.netx import read_netx
from snnfer.converters.loihi.graph import IntegerGraph
from snnfer.converters.loihi.twin import TwinResult, prepare_input, run_twin
from snnfer.errors import ConfigError

MESSAGE_BITS = 8
"""Bits of a graded input."""


@dataclass(frozen=True)
class LavaResult:
    """What lava simulated.

    Args:
        spikes: Per layer that was recorded, booleans ``[T, N, *shape]``: frame t is the step of the input it answers.
        n_steps: Steps that were simulated, for all samples one after the other.
        build_s: Time that lava took to read the file and compile the network, in seconds.
        run_s: Time of the simulation alone.
    """

    spikes: dict[str, torch.Tensor]
    n_steps: int
    build_s: float
    run_s: float


@dataclass(frozen=True)
class Comparison(RunComparison):
    """The integer twin of a netx file beside lava.

    Args:
        twin: The twin's run.
        lava: Lava's run.
    """

    twin: TwinResult
    lava: LavaResult

    def lava_scores(self, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Mean votes ``[N, n_classes]`` of lava's spikes; see `TwinResult.scores`."""
        last = self.twin.layers[-1]
        spikes = replace(last, spikes=self.lava.spikes[last.name])
        return replace(self.twin, layers=(*self.twin.layers[:-1], spikes)).scores(lengths)


def run_lava(
    path: str | os.PathLike[str],
    x: torch.Tensor,
    *,
    layers: Sequence[str] = (),
    graded: bool = False,
    graph: IntegerGraph | None = None,
) -> LavaResult:
    """Simulate a netx file with lava (``Loihi2SimCfg``, ``fixed_pt``), every sample from rest.

    Samples follow each other, and each layer is reset when the first frame of the next one reaches it. Lava runs in a
    process of its own, by the interpreter of `find_lava_python`.

    Args:
        path: The file.
        x: Input ``[T, N, *input_shape]``, as for `run_twin`.
        layers: Names of the layers to record; none for all.
        graded: Whether the input carries whole numbers of 8 bits instead of spikes.
        graph: What `read_netx` gave for the file; read where None.

    Raises:
        ExportError: the file cannot be run (`read_netx`), or lava failed.
        MissingExtraError: there is no environment with lava.
        ShapeError: the input does not fit.
        ConfigError: an unknown layer.
    """
    graph = read_netx(path) if graph is None else graph
    frames = prepare_input(graph, x.cpu(), graded=graded).to(torch.uint8).numpy()
    names = [layer.name for layer in graph.layers]
    for name in layers:
        if name not in names:
            raise ConfigError(f"layer '{name}'", expected="some of " + ", ".join(names))
    numbers = [names.index(name) + 1 for name in layers or names]
    job = {
        "path": str(Path(path).absolute()),
        "x": frames,
        "layers": np.array(numbers),
        "message_bits": MESSAGE_BITS if graded else 0,
    }
    arrays = run_worker("worker.py", job, what=f"'{path}'")
    spikes = {name: _spikes(arrays, number) for name, number in zip(layers or names, numbers, strict=True)}
    return LavaResult(spikes, int(arrays["n_steps"]), float(arrays["build_s"]), float(arrays["run_s"]))


def compare(
    path: str | os.PathLike[str], x: torch.Tensor, *, graded: bool = False, graph: IntegerGraph | None = None
) -> Comparison:
    """Run a netx file with the integer twin and with lava, and compare every spike of every layer.

    Args:
        path: The file.
        x: Input ``[T, N, *input_shape]``.
        graded: Whether the input carries whole numbers of 8 bits instead of spikes.
        graph: What `read_netx` gave for the file; read where None.

    Raises:
        SnnferError: as `run_lava` and `run_twin`.
    """
    graph = read_netx(path) if graph is None else graph
    lava = run_lava(path, x, graded=graded, graph=graph)
    started = time.perf_counter()
    twin = run_twin(graph, x, graded=graded)
    twin_s = time.perf_counter() - started
    return compare_runs(graph, twin, lava, twin_s=twin_s)


def compare_runs(graph: IntegerGraph, twin: TwinResult, lava: LavaResult, *, twin_s: float) -> Comparison:
    """Compare two runs that recorded every layer of `graph`."""
    layers = tuple(_compare_layer(layer.name, twin[layer.name].spikes, lava.spikes) for layer in graph.layers)
    return Comparison(
        layers,
        n_frames=twin.n_steps * twin.n_samples,
        twin_s=twin_s,
        lava_build_s=lava.build_s,
        lava_run_s=lava.run_s,
        twin=twin,
        lava=lava,
    )


def _compare_layer(name: str, expected: torch.Tensor | None, found: dict[str, torch.Tensor]) -> LayerComparison:
    if expected is None or name not in found:
        raise ConfigError(f"the spikes of layer '{name}' were not recorded", fix='pass record="all"')
    return compare_layer(name, expected, found[name])


def _spikes(arrays: dict[str, np.ndarray], number: int) -> torch.Tensor:
    shape = arrays[f"shape{number}"].tolist()
    bits = np.unpackbits(arrays[f"layer{number}"], count=int(np.prod(shape)))
    return torch.from_numpy(bits.reshape(shape)).bool()
