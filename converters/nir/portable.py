"""The portable profile of NIR: a chain that every importer computes alike."""

import math
from dataclasses import replace

import torch

from snnfer.converters.graph import Conv, Dense, Flatten, Graph, Node, Shape, Spike, Vote
from snnfer.errors import ExportError

NO_LEAK_TAU = 2.0**40
"""Time constant that stands for a neuron without leak, in time steps: in float32, v - v / tau is v."""
OR_TAU = 2.0
"""Time constant of neurons without memory: their potential is at rest before every step, so that any will do."""


def portable(graph: Graph) -> Graph:
    r"""Rewrite a graph with what every importer of NIR computes alike; nothing that it computes changes.

    .. math::
        h_t = v_{t-1} + \tfrac{1}{\tau}\,(g x_t - v_{t-1}), \qquad s_t = \Theta(h_t - \theta), \qquad
        v_t = (1 - s_t)\,h_t

    is the neuron of the profile: the resistance r of NIR is 1 (norse ignores it), and the factor :math:`g = \tau` of
    neurons whose input does not decay is in the weights before them. The potential is counted from the reset potential.
    A neuron without leak has a time constant of :math:`2^{40}` steps, because each importer scales ``nir.IF``
    differently. Grouped convolutions become dense ones, because importers refuse them; kernels become square with
    zeros around them, because ``nir.Conv2d`` takes the height for the width.

    Args:
        graph: Without normalisation and pooling (`fold_affine`, `fold_average` and `pools_as_or` of
            `snnfer.converters.passes`). A final `Vote` is left out: it is read off the spikes.

    Raises:
        ExportError: a node has no exact counterpart.

    Examples:
        >>> spikes = Spike("neuron", tau=2.0)
        >>> graph = Graph((Dense("fc", torch.eye(2), torch.zeros(2)), spikes), (2,))
        >>> portable(graph).nodes[0].weight
        tensor([[2., 0.],
                [0., 2.]])
    """
    nodes: list[Node] = []
    shape = graph.input_shape
    last = graph.nodes[-1] if graph.nodes else None
    for node, after in zip(graph.nodes, graph.shapes, strict=True):
        if isinstance(node, Spike):
            _append_spike(nodes, node, shape)
        elif not (isinstance(node, Vote) and node is last):
            nodes.append(_rewrite(node))
        shape = after
    return graph.with_nodes(tuple(nodes))


def _rewrite(node: Node) -> Node:
    """A node without neurons, as the profile has it."""
    if isinstance(node, Conv):
        return _square(_ungrouped(node))
    if isinstance(node, Dense | Flatten):
        return node
    raise ExportError(f"NIR has nothing for '{node.name}'", **_REASONS.get(type(node).__name__, {}))


_REASONS = {
    "Pool": {"cause": "max pooling of values that are no spikes", "fix": "pool the spikes, behind the neurons"},
    "Affine": {
        "cause": "a normalisation without a convolution or linear layer before it",
        "fix": "normalise between weights and neurons",
    },
    "Activation": {
        "cause": "the network does not spike there",
        "fix": "convert it with 'snnfer convert' first",
    },
    "Vote": {"cause": "votes are counted in the middle of the network", "fix": "vote at its end"},
}


def _append_spike(nodes: list[Node], node: Spike, shape: Shape) -> None:
    """Append the neurons, and scale the weights before them by g."""
    if node.reset == "soft":
        raise ExportError(
            f"'{node.name}' resets by subtraction", expected="neurons that reset to a value (reset=\"hard\")",
            cause="NIR cannot say it, and importers would reset to zero", fix="train with reset=\"hard\"",
        )  # fmt: skip
    threshold = node.v_threshold - node.v_reset
    at = _weights_before(nodes)
    tau = NO_LEAK_TAU if math.isinf(node.tau) else node.tau
    if tau <= 1:
        tau = _memoryless_tau(nodes, at, node, threshold)
    if not node.decay_input:
        if at is None:
            at = len(nodes)
            nodes.append(_identity(f"{node.name}.input", shape))
        nodes[at] = _scaled(nodes[at], tau)
    nodes.append(Spike(node.name, tau, threshold, decay_input=True))


def _weights_before(nodes: list[Node]) -> int | None:
    """Position of the weights whose output the next node reads, if any."""
    for i in reversed(range(len(nodes))):
        if isinstance(nodes[i], Conv | Dense):
            return i
        if not isinstance(nodes[i], Flatten):
            return None
    return None


def _memoryless_tau(nodes: list[Node], at: int | None, node: Spike, threshold: float) -> float:
    """A time constant for neurons whose potential never outlives a step: any spike that arrives makes them fire."""
    weights = nodes[at] if at is not None else None
    gain = 1 / node.tau if node.decay_input else 1.0
    if at is not None and at > 0 and isinstance(nodes[at - 1], Spike) and isinstance(weights, Conv | Dense):
        connected = weights.weight[weights.weight != 0] * gain
        if not weights.bias.any() and bool((connected >= threshold).all()):
            if node.decay_input:
                nodes[at] = _scaled(weights, OR_TAU / node.tau)
            return OR_TAU
    raise ExportError(
        f"'{node.name}' has tau = {node.tau:g}",
        expected="a time constant above one step",
        cause="neurons that forget everything within a step; spikingjelly reads no such file",
    )


def _scaled(node: Node, factor: float) -> Node:
    assert isinstance(node, Conv | Dense)
    return replace(node, weight=node.weight * factor, bias=node.bias * factor)


def _identity(name: str, shape: Shape) -> Node:
    eye, zeros = torch.eye(shape[0]), torch.zeros(shape[0])
    return Conv(name, eye[:, :, None, None], zeros) if len(shape) == 3 else Dense(name, eye, zeros)


def _ungrouped(node: Conv) -> Conv:
    """The same convolution without groups: zeros between channels of different groups."""
    if node.time_taps > 1:
        raise ExportError(
            f"'{node.name}' sees {node.time_taps} steps at once", expected="convolutions of single steps",
            cause="NIR has no convolution over time, and norse and sinabs drop its delays",
        )  # fmt: skip
    if node.groups == 1:
        return node
    blocks = node.weight.unflatten(0, (node.groups, -1))  # [G, O / G, I / G, kH, kW]
    n_groups, n_out, n_in, *kernel = blocks.shape
    dense = blocks.new_zeros(n_groups, n_out, n_groups, n_in, *kernel)
    every = torch.arange(n_groups)
    dense[every, :, every] = blocks
    return replace(node, weight=dense.flatten(2, 3).flatten(0, 1), groups=1)


def _square(node: Conv) -> Conv:
    """The same convolution with a square kernel: zeros on both sides of the shorter one, and as much padding."""
    kernel = node.weight.shape[-2:]
    missing = [max(kernel) - k for k in kernel]
    if missing == [0, 0]:
        return node
    if any(m % 2 for m in missing):
        raise ExportError(
            f"'{node.name}' has a kernel of {kernel[0]} x {kernel[1]}",
            expected="a square kernel, or two odd or two even sides",
            cause="nir.Conv2d takes the height of a kernel for its width",
        )
    top, left = (m // 2 for m in missing)
    weight = torch.nn.functional.pad(node.weight, (left, left, top, top))
    padding = tuple(p + d * m for p, d, m in zip(node.padding, node.dilation, (top, left), strict=True))
    return replace(node, weight=weight, padding=padding)
