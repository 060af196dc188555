"""Cross-layer equalisation: channels of one range before quantisation, without changing the function."""

import torch

from snnfer.converters._linear import scale_inputs, scale_outputs
from snnfer.converters.graph import Activation, Affine, Conv, Dense, Flatten, Graph, Node, Pool
from snnfer.errors import ConversionError

SMALLEST = 1e-12
"""Ranges below this are of channels that nothing reads or writes: they keep their scale."""


def equalise(graph: Graph, *, n_rounds: int = 20) -> Graph:
    r"""Give the weights of neighbouring layers the same range in every channel.

    With :math:`r^1_c` and :math:`r^2_c` the largest weights that write and read channel c,

    .. math::
        s_c = \sqrt{r^1_c / r^2_c}, \qquad W^1_c \to W^1_c / s_c, \quad b^1_c \to b^1_c / s_c, \quad
        W^2_c \to s_c\,W^2_c

    so that both become :math:`\sqrt{r^1_c r^2_c}`. The function is kept because ReLU, LeakyReLU, pooling and flattening
    pass positive factors on. Spiking neurons do not, and layers on both sides of them are left alone.

    Args:
        graph: With normalisation folded (`snnfer.converters.passes.fold_affine`).
        n_rounds: Passes over all pairs; layers in the middle belong to two.

    Raises:
        ConversionError: a normalisation stands between two layers.

    References:
        Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, eq. (11).

    Examples:
        >>> from snnfer.converters.from_model import to_graph
        >>> network = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.ReLU(), torch.nn.Linear(1, 1))
        >>> with torch.no_grad():
        ...     _ = network[0].weight.fill_(8.0), network[2].weight.fill_(2.0)
        >>> first, _, second = equalise(to_graph(network)).nodes
        >>> first.weight.tolist(), second.weight.tolist()
        ([[4.0, 4.0]], [[4.0]])
    """
    nodes = list(graph.nodes)
    pairs = _pairs(nodes)
    for _ in range(n_rounds):
        for i, j in pairs:
            first, second = nodes[i], nodes[j]
            assert isinstance(first, Conv | Dense)
            assert isinstance(second, Conv | Dense)
            written = first.weight.flatten(1).abs().amax(1)
            read = _read_ranges(second, len(written))
            used = (written > SMALLEST) & (read > SMALLEST)
            scale = torch.where(used, (written / read.clamp_min(SMALLEST)).sqrt(), torch.ones_like(written))
            nodes[i], nodes[j] = scale_outputs(first, 1 / scale), scale_inputs(second, scale)
    return graph.with_nodes(tuple(nodes))


def _pairs(nodes: list[Node]) -> list[tuple[int, int]]:
    """Positions of layers that follow each other with nothing between that would not pass a positive factor on."""
    pairs, before = [], None
    for i, node in enumerate(nodes):
        if isinstance(node, Conv | Dense):
            if before is not None:
                pairs.append((before, i))
            before = i
        elif not isinstance(node, Activation | Pool | Flatten):
            if isinstance(node, Affine) and before is not None:
                raise ConversionError(
                    f"the normalisation '{node.name}' stands between two layers", expected="folded normalisation",
                    fix="equalise(fold_affine(graph))",
                )  # fmt: skip
            before = None
    return pairs


def _read_ranges(node: Conv | Dense, channels: int) -> torch.Tensor:
    """Largest weight that reads each channel ``[C]``."""
    if isinstance(node, Dense):
        return node.weight.reshape(len(node.weight), channels, -1).abs().amax((0, 2))
    by_group = node.weight.reshape(node.groups, -1, *node.weight.shape[1:])  # [G, O / G, I / G, ...]
    return by_group.flatten(3).abs().amax((1, 3)).reshape(-1)
