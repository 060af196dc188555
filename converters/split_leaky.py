"""LeakyReLU as two populations of ReLU, for neurons that cannot be negative."""

from dataclasses import replace

import torch

from snnfer.converters.graph import Activation, Conv, Dense, Flatten, Graph, Node, Pool, Shape
from snnfer.errors import ConversionError


def split_leaky(graph: Graph) -> Graph:
    r"""Write every LeakyReLU as the difference of two ReLUs, which two populations of neurons compute.

    .. math::
        \max(z, a z) = \mathrm{ReLU}(z) - \mathrm{ReLU}(-a z), \qquad
        W \to \begin{pmatrix} W \\ -a W \end{pmatrix}, \qquad W_\text{next} \to (W_\text{next}, -W_\text{next})

    The layer before it gets twice the outputs, with the two of a channel beside each other (which keeps groups), and
    the layer behind it reads both with opposite signs. Average pooling and flattening may lie between. A LeakyReLU
    at the end gets a layer that subtracts, called after it with ``.difference`` behind.

    Args:
        graph: With normalisation folded (`snnfer.converters.passes.fold_affine`).

    Raises:
        ConversionError: something other than a layer with weights stands before a LeakyReLU, or max pooling behind it.

    References:
        Kim et al., "Spiking-YOLO", AAAI 2020, for what LeakyReLU asks of neurons (there one signed neuron).

    Examples:
        >>> from snnfer.converters.from_model import to_graph
        >>> network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LeakyReLU(0.2), torch.nn.Linear(4, 2))
        >>> [tuple(node.weight.shape) for node in split_leaky(to_graph(network)).nodes if isinstance(node, Dense)]
        [(8, 3), (2, 8)]
    """
    nodes = list(graph.nodes)
    shapes = graph.shapes
    out: list[Node] = []
    open_split: tuple[Activation, Shape] | None = None
    for node, shape in zip(nodes, shapes, strict=True):
        if isinstance(node, Activation) and node.negative_slope:
            if not out or not isinstance(out[-1], Conv | Dense):
                raise _refused(node, "nothing with weights stands before it", "fold normalisation first: fold_affine")
            out[-1] = _double_outputs(out[-1], node.negative_slope)
            out.append(replace(node, negative_slope=0.0))
            open_split = node, shape
        elif open_split is not None and isinstance(node, Conv | Dense):
            out.append(_subtract_inputs(node, open_split[1][0]))
            open_split = None
        elif open_split is not None and not (isinstance(node, Flatten) or _is_average(node)):
            raise _refused(open_split[0], f"'{node.name}' behind it is not linear", "use average pooling, or ReLU")
        else:
            out.append(node)
    if open_split is not None:
        out.append(_difference(open_split[0], shapes[-1], open_split[1][0], _weight_of(out)))
    return graph.with_nodes(tuple(out))


def _is_average(node: Node) -> bool:
    return isinstance(node, Pool) and node.kind == "average"


def _refused(node: Activation, cause: str, fix: str) -> ConversionError:
    return ConversionError(f"the LeakyReLU '{node.name}' cannot be split into two populations", cause=cause, fix=fix)


def _double_outputs(node: Conv | Dense, slope: float) -> Conv | Dense:
    """Outputs z and -slope * z, beside each other."""
    signs = node.weight.new_tensor([1.0, -slope])
    weight = torch.stack([node.weight * sign for sign in signs], 1).flatten(0, 1)
    return replace(node, weight=weight, bias=(node.bias[:, None] * signs).flatten())


def _subtract_inputs(node: Conv | Dense, channels: int) -> Conv | Dense:
    """Reads the first of two neighbouring channels as it is and the second with the opposite sign."""
    weight = node.weight
    if isinstance(node, Dense):
        weight = weight.reshape(len(weight), channels, -1)  # [O, C, H * W]
    pairs = torch.stack([weight, -weight], 2).flatten(1, 2)
    return replace(node, weight=pairs.flatten(1) if isinstance(node, Dense) else pairs)


def _difference(node: Activation, shape: Shape, channels: int, like: torch.Tensor) -> Conv | Dense:
    """A layer without neurons that joins the two populations at the end of the network."""
    name = f"{node.name}.difference"
    if len(shape) == 3:
        identity = torch.eye(shape[0], dtype=like.dtype, device=like.device)[:, :, None, None]
        return _subtract_inputs(Conv(name, identity, like.new_zeros(shape[0])), channels)  # type: ignore[return-value]
    identity = torch.eye(shape[0], dtype=like.dtype, device=like.device)
    return _subtract_inputs(Dense(name, identity, like.new_zeros(shape[0])), channels)


def _weight_of(nodes: list[Node]) -> torch.Tensor:
    return next(node.weight for node in nodes if isinstance(node, Conv | Dense))
