"""What a layer asks of cores: its shapes, and which inputs reach which neurons."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

from snnfer.converters.graph import Conv, Dense, Graph, Pair, Pool, Shape
from snnfer.converters.loihi.graph import IntegerGraph, IntegerLayer


@dataclass(frozen=True)
class LayerGeometry:
    """A layer without its weights.

    Args:
        name: Name in the network.
        kind: ``conv``, ``dense``, or ``pool``: a convolution of each channel by itself, with one neuron per window.
        input_shape: ``(C, H, W)`` of a convolution, ``(F,)`` of a dense layer.
        shape: Output shape.
        source_shape: Shape of the neurons before it; of a dense layer, ``(C, H, W)`` where it reads flattened maps.
        kernel, stride, padding, dilation, groups, time_taps: Of a convolution.
    """

    name: str
    kind: Literal["conv", "dense", "pool"]
    input_shape: Shape
    shape: Shape
    source_shape: Shape
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    time_taps: int = 1

    @property
    def n_neurons(self) -> int:
        """Neurons of the layer."""
        return prod(self.shape)

    @property
    def outputs_per_group(self) -> int:
        """Output channels that one input channel reaches."""
        return self.shape[0] // self.groups

    def input_channels(self, n_outputs: int) -> int:
        """Input channels that reach `n_outputs` neighbouring output channels, which begin or end with a group."""
        return -(-n_outputs // self.outputs_per_group) * (self.input_shape[0] // self.groups)

    def reached(self, axis: int, start: int, stop: int) -> list[int]:
        """For each input row (axis 0) or column (axis 1): how many of the outputs `start` to `stop` it reaches.

        Examples:
            >>> layer = LayerGeometry("conv", "conv", (1, 5, 5), (1, 5, 5), (1, 5, 5), kernel=(3, 3), padding=(1, 1))
            >>> layer.reached(0, 0, 3)  # rows 0 to 2 see rows -1 to 3
            [2, 3, 2, 1, 0]
        """
        counts = [0] * self.input_shape[1 + axis]
        for output in range(start, stop):
            for tap in range(self.kernel[axis]):
                position = output * self.stride[axis] - self.padding[axis] + tap * self.dilation[axis]
                if 0 <= position < len(counts):
                    counts[position] += 1
        return counts

    def taps_per_phase(self, axis: int) -> list[int]:
        """Taps that meet an input far from the borders, for each position modulo the stride; without those of none."""
        stride, dilation = self.stride[axis], self.dilation[axis]
        taps = [
            sum((tap * dilation - phase) % stride == 0 for tap in range(self.kernel[axis])) for phase in range(stride)
        ]
        return [n for n in taps if n]


def geometries(graph: Graph | IntegerGraph) -> list[LayerGeometry]:
    """The layers of `graph` that have neurons on a chip; what is folded or read out behind it is left out."""
    return list(_of_integers(graph) if isinstance(graph, IntegerGraph) else _of_nodes(graph))


def _of_integers(graph: IntegerGraph) -> Iterator[LayerGeometry]:
    source = graph.input_shape
    for layer in graph.layers:
        yield _of_integer_layer(layer, source)
        source = layer.shape


def _of_integer_layer(layer: IntegerLayer, source: Shape) -> LayerGeometry:
    if layer.kind == "dense":
        return LayerGeometry(layer.name, "dense", (prod(source),), layer.shape, source)
    is_pool = layer.exact and layer.groups == layer.shape[0] == source[0]
    height, width = layer.weight.shape[-2:]
    return LayerGeometry(
        layer.name,
        "pool" if is_pool else "conv",
        source,
        layer.shape,
        source,
        (height, width),
        layer.stride,
        layer.padding,
        layer.dilation,
        layer.groups,
        layer.time_taps,
    )


def _of_nodes(graph: Graph) -> Iterator[LayerGeometry]:
    source = graph.input_shape
    shapes: Sequence[Shape] = (graph.input_shape, *graph.shapes)
    for node, before, after in zip(graph.nodes, shapes, shapes[1:], strict=False):
        if isinstance(node, Dense):
            yield LayerGeometry(node.name, "dense", before, after, source)
        elif isinstance(node, Pool):
            window = node.kernel_size, node.stride, node.padding
            yield LayerGeometry(node.name, "pool", before, after, before, *window, groups=before[0])
        elif isinstance(node, Conv):
            height, width = node.weight.shape[-2:]
            yield LayerGeometry(
                node.name,
                "conv",
                before,
                after,
                before,
                (height, width),
                node.stride,
                node.padding,
                node.dilation,
                node.groups,
                node.time_taps,
            )
        else:
            continue
        source = after
