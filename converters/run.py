"""Reference evaluation of a graph with torch: what every rewriting and every export is measured against."""

from typing import Literal

import torch
from torch.nn import functional as F

from snnfer.converters.graph import Activation, Affine, Conv, Dense, Flatten, Graph, Node, Pool, Spike, Vote
from snnfer.errors import ShapeError

Record = Literal["output", "spikes", "all"]


def run_graph(graph: Graph, x: torch.Tensor, *, record: Record = "output") -> dict[str, torch.Tensor]:
    """Outputs of nodes over time, from rest.

    Args:
        graph: The graph.
        x: Input ``[T, N, *input_shape]``; it is computed in the dtype of the weights.
        record: Which nodes to keep: the last one, also all `Spike` nodes, or all.

    Returns:
        Name of the node to its output ``[T, N, *]``, in order; the last one is always there.

    Raises:
        ShapeError: the input has another shape.

    Examples:
        >>> from snnfer.converters.from_model import to_graph
        >>> from snnfer.models import create_model
        >>> model = create_model("au_snn", n_classes=3, size=(16, 16), channels=4, hidden=8, votes=2).eval()
        >>> x = torch.poisson(torch.ones(5, 2, 2, 16, 16))
        >>> votes = run_graph(to_graph(model), x)["layers.voting"]
        >>> torch.equal(votes, model.forward_steps(x))
        True
    """
    if x.ndim < 3 or tuple(x.shape[2:]) != tuple(graph.input_shape):
        raise ShapeError(
            f"the input of the graph has shape {list(x.shape)}",
            expected=f"[T, N, {', '.join(map(str, graph.input_shape))}]",
            cause="another layout, or data of another size than the network reads",
        )
    weight = next((node.weight for node in graph.nodes if isinstance(node, Conv | Dense)), None)
    if weight is not None:
        x = x.to(weight)
    kept: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        for node in graph.nodes:
            x = run_node(node, x)
            if record == "all" or (record == "spikes" and isinstance(node, Spike)) or node is graph.nodes[-1]:
                kept[node.name] = x
    return kept


def run_node(node: Node, x: torch.Tensor) -> torch.Tensor:
    """Output ``[T, N, *]`` of one node, from rest."""
    if isinstance(node, Spike):
        return _spikes(node, x)
    if isinstance(node, Conv) and node.time_taps > 1:
        return _causal(node, x)
    if isinstance(node, Vote):
        return x.unflatten(-1, (-1, node.votes)).mean(-1)
    return _step(node, x.flatten(0, 1)).unflatten(0, x.shape[:2])  # [T, N, *]


def _step(node: Node, x: torch.Tensor) -> torch.Tensor:
    """Output ``[B, *]`` of a node without memory."""
    if isinstance(node, Conv):
        return F.conv2d(x, node.weight, node.bias, node.stride, node.padding, node.dilation, node.groups)
    if isinstance(node, Dense):
        return F.linear(x, node.weight, node.bias)
    if isinstance(node, Affine):
        shape = (-1, *(1,) * (x.ndim - 2))
        return x * node.scale.reshape(shape) + node.shift.reshape(shape)
    if isinstance(node, Pool):
        pool = F.max_pool2d if node.kind == "max" else F.avg_pool2d
        return pool(x, node.kernel_size, node.stride, node.padding)
    if isinstance(node, Activation):
        return torch.maximum(x, node.negative_slope * x)
    assert isinstance(node, Flatten)
    return x.flatten(1)


def _causal(node: Conv, x: torch.Tensor) -> torch.Tensor:
    """Sum over the taps, the last one on the step itself; steps before the first are zero."""
    total = None
    for tap in range(node.time_taps):
        lag = node.time_taps - 1 - tap
        late = torch.cat([x.new_zeros(min(lag, len(x)), *x.shape[1:]), x[: max(0, len(x) - lag)]])
        part = F.conv2d(
            late.flatten(0, 1), node.weight[:, :, tap], None, node.stride, node.padding, node.dilation, node.groups
        )
        total = part if total is None else total + part
    assert total is not None
    return (total + node.bias[:, None, None]).unflatten(0, x.shape[:2])  # [T, N, C, H, W]


def _spikes(node: Spike, x: torch.Tensor) -> torch.Tensor:
    v = torch.full_like(x[0], node.v_reset)
    rate = 1 / node.tau
    spikes = torch.empty_like(x)
    for t, current in enumerate(x):
        leak = v - node.v_reset
        h = v + (current - leak) * rate if node.decay_input else v - leak * rate + current
        spikes[t] = s = (h >= node.v_threshold).to(x.dtype)
        v = h - s * node.v_threshold if node.reset == "soft" else torch.where(s > 0, node.v_reset, h)
    return spikes
