"""Run a netx file on lava's fixed-point simulator, in its own environment, and compare it with the integer twin."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

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
class Mismatch:
    """Where two runs differ first in a layer: `layer`, `step` and `sample` from 0, and index of the neuron."""

    layer: str
    step: int
    sample: int
    neuron: tuple[int, ...]


@dataclass(frozen=True)
class LayerComparison:
    """One layer in both runs.

    Args:
        name: Name of the layer.
        n_values: Neurons times steps times samples.
        n_spikes: Spikes of the twin.
        n_mismatches: Values that differ.
        first: The first of them; None where there is none.
    """

    name: str
    n_values: int
    n_spikes: int
    n_mismatches: int
    first: Mismatch | None


@dataclass(frozen=True)
class Comparison:
    """The integer twin beside lava.

    Args:
        layers: In the order of computation.
        twin: The twin's run.
        lava: Lava's run.
        twin_s: Time of the twin's run, in seconds.
        n_frames: Frames of all samples: T times N.
    """

    layers: tuple[LayerComparison, ...]
    twin: TwinResult
    lava: LavaResult
    twin_s: float
    n_frames: int

    @property
    def n_mismatches(self) -> int:
        """Values that differ in any layer."""
        return sum(layer.n_mismatches for layer in self.layers)

    @property
    def first(self) -> Mismatch | None:
        """First mismatch of the first layer that has one: later ones may follow from it."""
        return next((layer.first for layer in self.layers if layer.first), None)

    def lava_scores(self, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Mean votes ``[N, n_classes]`` of lava's spikes; see `TwinResult.scores`."""
        last = self.twin.layers[-1]
        spikes = replace(last, spikes=self.lava.spikes[last.name])
        return replace(self.twin, layers=(*self.twin.layers[:-1], spikes)).scores(lengths)

    def table(self) -> str:
        """One line per layer, then the verdict and the speed of both."""
        width = max(len("layer"), *(len(layer.name) for layer in self.layers))
        lines = [f"{'layer':<{width}} {'neurons x steps':>16} {'spikes':>12} {'mismatches':>12}"]
        for layer in self.layers:
            lines.append(f"{layer.name:<{width}} {layer.n_values:>16,} {layer.n_spikes:>12,} {layer.n_mismatches:>12,}")
        return "\n".join([*lines, self.verdict(), self.speed()])

    def verdict(self) -> str:
        """Zero mismatches, or where the first one is."""
        if self.first is None:
            return "lava and the twin agree in every spike of every layer"
        first = self.first
        return (
            f"lava and the twin differ in {self.n_mismatches:,} values, first in layer '{first.layer}' at step "
            f"{first.step} of sample {first.sample}, neuron {list(first.neuron)}"
        )

    def speed(self) -> str:
        """Frames per second of both."""
        twin, lava = self.n_frames / self.twin_s, self.n_frames / self.lava.run_s
        return (
            f"twin {twin:,.0f} frames per second, lava {lava:,.1f} (and {self.lava.build_s:.1f} s to build): "
            f"{twin / lava:,.0f} times faster"
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        layers = [
            {"name": layer.name, "values": layer.n_values, "spikes": layer.n_spikes, "mismatches": layer.n_mismatches}
            for layer in self.layers
        ]
        return {
            "layers": layers,
            "mismatches": self.n_mismatches,
            "verdict": self.verdict(),
            "frames": self.n_frames,
            "twin_s": self.twin_s,
            "lava_build_s": self.lava.build_s,
            "lava_run_s": self.lava.run_s,
        }


def run_lava(
    path: str | os.PathLike[str], x: torch.Tensor, *, layers: Sequence[str] = (), graded: bool = False
) -> LavaResult:
    """Simulate a netx file with lava (``Loihi2SimCfg``, ``fixed_pt``), every sample from rest.

    Samples follow each other, and each layer is reset when the first frame of the next one reaches it. Lava runs in a
    process of its own, by the interpreter of `find_lava_python`.

    Args:
        path: The file.
        x: Input ``[T, N, *input_shape]``, as for `run_twin`.
        layers: Names of the layers to record; none for all.
        graded: Whether the input carries whole numbers of 8 bits instead of spikes.

    Raises:
        ExportError: the file cannot be run (`read_netx`), or lava failed.
        MissingExtraError: there is no environment with lava.
        ShapeError: the input does not fit.
        ConfigError: an unknown layer.
    """
    graph = read_netx(path)
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


def compare(path: str | os.PathLike[str], x: torch.Tensor, *, graded: bool = False) -> Comparison:
    """Run a netx file with the integer twin and with lava, and compare every spike of every layer.

    Args:
        path: The file.
        x: Input ``[T, N, *input_shape]``.
        graded: Whether the input carries whole numbers of 8 bits instead of spikes.

    Raises:
        SnnferError: as `run_lava` and `run_twin`.
    """
    graph = read_netx(path)
    lava = run_lava(path, x, graded=graded)
    started = time.perf_counter()
    twin = run_twin(graph, x, graded=graded)
    twin_s = time.perf_counter() - started
    return compare_runs(graph, twin, lava, twin_s=twin_s)


def compare_runs(graph: IntegerGraph, twin: TwinResult, lava: LavaResult, *, twin_s: float) -> Comparison:
    """Compare two runs that recorded every layer of `graph`."""
    layers = tuple(_compare_layer(layer.name, twin[layer.name].spikes, lava.spikes) for layer in graph.layers)
    return Comparison(layers, twin, lava, twin_s, twin.n_steps * twin.n_samples)


def _compare_layer(name: str, expected: torch.Tensor | None, found: dict[str, torch.Tensor]) -> LayerComparison:
    if expected is None or name not in found:
        raise ConfigError(f"the spikes of layer '{name}' were not recorded", fix='pass record="all"')
    differs = expected.cpu() != found[name]
    n_mismatches = int(differs.count_nonzero())
    first = None
    if n_mismatches:
        step = int(differs.flatten(1).any(1).int().argmax())
        sample, *neuron = differs[step].nonzero()[0].tolist()
        first = Mismatch(name, step, sample, tuple(neuron))
    return LayerComparison(name, differs.numel(), int(expected.count_nonzero()), n_mismatches, first)


def _spikes(arrays: dict[str, np.ndarray], number: int) -> torch.Tensor:
    shape = arrays[f"shape{number}"].tolist()
    bits = np.unpackbits(arrays[f"layer{number}"], count=int(np.prod(shape)))
    return torch.from_numpy(bits.reshape(shape)).bool()
