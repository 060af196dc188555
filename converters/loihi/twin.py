"""The integer twin: what a Loihi-style chip computes, bit for bit, in batched torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from snnfer._check import check_choice, check_ndim, check_values
from snnfer.converters.graph import Shape
from snnfer.converters.loihi.graph import ACCUMULATOR_LIMIT, IntegerGraph, IntegerLayer
from snnfer.converters.loihi.neurons import Extremes, Registers, fire
from snnfer.converters.loihi.synapses import accumulate, fan_out
from snnfer.errors import ConfigError, ShapeError

Mode = Literal["zero_latency", "free_running"]
_CHUNK = 1 << 22
"""Neurons times steps times samples that are computed at once: 16 MB of float32."""


@dataclass(frozen=True)
class LayerTrace:
    """What one layer did.

    Args:
        name: Name of the layer.
        spikes: Booleans ``[T, N, *shape]``; None where they were not recorded.
        n_neurons: Neurons of the layer.
        n_spikes: Spikes of all neurons, steps and samples.
        synaptic_operations: Synapses that a spike reached, weights of zero left out.
        peak_current: Largest magnitude of a current before it is wrapped to 24 bits.
        peak_voltage: Largest magnitude of a potential before it is clipped to 24 bits.
        wraps: Currents that were wrapped: each one is an error of sign.
        clips: Potentials that were clipped.
    """

    name: str
    spikes: torch.Tensor | None
    n_neurons: int
    n_spikes: int
    synaptic_operations: int
    peak_current: int
    peak_voltage: int
    wraps: int
    clips: int

    @property
    def peak(self) -> float:
        """Largest current or potential as a share of the 24-bit register; above 1 it overflowed."""
        return max(self.peak_current, self.peak_voltage) / ACCUMULATOR_LIMIT


@dataclass(frozen=True)
class TwinResult:
    """What a network did.

    Args:
        layers: One trace per layer.
        n_steps: Steps that were computed, per sample.
        n_samples: Samples.
        mode: Timing; in ``free_running`` layer l (from 1) shows frame t at step t + l.
        votes: Output neurons per class.
    """

    layers: tuple[LayerTrace, ...]
    n_steps: int
    n_samples: int
    mode: Mode
    votes: int

    def __getitem__(self, name: str) -> LayerTrace:
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise ConfigError(f"layer '{name}'", expected="one of " + ", ".join(layer.name for layer in self.layers))

    def scores(self, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Mean votes ``[N, n_classes]`` over the valid steps of each sample, as `SpikingClassifier` gives them.

        Args:
            lengths: Valid steps of each sample ``[N]``; all where None.
        """
        spikes = self.layers[-1].spikes
        if spikes is None:
            raise ConfigError("the spikes of the last layer were not recorded", fix='pass record="output"')
        if self.mode == "free_running":
            spikes = spikes[len(self.layers) :]  # the first frame reaches the last layer then
        votes = spikes.double().unflatten(2, (-1, self.votes)).mean(3)  # [T, N, n_classes]
        if lengths is None:
            return votes.mean(0)
        valid = torch.arange(len(votes), device=votes.device)[:, None] < lengths.to(votes.device)
        return (votes * valid[..., None]).sum(0) / lengths.to(votes)[:, None]


