"""Rewriting of graphs: functions from graph to graph that keep what the network computes.

`for_chip` puts those together that a chip of spiking neurons needs; `equalise` and `split_leaky` are for networks
without spikes.
"""

from dataclasses import replace

import torch

from snnfer.converters._linear import fold_into_next, fold_into_previous, join_convolutions, scale_outputs, spread_mean
from snnfer.converters.equalise import equalise
from snnfer.converters.graph import (
    Activation,
    Affine,
    Conv,
    Dense,
    Flatten,
    Graph,
    Node,
    Pool,
    Shape,
    Spike,
    output_shape,
)
from snnfer.converters.split_leaky import split_leaky

__all__ = [
    "drop_idle", "equalise", "fold_affine", "fold_average", "for_chip", "is_or", "join_linear", "plain_neurons",
    "pools_as_or", "split_leaky",
]  # fmt: skip

OR_THRESHOLD = 0.5


def for_chip(graph: Graph) -> Graph:
    """All rewritings that bring a spiking network to layers of synapses with neurons behind them, without any error.

    Nodes that do nothing go, normalisation and average pooling go into the weights, convolutions without neurons
    between them become one, neurons rest at 0 and take their input as it is, and max pooling of spikes becomes an OR.
    What cannot be rewritten stays, and is refused by the export.

    Examples:
        >>> from snnfer.converters.from_model import to_graph
        >>> from snnfer.models import create_model
        >>> model = create_model("au_snn", n_classes=3, size=(16, 16), channels=4, hidden=8, votes=2)
        >>> [type(node).__name__ for node in for_chip(to_graph(model)).nodes[:5]]
        ['Conv', 'Spike', 'Conv', 'Spike', 'Conv']
    """
    graph = fold_average(fold_affine(drop_idle(graph)))
    return pools_as_or(plain_neurons(join_linear(graph)))


def drop_idle(graph: Graph) -> Graph:
    """Leave out what does nothing: pooling of 1 x 1, flattening of vectors, scales of 1, an activation of slope 1."""
    shapes = (graph.input_shape, *graph.shapes)
    return graph.with_nodes(tuple(n for n, shape in zip(graph.nodes, shapes, strict=False) if not _is_idle(n, shape)))


def _is_idle(node: Node, shape: Shape) -> bool:
    if isinstance(node, Pool):
        return node.kernel_size == node.stride == (1, 1)
    if isinstance(node, Flatten):
        return len(shape) == 1
    if isinstance(node, Affine):
        return bool((node.scale == 1).all() and (node.shift == 0).all())
    return isinstance(node, Activation) and node.negative_slope == 1


def fold_affine(graph: Graph) -> Graph:
    r"""Put scales and shifts per channel into the weights of the layer before them, else of the one behind.

    .. math::
        a\,(W x + b) + c = (a W)\,x + (a b + c), \qquad W (a x + c) + b = (W a)\,x + (W c + b)

    Behind is exact only where a convolution does not pad (or the shift is 0): padding is 0, not the shifted 0. What
    cannot be folded, such as a normalisation behind max pooling, stays.

    References:
        Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
        CVPR 2018, section 3.2.

    Examples:
        >>> from snnfer.converters.from_model import to_graph
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(2, 4, 3, bias=False), torch.nn.BatchNorm2d(4)).eval()
        >>> fold_affine(to_graph(network, input_shape=(2, 8, 8))).nodes[0].bias.shape
        torch.Size([4])
    """
    nodes: list[Node] = []
    for node in graph.nodes:
        before = nodes[-1] if nodes else None
        if isinstance(node, Affine) and isinstance(before, Conv | Dense | Affine):
            nodes[-1] = fold_into_previous(before, node)
        elif isinstance(node, Conv | Dense) and isinstance(before, Affine) and _is_exact(before, node):
            nodes[-1] = fold_into_next(before, node)
        else:
            nodes.append(node)
    return graph.with_nodes(tuple(nodes))


def _is_exact(affine: Affine, node: Conv | Dense) -> bool:
    pads = isinstance(node, Conv) and (node.padding != (0, 0) or node.time_taps > 1)
    return not pads or bool((affine.shift == 0).all())


def fold_average(graph: Graph) -> Graph:
    """Put average pooling into the fully connected layer behind it, or write it as a convolution per channel.

    A mean is a convolution; `join_linear` makes one of it and a convolution beside it.
    """
    nodes, shapes = list(graph.nodes), (graph.input_shape, *graph.shapes)
    out: list[Node] = []
    for i, node in enumerate(nodes):
        if not isinstance(node, Pool) or node.kind != "average":
            out.append(node)
        elif [type(other) for other in nodes[i + 1 : i + 3]] == [Flatten, Dense]:
            nodes[i + 2] = spread_mean(node, nodes[i + 2], shapes[i])  # type: ignore[arg-type]
        else:
            out.append(_mean_convolution(node, shapes[i][0], _like(graph)))
    return graph.with_nodes(tuple(out))


