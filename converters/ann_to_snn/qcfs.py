"""Quantised activations to fine-tune a network with before it is converted, so that few steps are enough."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from snnfer._check import check_positive
from snnfer.converters.graph import Activation, Affine, Conv, Dense, Flatten, Graph, Node, Pool, Vote

SMALLEST = 1e-6
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class QCFS(nn.Module):
    r"""Quantised, clipped, shifted activation: what integrate-and-fire neurons give after L steps.

    .. math::
        q(z; \theta) = \theta\,\text{clip}\Big(\tfrac1L \lfloor z L / \theta + \tfrac12 \rfloor, 0, 1\Big), \qquad
        y = q(z; \theta^+) - q(-a z; \theta^-)

    with a threshold per channel that is learned, and the second term for a negative slope a > 0 alone (LeakyReLU).
    The gradient passes the rounding as if it were not there, and the clipping not at all.

    Args:
        threshold: First thresholds ``[C]``.
        negative_threshold: First thresholds of the negative branch ``[C]``; used with a `negative_slope`.
        negative_slope: Slope a of the activation below zero.
        levels: Number L of steps between 0 and the threshold.

    Shape:
        - Input, output: :math:`(N, C, *)`.

    References:
        Bu et al., "Optimal ANN-SNN Conversion for High-accuracy and Ultra-low-latency Spiking Neural Networks",
        ICLR 2022, eq. (15); one threshold per layer there, per channel here; the negative branch is ours.

    Examples:
        >>> QCFS(torch.ones(1), levels=4)(torch.tensor([[-1.0], [0.1], [0.4], [0.9], [3.0]])).flatten().detach()
        tensor([0.0000, 0.0000, 0.5000, 1.0000, 1.0000])
    """

    def __init__(
        self,
        threshold: torch.Tensor,
        *,
        levels: int,
        negative_slope: float = 0.0,
        negative_threshold: torch.Tensor | None = None,
    ) -> None:
        super().__init__()
        check_positive(levels, name="levels")
        self.levels, self.negative_slope = levels, negative_slope
        self.threshold = nn.Parameter(threshold.clone())
        negative = negative_threshold if negative_threshold is not None else negative_slope * threshold
        self.negative_threshold = nn.Parameter(negative.clone()) if negative_slope else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self._quantise(x, self.threshold)
        if self.negative_threshold is None:
            return y
        return y - self._quantise(-self.negative_slope * x, self.negative_threshold)

    def split_threshold(self) -> torch.Tensor:
        """Thresholds in the order of `split_leaky`: of LeakyReLU ``[2 C]``, both of a channel beside each other."""
        thresholds: list[torch.Tensor] = [p for p in (self.threshold, self.negative_threshold) if p is not None]
        return torch.stack(thresholds, 1).flatten().detach().clamp_min(SMALLEST)

    def extra_repr(self) -> str:
        return f"levels={self.levels}, negative_slope={self.negative_slope}"

    def _quantise(self, x: torch.Tensor, threshold: torch.Tensor) -> torch.Tensor:
        theta = threshold.clamp_min(SMALLEST).view(-1, *(1,) * (x.ndim - 2))
        level: Any = _Floor.apply((x * self.levels / theta + 0.5).clamp(0, self.levels))
        return theta * (level / self.levels)


class _Floor(torch.autograd.Function):
    """Rounds down; the gradient passes unchanged."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.floor()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> torch.Tensor:
        return grad_outputs[0]


