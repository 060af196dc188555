"""The typed graph between a network and its export: a chain of layers with real weights.

A `Graph` says what a network computes at each step, in the order of its layers, without torch modules: folding,
splitting and quantising are functions from graph to graph, and every export is made from one. Shapes leave out time and
batch: ``(C, H, W)`` of maps, ``(F,)`` of vectors.
"""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch

from snnfer.errors import ConversionError

Shape = tuple[int, ...]
Pair = tuple[int, int]


@dataclass(frozen=True)
class Node:
    """One operation of a graph.

    Args:
        name: Name in the network, as in ``model.named_modules()``; unique in a graph.
    """

    name: str


@dataclass(frozen=True)
class Conv(Node):
    """Convolution (cross-correlation, as torch) with zero padding.

    Args:
        weight: ``[O, I / groups, kH, kW]``.
        bias: ``[O]``, zeros where there is none.
        stride, padding, dilation: Height and width.
        groups: Groups of channels.
        time_taps: Number K of steps that a causal kernel over time sees. The weight is then ``[O, I / groups, K, kH,
            kW]``, the last tap being the step itself.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    time_taps: int = 1


@dataclass(frozen=True)
class Dense(Node):
    """Fully connected layer: weight ``[O, I]``, bias ``[O]``."""

    weight: torch.Tensor
    bias: torch.Tensor


@dataclass(frozen=True)
class Affine(Node):
    """Scale and shift per channel ``[C]``: batch normalisation with its running statistics."""

    scale: torch.Tensor
    shift: torch.Tensor


@dataclass(frozen=True)
class Pool(Node):
    """Pooling over space.

    Args:
        kind: ``max`` or ``average``.
        kernel_size, stride: Height and width.
        padding: Of max pooling alone: positions that never are the largest.
    """

    kind: Literal["max", "average"]
    kernel_size: Pair
    stride: Pair
    padding: Pair = (0, 0)


@dataclass(frozen=True)
class Flatten(Node):
    """``(C, H, W)`` to ``(C * H * W,)`` in this order."""


@dataclass(frozen=True)
class Spike(Node):
    r"""Leaky integrate-and-fire neurons, explicit Euler, one step per time bin.

    .. math::
        h_t = v_{t-1} - (v_{t-1} - v_\text{reset}) / \tau + g\, x_t, \quad s_t = \Theta(h_t - v_\text{threshold})

    with :math:`g = 1 / \tau` where the input decays too, else 1. ``tau = inf`` is a neuron without leak (IF).
    """

    tau: float
    v_threshold: float = 1.0
    v_reset: float = 0.0
    reset: Literal["hard", "soft"] = "hard"
    decay_input: bool = False


@dataclass(frozen=True)
class Activation(Node):
    """A non-spiking activation: ``max(x, slope * x)``; slope 0 is ReLU."""

    negative_slope: float = 0.0


@dataclass(frozen=True)
class Vote(Node):
    """Mean over groups of `votes` neighbouring outputs; read out after the chip, never on it."""

    votes: int


@dataclass(frozen=True)
class Graph:
    """A chain of nodes.

    Args:
        nodes: In the order of computation.
        input_shape: Shape of one step of one sample.
        metadata: What a reader of an export should know, such as the model's config.

    Raises:
        ConversionError: two nodes of one name, or shapes that do not fit each other.
    """

    nodes: tuple[Node, ...]
    input_shape: Shape
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [node.name for node in self.nodes]
        for name in names:
            if names.count(name) > 1:
                raise ConversionError(f"two nodes of the graph have the name '{name}'", expected="unique names")
        self.shapes  # noqa: B018  (raises where shapes do not fit)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Output shape of each node."""
        shape, shapes = self.input_shape, []
        for node in self.nodes:
            shape = output_shape(node, shape)
            shapes.append(shape)
        return tuple(shapes)

    def with_nodes(self, nodes: tuple[Node, ...]) -> "Graph":
        """The same graph with other nodes."""
        return replace(self, nodes=nodes)


def output_shape(node: Node, shape: Shape) -> Shape:
    """Shape that `node` makes of `shape`.

    Raises:
        ConversionError: they do not fit.

    Examples:
        >>> output_shape(Pool("pool", "max", (2, 2), (2, 2)), (8, 7, 6))
        (8, 3, 3)
    """
    if isinstance(node, Conv):
        _need(node, shape, rank=3, size=node.weight.shape[1] * node.groups)
        kernel = node.weight.shape[-2:]
        return (node.weight.shape[0], *_spatial(node, shape[1:], kernel, node.stride, node.padding, node.dilation))
    if isinstance(node, Dense):
        _need(node, shape, rank=1, size=node.weight.shape[1])
        return (node.weight.shape[0],)
    if isinstance(node, Pool):
        _need(node, shape, rank=3)
        return (shape[0], *_spatial(node, shape[1:], node.kernel_size, node.stride, node.padding, (1, 1)))
    if isinstance(node, Affine):
        _need(node, shape, size=len(node.scale))
    if isinstance(node, Flatten):
        size = 1
        for extent in shape:
            size *= extent
        return (size,)
    if isinstance(node, Vote):
        if shape[0] % node.votes:
            raise ConversionError(f"{shape[0]} neurons vote in groups of {node.votes} ('{node.name}')")
        return (shape[0] // node.votes,)
    return shape


def _spatial(node: Node, size: Shape, kernel: Any, stride: Pair, padding: Pair, dilation: Pair) -> Shape:
    axes = zip(size, kernel, stride, padding, dilation, strict=True)
    out = tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes)
    if min(out) < 1:
        raise ConversionError(
            f"'{node.name}' has a kernel of {tuple(kernel)} for maps of {size[0]} x {size[1]}",
            expected="maps that are at least as large as the kernel",
        )
    return out


def _need(node: Node, shape: Shape, *, rank: int | None = None, size: int | None = None) -> None:
    if (rank is not None and len(shape) != rank) or (size is not None and shape[0] != size):
        wanted = f"{size} {'features' if rank == 1 else 'channels'}" if size is not None else f"{rank} dimensions"
        raise ConversionError(
            f"'{node.name}' gets a shape of {list(shape)}",
            expected=wanted,
            cause="a layer before it is missing, or the flattening",
        )
