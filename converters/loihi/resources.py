"""Cores, axons and synaptic memory that a network needs on a Loihi chip, and what to change where it does not fit."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

from snnfer.converters.graph import Graph, Shape
from snnfer.converters.loihi._geometry import LayerGeometry, geometries
from snnfer.converters.loihi._tiles import Destinations, Tile, Tiler, destinations
from snnfer.converters.loihi.graph import IntegerGraph
from snnfer.converters.loihi.published import Chip, ChipName, find_chip
from snnfer.errors import ConfigError

_COLUMNS = ("layer", "neurons", "cores", "tile", "input axons", "output axons", "synaptic memory", "shared")


@dataclass(frozen=True)
class LayerResources:
    """What one layer needs. Axons and memory are those of its fullest core.

    Args:
        name: Name in the network.
        kind: ``conv``, ``dense`` or ``pool``.
        shape: Output shape.
        neurons: Neurons of the layer.
        cores: Cores; None where not even one neuron fits a core.
        tile: What one core computes: channels, height, width, or neurons of a dense layer; of a layer that does not
            fit, one neuron.
        input_axons: Inputs that reach a core, or a neuron of a layer that does not fit.
        output_axons: Pairs of a neuron of a core and a core that it sends to.
        memory_bits: Synaptic memory of a core.
        shared: Whether synapse lists are shared by inputs of one channel.
        problem: What does not fit, in words; empty if it fits.
        change: What to change then.
    """

    name: str
    kind: Literal["conv", "dense", "pool"]
    shape: Shape
    neurons: int
    cores: int | None
    tile: Shape
    input_axons: int
    output_axons: int
    memory_bits: int
    shared: bool
    problem: str = ""
    change: str = ""

    @property
    def fits(self) -> bool:
        """Whether the chip can hold it."""
        return self.cores is not None


@dataclass(frozen=True)
class Resources:
    """What a network needs on one kind of chip: an estimate, not the result of a compiler.

    Args:
        chip: The chip and its limits.
        layers: In the order of computation.
    """

    chip: Chip
    layers: tuple[LayerResources, ...]

    @property
    def fits(self) -> bool:
        """Whether every layer can be cut into cores, on however many chips."""
        return all(layer.fits for layer in self.layers)

    @property
    def cores(self) -> int:
        """Cores of all layers that fit."""
        return sum(layer.cores or 0 for layer in self.layers)

    @property
    def chips(self) -> int:
        """Chips that have as many cores."""
        return ceil(self.cores / self.chip.cores)

    def __getitem__(self, name: str) -> LayerResources:
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise ConfigError(f"layer '{name}'", expected="one of " + ", ".join(layer.name for layer in self.layers))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        layers = [{**vars(layer), "shape": list(layer.shape), "tile": list(layer.tile)} for layer in self.layers]
        return {
            "chip": self.chip.name,
            "fits": self.fits,
            "cores": self.cores,
            "chips": self.chips,
            "layers": layers,
            "source": self.chip.source,
        }

    def table(self) -> str:
        """One row per layer, then the sum, what does not fit and what to change, and where the limits come from."""
        rows = [_COLUMNS, *(_row(layer) for layer in self.layers)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, self._sum(), *self._problems(), f"limits: {self.chip.source}"])

    def _sum(self) -> str:
        without = ", ".join(layer.name for layer in self.layers if not layer.fits)
        cores = f"{self.chip.label}: {_count(self.cores, 'core')}" + (f" without {without}" if without else "")
        return f"{cores}, {_count(self.chips, 'chip')} of {self.chip.cores} cores (estimate)"

    def _problems(self) -> Iterator[str]:
        for layer in self.layers:
            if layer.problem:
                yield f"{layer.name} does not fit: {layer.problem}; fix: {layer.change}"


def estimate_resources(
    graph: Graph | IntegerGraph,
    *,
    chip: ChipName = "loihi1",
    share_weights: bool = True,
    weight_bits: int = 8,
) -> Resources:
    r"""Cores, axons and synaptic memory per layer, for the cut into cores that needs the fewest.

    Each layer is cut into equal tiles, one per core, no core holding two layers. A core of Loihi 1 holds at most

    - 1024 neurons,
    - 128 KB of synapses: lists of at most 64 synapses, :math:`64 \lceil (n (b_w + b_d + b_i) + 10) / 64 \rceil` bits
      for n of them with weight, delay (6 bits, where there are any) and index of the neuron (where a list does not
      reach all of them),
    - 4096 input axons, one per input that reaches it, and
    - 4096 output axons, one per pair of a neuron and a core that it sends to.

    For Loihi 2 the number of neurons (8192) comes from secondary sources; the limits of memory and input axons are not
    published and taken from Loihi 1; output axons are counted without a limit.

    Layers are cut from the last one back, as the output axons depend on the next layer's tiles; among cuts of equally
    many cores that with the fewest input axons is taken. A max pooling is counted as the layer of neurons that replaces
    it, batch normalisation as folded, and votes as read out behind the chip.

    Args:
        graph: A float or integer network; only its shapes are used.
        chip: ``loihi1`` or ``loihi2``.
        share_weights: Store the synapse lists of a convolution once per input channel and position modulo the stride;
            False stores one per input, as compilers without this feature do.
        weight_bits: Bits of a weight.

    Raises:
        ConfigError: unknown chip.

    References:
        Davies et al., "Loihi: a neuromorphic manycore processor with on-chip learning", IEEE Micro 38(1), 2018, p.
        86-96: the limits, and shared connectivity. The list format is that of nengo-loihi's public compiler. Rueckauer
        et al., "NxTF", arXiv 2101.04261, 2021: convolutions in tiles with shared weights.

    Examples:
        >>> import torch
        >>> from snnfer.converters.graph import Dense, Flatten, Spike
        >>> layers = (Flatten("flatten"), Dense("fc", torch.zeros(512, 8192), torch.zeros(512)), Spike("lif", 2.0))
        >>> resources = estimate_resources(Graph(layers, (32, 16, 16)))
        >>> resources.fits, resources["fc"].problem
        (False, 'a neuron has 8,192 input axons, a core has 4,096')
        >>> resources["fc"].change
        'at most 16 channels before the flattening (now 32), or one more stride of 2 or pooling there (2,048 inputs)'
    """
    limits = find_chip(chip)
    found: list[LayerResources] = []
    target = Destinations()
    for layer in reversed(geometries(graph)):
        shared = share_weights and layer.kind != "dense"
        tiler = Tiler(layer, limits, target, share_weights=shared, weight_bits=weight_bits)
        tile = tiler.best()
        found.append(_fitting(layer, tile, shared=shared) if tile else _not_fitting(layer, tiler, shared=shared))
        target = destinations(layer, tile) if tile else Destinations()
    return Resources(limits, tuple(reversed(found)))


def _fitting(layer: LayerGeometry, tile: Tile, *, shared: bool, **words: str) -> LayerResources:
    return LayerResources(
        layer.name,
        layer.kind,
        layer.shape,
        layer.n_neurons,
        None if words else tile.cores,
        tile.extent,
        tile.input_axons,
        tile.output_axons,
        tile.memory_bits,
        shared,
        **words,
    )


def _not_fitting(layer: LayerGeometry, tiler: Tiler, *, shared: bool) -> LayerResources:
    smallest = tiler.smallest()
    too_many_inputs = smallest.input_axons > tiler.chip.input_axons
    change = _fewer_inputs(layer, tiler.chip.input_axons) if too_many_inputs else "fewer neurons in the next layer"
    return _fitting(layer, smallest, shared=shared, problem=f"a neuron has {tiler.exceeded(smallest)}", change=change)


def _fewer_inputs(layer: LayerGeometry, limit: int) -> str:
    """How a neuron of `layer` gets at most `limit` inputs."""
    if layer.kind != "dense":
        return "fewer input channels, more groups, or a smaller kernel"
    if len(layer.source_shape) == 1:
        return f"at most {limit:,} neurons in the layer before it (now {layer.source_shape[0]:,})"
    channels, height, width = layer.source_shape
    ways = []
    if limit >= height * width:
        ways.append(f"at most {limit // (height * width)} channels before the flattening (now {channels})")
    times, halved = 0, channels * height * width
    while halved > limit and max(height, width) > 1:
        height, width, times = -(-height // 2), -(-width // 2), times + 1
        halved = channels * height * width
    if halved <= limit:
        more = "one more stride of 2 or pooling" if times == 1 else f"{times} more strides of 2 or poolings"
        ways.append(f"{more} there ({halved:,} inputs)")
    return ", or ".join(ways) or f"at most {limit:,} inputs"


def _row(layer: LayerResources) -> tuple[str, ...]:
    return (
        layer.name,
        f"{layer.neurons:,}",
        "none" if layer.cores is None else f"{layer.cores:,}",
        " x ".join(map(str, layer.tile)),
        f"{layer.input_axons:,}",
        f"{layer.output_axons:,}",
        f"{layer.memory_bits / 8192:.1f} KB",
        "yes" if layer.shared else "no",
    )


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