class QuantisedNetwork(nn.Module):
    """A network with `QCFS` activations to train, made from a graph with LeakyReLU unsplit and normalisation folded.

    Args:
        graph: The graph.
        thresholds: First thresholds of each activation, by name, in the order of `split_leaky`.
        levels: Levels of the activations.

    Shape:
        - Input: :math:`(N, C, H, W)`, output: :math:`(N, K)`.
    """

    def __init__(self, graph: Graph, thresholds: dict[str, torch.Tensor], *, levels: int) -> None:
        super().__init__()
        self._graph = graph
        self.stages = nn.ModuleList(_stage(node, thresholds, levels) for node in graph.nodes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for stage in self.stages:
            x = stage(x)
        return x

    def graph(self) -> Graph:
        """The graph with the present weights and activations without quantisation."""
        pairs = zip(self._graph.nodes, self.stages, strict=True)
        return self._graph.with_nodes(tuple(stage.to_node(node) if isinstance(stage, _Weighted) else node
                                            for node, stage in pairs))  # fmt: skip

    def thresholds(self) -> dict[str, torch.Tensor]:
        """Present thresholds by name of the activation, in the order of `split_leaky`."""
        pairs = zip(self._graph.nodes, self.stages, strict=True)
        return {node.name: stage.split_threshold() for node, stage in pairs if isinstance(stage, QCFS)}


class _Weighted(nn.Module):
    """A convolution, fully connected layer or scale per channel with the weights of a node."""

    def __init__(self, node: Conv | Dense | Affine) -> None:
        super().__init__()
        self._node = node
        self._names = ("scale", "shift") if isinstance(node, Affine) else ("weight", "bias")
        self.values = nn.ParameterList(nn.Parameter(getattr(node, name).clone()) for name in self._names)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        node, (first, second) = self._node, self.values
        if isinstance(node, Conv):
            return F.conv2d(x, first, second, node.stride, node.padding, node.dilation, node.groups)
        if isinstance(node, Dense):
            return F.linear(x, first, second)
        shape = (-1, *(1,) * (x.ndim - 2))
        return x * first.view(shape) + second.view(shape)

    def to_node(self, node: Node) -> Node:
        values = {name: value.detach().clone() for name, value in zip(self._names, self.values, strict=True)}
        return type(node)(**{**vars(node), **values})


def _stage(node: Node, thresholds: dict[str, torch.Tensor], levels: int) -> nn.Module:
    if isinstance(node, Conv | Dense | Affine):
        return _Weighted(node)
    if isinstance(node, Activation):
        first = thresholds[node.name]
        if not node.negative_slope:
            return QCFS(first, levels=levels)
        positive, negative = first.view(-1, 2).unbind(1)
        return QCFS(positive, levels=levels, negative_slope=node.negative_slope, negative_threshold=negative)
    if isinstance(node, Pool):
        return (nn.MaxPool2d if node.kind == "max" else nn.AvgPool2d)(node.kernel_size, node.stride, node.padding)
    if isinstance(node, Vote):
        return nn.Sequential(nn.Unflatten(1, (-1, node.votes)), _Mean())
    assert isinstance(node, Flatten)
    return nn.Flatten()


class _Mean(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(-1)


def fine_tune(
    network: nn.Module,
    x: torch.Tensor,
    targets: torch.Tensor,
    *,
    loss: Loss = F.mse_loss,
    n_epochs: int = 20,
    learning_rate: float = 1e-3,
    batch_size: int = 64,
    seed: int = 0,
) -> None:
    """Train a quantised network on `targets`, in place, with Adam.

    With the outputs of the network without spikes as targets and the squared error, the default of `ann_to_snn`,
    it learns to give them back from quantised activations: no labels are needed.

    Args:
        network: A `QuantisedNetwork`.
        x: Images ``[N, C, H, W]`` of training subjects.
        targets: ``[N, K]`` for the squared error, or labels ``[N]`` for ``loss=F.cross_entropy``.
        loss: Function of outputs and targets.
        n_epochs: Passes over `x`.
        learning_rate: Falls to zero as a half cosine.
        batch_size: Images per step.
        seed: Of the order of the images.
    """
    check_positive(n_epochs, name="n_epochs")
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_epochs)
    with torch.enable_grad():
        for _ in range(n_epochs):
            for batch in torch.randperm(len(x), generator=generator).split(batch_size):
                batch = batch.to(x.device)
                error = loss(network(x[batch]), targets[batch])
                optimizer.zero_grad()
                error.backward()
                optimizer.step()
            schedule.step()
