"""What every conversion of a network of images starts from: its graph, checked against the network, and its images."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from snnfer._check import check_values
from snnfer.converters.ann_to_snn.network import RateSNN
from snnfer.converters.ann_to_snn.sigma_delta_network import SigmaDeltaSNN
from snnfer.converters.from_model import to_graph
from snnfer.converters.graph import Activation, Conv, Dense, Graph, Node, Pool, Spike
from snnfer.converters.passes import drop_idle, equalise, fold_affine
from snnfer.converters.run import run_graph
from snnfer.errors import ConversionError, ShapeError

MAX_DIFFERENCE = 1e-3
N_COMPARED = 8
"""Images that graph and network are compared on."""
BATCH = 64


def graph_of(ann: nn.Module | Graph, *, input_shape: Sequence[int] | None) -> Graph:
    """The graph of a network without spikes, or that graph itself.

    Raises:
        ConversionError: the network was converted before, or has no graph.
    """
    if isinstance(ann, Graph):
        return ann
    if isinstance(ann, RateSNN | SigmaDeltaSNN):
        raise ConversionError(
            f"the network is a {type(ann).__name__}, a spiking network already",
            expected="a network without spikes",
            cause="the result of a conversion, or its folder",
            fix="convert the network that it was made from, or use it as it is",
        )
    return to_graph(ann, input_shape=input_shape)


def prepare(graph: Graph, *, equalisation: bool = False) -> Graph:
    """The graph that is converted: normalisation folded, max pooling in front of LeakyReLU, nothing that spikes.

    Raises:
        ConversionError: the network spikes, sees several steps, or has no activation to convert.
    """
    for node in graph.nodes:
        if isinstance(node, Spike):
            raise ConversionError(
                f"'{node.name}' is a spiking neuron",
                expected="a network without spikes, with ReLU or LeakyReLU",
                cause="the network is a spiking one already",
                fix="export it: snnfer export lava, or snnfer export nir",
            )
        if isinstance(node, Conv) and node.time_taps > 1:
            raise ConversionError(
                f"'{node.name}' is a convolution over {node.time_taps} time steps",
                expected="layers that see one image",
                cause="a rate code needs many simulation steps for each step of the input",
                fix="train the network with spiking neurons",
            )
    if not any(isinstance(node, Activation) for node in graph.nodes):
        raise ConversionError(
            "the network has no activation", expected="at least one ReLU or LeakyReLU", cause="a linear network"
        )
    graph = _weights_before_leaky(_pool_before_leaky(fold_affine(drop_idle(graph))))
    return equalise(graph) if equalisation else graph


def run_ann(graph: Graph, x: torch.Tensor) -> torch.Tensor:
    """Output of a graph without spikes for images ``[N, ...]``."""
    return run_graph(graph, x[None])[graph.nodes[-1].name][0]


def run_in_batches(graph: Graph, x: torch.Tensor) -> torch.Tensor:
    """`run_ann` for any number of images."""
    return torch.cat([run_ann(graph, batch) for batch in x.split(BATCH)])


def images_of(x: torch.Tensor, graph: Graph, *, name: str) -> torch.Tensor:
    """Images ``[N, *input_shape]`` of images or clips, in the dtype and on the device of the weights."""
    check_values(x, name=f"the {name} data")
    shape = tuple(graph.input_shape)
    if x.ndim == len(shape) + 2 and tuple(x.shape[2:]) == shape:
        x = x.flatten(0, 1)  # [T * N, C, H, W]
    layout = ", ".join(map(str, shape))
    if tuple(x.shape[1:]) != shape or x.ndim != len(shape) + 1:
        raise ShapeError(
            f"the {name} data has shape {list(x.shape)}",
            expected=f"images [N, {layout}] or clips [T, N, {layout}]",
            cause="another layout, or data of another size than the network reads",
            fix="convert it with snnfer.layout, or resize it",
        )
    if not len(x):
        raise ShapeError(f"the {name} data has shape {list(x.shape)}", expected="at least one image")
    like = next((node.weight for node in graph.nodes if isinstance(node, Conv | Dense)), x)
    return x.to(like)


def _pool_before_leaky(graph: Graph) -> Graph:
    """Max pooling in front of the LeakyReLU before it: an increasing function may be applied after the maximum."""
    nodes = list(graph.nodes)
    for i in range(1, len(nodes)):
        before, node = nodes[i - 1], nodes[i]
        is_max = isinstance(node, Pool) and node.kind == "max"
        if is_max and isinstance(before, Activation) and before.negative_slope > 0:
            nodes[i - 1], nodes[i] = node, before
    return graph.with_nodes(tuple(nodes))


def _weights_before_leaky(graph: Graph) -> Graph:
    """An identity layer in front of every LeakyReLU that has no weights there, for the two populations to read."""
    nodes: list[Node] = []
    like = next((node.weight for node in graph.nodes if isinstance(node, Conv | Dense)), torch.zeros(()))
    for node, shape in zip(graph.nodes, (graph.input_shape, *graph.shapes), strict=False):
        leaky = isinstance(node, Activation) and node.negative_slope
        if leaky and not (nodes and isinstance(nodes[-1], Conv | Dense)):
            name, channels = f"{node.name}.both", shape[0]
            if len(shape) == 3:
                ones = like.new_ones(channels, 1, 1, 1)
                nodes.append(Conv(name, ones, like.new_zeros(channels), groups=channels))
            else:
                nodes.append(Dense(name, torch.eye(channels).to(like), like.new_zeros(channels)))
        nodes.append(node)
    return graph.with_nodes(tuple(nodes))


def check_same(ann: nn.Module | Graph, graph: Graph, x: torch.Tensor) -> None:
    """Raise unless the graph gives the outputs of the network that it was read from."""
    if isinstance(ann, Graph):
        reference = run_ann(ann, x)
    else:
        with torch.no_grad():
            reference = ann(x[None] if hasattr(ann, "forward_steps") else x)
    ours = run_ann(graph, x)
    difference = float((ours.flatten(1) - reference.flatten(1)).norm() / reference.norm().clamp_min(1e-12))
    if not difference < MAX_DIFFERENCE:
        raise ConversionError(
            f"the graph of the network differs from the network by {difference:.2%}",
            expected=f"less than {MAX_DIFFERENCE:.1%}",
            cause="a forward pass with more than its layers say, or outputs that are not finite",
            fix="convert the part of the network that is a chain of layers",
        )


def accuracy_of(network: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of images ``[N, ...]`` whose largest output is their label ``[N]``."""
    with torch.no_grad():
        found = torch.cat([network(batch).argmax(1) for batch in x.split(BATCH)])
    return float((found == labels.to(found.device)).float().mean())