def _mean_convolution(pool: Pool, channels: int, like: torch.Tensor) -> Conv:
    height, width = pool.kernel_size
    weight = like.new_full((channels, 1, height, width), 1 / (height * width))
    return Conv(pool.name, weight, like.new_zeros(channels), stride=pool.stride, groups=channels)


def join_linear(graph: Graph) -> Graph:
    """Make one convolution of two that have nothing between them, where that is exact; it has the name of the second.

    Depthwise and pointwise convolutions of a factorised block become one, with all taps over time: on chips neurons
    stand behind every layer of synapses. Two convolutions stay two where the second pads, and the first has a bias or
    windows that overlap.
    """
    nodes: list[Node] = []
    shape = shape_before = graph.input_shape
    for node in graph.nodes:
        joined = None
        if nodes and isinstance(node, Conv) and isinstance(nodes[-1], Conv):
            joined = join_convolutions(nodes[-1], node, shape_before)
        if joined is not None:
            nodes[-1] = joined
        else:
            nodes.append(node)
            shape_before = shape
        shape = output_shape(node, shape)
    return graph.with_nodes(tuple(nodes))


def plain_neurons(graph: Graph) -> Graph:
    r"""Neurons that rest at 0 and do not scale their input, with the same spikes.

    .. math::
        v \to v - v_\text{reset}, \qquad v_\text{threshold} \to v_\text{threshold} - v_\text{reset},
        \qquad W \to W / \tau \ \text{where the input decays}

    The scale goes into the synapses before the neurons, where there are any, else into the threshold. Neurons with soft
    reset that do not rest at 0 stay as they are.
    """
    nodes: list[Node] = []
    for node in graph.nodes:
        if not isinstance(node, Spike) or (node.reset == "soft" and node.v_reset != 0):
            nodes.append(node)
            continue
        neuron = replace(node, v_threshold=node.v_threshold - node.v_reset, v_reset=0.0, decay_input=False)
        before = nodes[-1] if nodes else None
        if node.decay_input and isinstance(before, Conv | Dense):
            nodes[-1] = scale_outputs(before, before.bias.new_full((len(before.bias),), 1 / node.tau))
        elif node.decay_input:
            neuron = replace(neuron, v_threshold=neuron.v_threshold * node.tau)
        nodes.append(neuron)
    return graph.with_nodes(tuple(nodes))


def pools_as_or(graph: Graph) -> Graph:
    """Write max pooling of binary spikes as a neuron per window that fires with any of its inputs: an OR, exact.

    A convolution per channel with all weights 1, and neurons that forget at once (tau = 1) with threshold 0.5. The
    convolution keeps the name of the pooling and its padding, which is no spike; the neurons have ``.or`` behind the
    name. Max pooling of other values stays.

    Examples:
        >>> spike, pool = Spike("s", tau=2.0), Pool("p", "max", (2, 2), (2, 2))
        >>> like = Conv("c", torch.ones(4, 1, 1, 1), torch.zeros(4))
        >>> [node.name for node in pools_as_or(Graph((like, spike, pool), (1, 8, 8))).nodes]
        ['c', 's', 'p', 'p.or']
    """
    nodes: list[Node] = []
    shapes = (graph.input_shape, *graph.shapes)
    for node, shape in zip(graph.nodes, shapes, strict=False):
        if isinstance(node, Pool) and node.kind == "max" and nodes and isinstance(nodes[-1], Spike):
            nodes += _or(node, shape[0], _like(graph))
        else:
            nodes.append(node)
    return graph.with_nodes(tuple(nodes))


def _or(pool: Pool, channels: int, like: torch.Tensor) -> tuple[Conv, Spike]:
    weight = like.new_ones(channels, 1, *pool.kernel_size)
    bias = like.new_zeros(channels)
    conv = Conv(pool.name, weight, bias, stride=pool.stride, padding=pool.padding, groups=channels)
    return conv, Spike(f"{pool.name}.or", tau=1.0, v_threshold=OR_THRESHOLD)


def is_or(synapses: Node, neurons: Node) -> bool:
    """Whether two nodes are what `pools_as_or` writes: exact in integers of any scale."""
    return (
        isinstance(synapses, Conv)
        and isinstance(neurons, Spike)
        and neurons.tau == 1
        and neurons.v_threshold == OR_THRESHOLD
        and bool((synapses.weight == 1).all() and (synapses.bias == 0).all())
    )


def _like(graph: Graph) -> torch.Tensor:
    """Any weight of the graph, for dtype and device."""
    return next((n.weight for n in graph.nodes if isinstance(n, Conv | Dense)), torch.zeros(()))
