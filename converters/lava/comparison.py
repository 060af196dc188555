"""The twin beside lava, value by value: what differs, where first, and how fast both were."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from snnfer.converters._silence import SILENT, warn_of_silence


@dataclass(frozen=True)
class Mismatch:
    """Where two runs differ first in a layer: `layer`, `step` and `sample` from 0, and index of the neuron.

    A step is that of the input, of sigma-delta networks that of the simulation.
    """

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
        n_spikes: Spikes or messages of the twin.
        n_mismatches: Values that differ.
        first: The first of them; None where there is none.
    """

    name: str
    n_values: int
    n_spikes: int
    n_mismatches: int
    first: Mismatch | None

    @property
    def silent(self) -> bool:
        """Whether neither run sent anything, so that there was nothing to compare."""
        return not (self.n_spikes or self.n_mismatches)


@dataclass(frozen=True)
class RunComparison:
    """A run of the integer twin beside one of lava.

    Args:
        layers: In the order of computation.
        n_frames: Frames of all samples: T times N.
        twin_s: Time of the twin's run, in seconds.
        lava_build_s: Time that lava took to read the file and compile the network.
        lava_run_s: Time of lava's simulation alone.
    """

    layers: tuple[LayerComparison, ...]
    n_frames: int
    twin_s: float
    lava_build_s: float
    lava_run_s: float

    sent: ClassVar[str] = "spike"
    """What neurons send."""

    @property
    def n_mismatches(self) -> int:
        """Values that differ in any layer."""
        return sum(layer.n_mismatches for layer in self.layers)

    @property
    def silent_layers(self) -> tuple[str, ...]:
        """Layers that sent nothing in either run: their agreement says nothing."""
        return tuple(layer.name for layer in self.layers if layer.silent)

    @property
    def first(self) -> Mismatch | None:
        """First mismatch of the first layer that has one: later ones may follow from it."""
        return next((layer.first for layer in self.layers if layer.first), None)

    def table(self) -> str:
        """One line per layer, then the verdict and the speed of both."""
        width = max(len("layer"), *(len(layer.name) for layer in self.layers))
        lines = [f"{'layer':<{width}} {'neurons x steps':>16} {self.sent + 's':>12} {'mismatches':>12}"]
        for layer in self.layers:
            mismatches = SILENT if layer.silent else f"{layer.n_mismatches:,}"
            lines.append(f"{layer.name:<{width}} {layer.n_values:>16,} {layer.n_spikes:>12,} {mismatches:>12}")
        warning = warn_of_silence(self.silent_layers, len(self.layers), sent=self.sent)
        return "\n".join([*lines, self.verdict(), *filter(None, [warning]), self.speed()])

    def verdict(self) -> str:
        """Zero mismatches, or where the first one is."""
        if self.first is None:
            return f"lava and the twin agree in every {self.sent} of every layer"
        first = self.first
        return (
            f"lava and the twin differ in {self.n_mismatches:,} values, first in layer '{first.layer}' at step "
            f"{first.step} of sample {first.sample}, neuron {list(first.neuron)}"
        )

    def speed(self) -> str:
        """Frames per second of both."""
        twin, lava = self.n_frames / self.twin_s, self.n_frames / self.lava_run_s
        return (
            f"twin {twin:,.0f} frames per second, lava {lava:,.1f} (and {self.lava_build_s:.1f} s to build): "
            f"{twin / lava:,.0f} times faster"
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        layers = [
            {
                "name": layer.name,
                "values": layer.n_values,
                f"{self.sent}s": layer.n_spikes,
                "mismatches": layer.n_mismatches,
            }
            for layer in self.layers
        ]
        return {
            "layers": layers,
            "mismatches": self.n_mismatches,
            "silent_layers": list(self.silent_layers),
            "verdict": self.verdict(),
            "frames": self.n_frames,
            "twin_s": self.twin_s,
            "lava_build_s": self.lava_build_s,
            "lava_run_s": self.lava_run_s,
        }


def compare_layer(name: str, expected: torch.Tensor, found: torch.Tensor) -> LayerComparison:
    """Compare what a layer sent in two runs, ``[T, N, *shape]`` each."""
    expected = expected.cpu()
    differs = expected != found
    n_mismatches = int(differs.count_nonzero())
    first = None
    if n_mismatches:
        step = int(differs.flatten(1).any(1).int().argmax())
        sample, *neuron = differs[step].nonzero()[0].tolist()
        first = Mismatch(name, step, sample, tuple(neuron))
    return LayerComparison(name, differs.numel(), int(expected.count_nonzero()), n_mismatches, first)