def run_twin(
    graph: IntegerGraph,
    x: torch.Tensor,
    *,
    mode: Mode = "zero_latency",
    graded: bool = False,
    record: Literal["all", "output", "none"] | Sequence[str] = "all",
) -> TwinResult:
    r"""Run an integer network; every sum, product and rounding is that of lava's ``fixed_pt`` models.

    Args:
        graph: The network.
        x: Input ``[T, N, *graph.input_shape]``, whole numbers of any dtype; each sample starts from rest.
        mode: ``zero_latency``: a frame passes all layers in its own step, as when the chip resets every layer at the
            start of a sample and layer l is read l steps later. ``free_running``: each layer works one step behind the
            one before it, and biases act from the first step on, as on a chip that is never reset; T + n_layers steps
            are computed, the input being blank after T.
        graded: Whether the input may carry numbers (Loihi 2, 8 bits); otherwise everything but 0 is one spike, as on
            Loihi 1.
        record: Layers whose spikes are kept: ``all``, ``output``, ``none``, or names.

    Returns:
        One `LayerTrace` per layer.

    Shape:
        - Input: :math:`(T, N, C, H, W)` or :math:`(T, N, F)`.
        - Spikes of a layer: :math:`(T, N, *)` with its own shape; :math:`T + n_\text{layers}` steps in free running.

    Raises:
        ShapeError: the input does not fit the network, is empty, or is graded and not made of whole numbers.
        ConfigError: `record` names an unknown layer.

    References:
        Davies et al., "Loihi: a neuromorphic manycore processor with on-chip learning", IEEE Micro 38(1), 2018.

    Examples:
        >>> import numpy as np
        >>> layer = IntegerLayer("fc", "dense", np.array([[60]]), np.array([0]), 100, 4096, 2048, 100.0, (1,))
        >>> result = run_twin(IntegerGraph((layer,), (1,)), torch.ones(6, 1, 1))
        >>> result["fc"].spikes.int().flatten().tolist()  # 60, 90, 105: a spike; and again
        [0, 0, 1, 0, 0, 1]
        >>> result["fc"].synaptic_operations, result["fc"].peak_voltage == 105 * 64
        (6, True)
    """
    check_choice(mode, ("zero_latency", "free_running"), name="mode")
    x = prepare_input(graph, x, graded=graded)
    largest = int(x.max())
    delay = 1 if mode == "free_running" else 0
    steps = len(x) + delay * len(graph.layers)
    runners = [
        LayerRunner(layer, shape, x.shape[1], x.device, delay=delay, largest_input=largest if i == 0 else 1)
        for i, (layer, shape) in enumerate(zip(graph.layers, graph.input_shapes, strict=True))
    ]
    kept = _kept(graph, record)
    spikes = {
        layer.name: torch.empty(steps, x.shape[1], *layer.shape, dtype=torch.bool, device=x.device)
        for layer in graph.layers
        if layer.name in kept
    }
    with torch.no_grad():
        for start, stop in chunks(graph, steps, x.shape[1]):
            running = _frames(x, start, stop)
            for layer, runner in zip(graph.layers, runners, strict=True):
                running = runner(running)
                if layer.name in kept:
                    spikes[layer.name][start:stop] = running
    traces = tuple(runner.trace(spikes.get(runner.layer.name)) for runner in runners)
    return TwinResult(traces, steps, x.shape[1], mode, graph.votes)


class LayerRunner:
    """One layer that is fed runs of steps, and remembers its registers and the frames on their way.

    Args:
        layer: The layer.
        input_shape: Shape of its input.
        n_samples: Samples of the batch.
        device: Where its registers are.
        delay: Steps between a frame and its arrival, beyond those of the time taps.
        largest_input: Largest magnitude of an input.
    """

    def __init__(
        self,
        layer: IntegerLayer,
        input_shape: Shape,
        n_samples: int,
        device: torch.device,
        *,
        delay: int = 0,
        largest_input: int = 1,
    ) -> None:
        self.layer, self.input_shape, self.largest_input = layer, input_shape, largest_input
        self.registers = Registers.at_rest(layer, n_samples, device)
        self.extremes = Extremes()
        self.inputs = torch.zeros(input_shape, dtype=torch.float64, device=device)
        self.n_spikes = 0
        self._taps = layer.time_taps
        self._past = torch.zeros(delay + layer.time_taps - 1, n_samples, *input_shape, device=device)

    def __call__(self, frames: torch.Tensor) -> torch.Tensor:
        """Spikes ``[T, N, *layer.shape]`` of the next steps, from frames ``[T, N, *]``."""
        frames = frames.reshape(*frames.shape[:2], *self.input_shape).to(self._past.dtype)
        if len(self._past):
            frames = torch.cat([self._past, frames])
            self._past = frames[len(frames) - len(self._past) :].clone()
            frames = frames[: len(frames) - len(self._past) + self._taps - 1]
        sums = accumulate(self.layer, frames, largest_input=self.largest_input)
        arrived = frames[self._taps - 1 :]
        self.inputs += (arrived if self.largest_input == 1 else arrived.ne(0).float()).sum((0, 1))
        spikes = fire(self.layer, sums, self.registers, self.extremes)
        self.n_spikes += int(spikes.count_nonzero())
        return spikes

    def trace(self, spikes: torch.Tensor | None) -> LayerTrace:
        """What the layer has done so far."""
        operations = int((self.inputs.cpu() * fan_out(self.layer, self.input_shape)).sum())
        seen = self.extremes
        return LayerTrace(
            self.layer.name,
            spikes,
            self.layer.n_neurons,
            self.n_spikes,
            operations,
            seen.peak_current,
            seen.peak_voltage,
            seen.wraps,
            seen.clips,
        )


def run_layer(
    graph: IntegerGraph, layer: IntegerLayer, x: torch.Tensor, *, largest_input: int = 1
) -> tuple[torch.Tensor, LayerRunner]:
    """Spikes ``[T, N, *layer.shape]`` of one layer alone, from rest, and the runner that has seen them.

    Args:
        graph: The network.
        layer: The layer, or one that stands in for it under its name.
        x: What it receives ``[T, N, *]``.
        largest_input: Largest magnitude in `x`.
    """
    shape = dict(zip((other.name for other in graph.layers), graph.input_shapes, strict=True))[layer.name]
    runner = LayerRunner(layer, shape, x.shape[1], x.device, largest_input=largest_input)
    with torch.no_grad():
        spikes = [runner(x[start:stop]) for start, stop in chunks(graph, len(x), x.shape[1])]
    return torch.cat(spikes), runner


def prepare_input(graph: IntegerGraph, x: torch.Tensor, *, graded: bool) -> torch.Tensor:
    """The input as the chip sees it, float32 ``[T, N, *]``.

    Raises:
        ShapeError: it does not fit.
    """
    layout = "[T, N, C, H, W]" if len(graph.input_shape) == 3 else "[T, N, F]"
    check_values(x)
    check_ndim(x, 2 + len(graph.input_shape), layout=layout)
    if tuple(x.shape[2:]) != graph.input_shape or not x.numel():
        raise ShapeError(
            f"input has shape {list(x.shape)}",
            expected=f"{layout} with {list(graph.input_shape)} behind the first two, and at least one step",
            cause="another layout, or data of another size",
            fix="see snnfer.layout for conversions",
        )
    if not graded:
        return (x != 0).float()
    if bool((x < 0).any()) or bool((x > 255).any()) or (x.is_floating_point() and not torch.equal(x, x.round())):
        raise ShapeError(
            f"graded input from {float(x.min()):g} to {float(x.max()):g}",
            expected="whole numbers from 0 to 255, as 8-bit messages carry",
            cause="normalised frames, or counts beyond 255",
            fix="give event counts, or run without graded input",
        )
    return x.float()


def chunks(graph: IntegerGraph, steps: int, n_samples: int) -> list[tuple[int, int]]:
    """Runs of steps whose largest layer still fits a modest piece of memory."""
    largest = max(layer.n_neurons for layer in graph.layers) * max(n_samples, 1)
    size = max(1, _CHUNK // largest)
    return [(start, min(start + size, steps)) for start in range(0, steps, size)]


def _frames(x: torch.Tensor, start: int, stop: int) -> torch.Tensor:
    """Frames of the input from `start` to `stop`, blank ones after its end."""
    frames = x[start:stop]
    missing = stop - start - len(frames)
    return torch.cat([frames, x.new_zeros(missing, *x.shape[1:])]) if missing else frames


def _kept(graph: IntegerGraph, record: str | Sequence[str]) -> set[str]:
    names = [layer.name for layer in graph.layers]
    if isinstance(record, str):
        check_choice(record, ("all", "output", "none"), name="record")
        return set({"all": names, "output": names[-1:], "none": []}[record])
    for name in record:
        if name not in names:
            raise ConfigError(f"record names layer '{name}'", expected="some of " + ", ".join(names))
    return set(record)
