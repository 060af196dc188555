"""Linear layers with the activation behind them: what becomes one layer of sigma-delta neurons."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch.nn import functional

from snnfer.converters.graph import Activation, Conv, Dense, Flatten, Graph, Node, Pair, Shape
from snnfer.converters.passes import drop_idle, fold_affine, fold_average, join_linear
from snnfer.errors import ConversionError

LINEAR = 1.0
"""The negative slope of no activation: ``max(z, 1 z) = z``."""


@dataclass(frozen=True)
class Stage:
    """``max(z, slope z)`` of a convolution or fully connected layer ``z``.

    Args:
        node: The linear layer.
        slope: 0 is ReLU, 1 no activation.
        shape: Output of one step.
    """

    node: Conv | Dense
    slope: float
    shape: Shape

    @property
    def is_split(self) -> bool:
        """Whether two populations carry the output, its positive and its negative part."""
        return self.slope != 0

    def linear(self, x: torch.Tensor) -> torch.Tensor:
        """``z`` of ``[B, *shape]`` without its bias."""
        return correlate(self.node, x, self.node.weight)

    def bias(self) -> torch.Tensor:
        """The bias, in the shape that adds to ``z``."""
        return self.node.bias.reshape(-1, *[1] * (len(self.shape) - 1))

    def activate(self, z: torch.Tensor) -> torch.Tensor:
        """The activation of ``z`` with its bias."""
        return torch.maximum(z, self.slope * z)


class _Geometry(Protocol):
    """What `correlate` reads of a convolution; a fully connected layer has weights of two dimensions."""

    @property
    def stride(self) -> Pair: ...
    @property
    def padding(self) -> Pair: ...
    @property
    def dilation(self) -> Pair: ...
    @property
    def groups(self) -> int: ...


def correlate(node: Dense | _Geometry, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Multiply or convolve ``[B, *shape]`` with `weight` as `node` does, without bias; a matrix flattens maps."""
    if weight.ndim == 2 or isinstance(node, Dense):
        return functional.linear(x.flatten(1), weight)
    return functional.conv2d(
        x, weight, stride=node.stride, padding=node.padding, dilation=node.dilation, groups=node.groups
    )


def stages_of(graph: Graph) -> tuple[Stage, ...]:
    """The stages of a chain of convolutions, fully connected layers, normalisations and activations.

    Raises:
        ConversionError: a node has no place in a sigma-delta network, or none is left.
    """
    graph = join_linear(fold_average(fold_affine(drop_idle(graph))))
    stages: list[Stage] = []
    behind_linear = False
    for node, shape in zip(graph.nodes, graph.shapes, strict=True):
        if isinstance(node, Conv | Dense):
            _check_memory(node)
            stages.append(Stage(node, LINEAR, shape))
        elif isinstance(node, Activation) and behind_linear:
            stages[-1] = Stage(stages[-1].node, _slope(node), shape)
        elif not isinstance(node, Flatten):
            raise ConversionError(
                f"'{node.name}' ({type(node).__name__}) has no sigma-delta form here",
                expected="convolutions and fully connected layers, each with batch normalisation and ReLU or LeakyReLU "
                "or nothing behind it",
                cause=_cause(node),
            )
        behind_linear = isinstance(node, Conv | Dense)
    if not stages:
        raise ConversionError("the network has no convolution and no fully connected layer", expected="at least one")
    return tuple(stages)


@dataclass(frozen=True)
class Ranges:
    """What registers have to hold on calibration data."""

    values: list[float]
    """Largest magnitude of the input, then of the output of each stage."""
    linear: list[float]
    """Largest magnitude in the accumulators of each stage, with and without bias."""


@torch.no_grad()
def measure_ranges(stages: tuple[Stage, ...], x: torch.Tensor, batch: int = 16) -> Ranges:
    """Ranges of images ``[B, *input_shape]``.

    Raises:
        ConversionError: the input or a layer is 0 everywhere, or not finite.
    """
    values, accumulated = np.zeros(len(stages) + 1), np.zeros(len(stages))
    for chunk in x.split(batch):
        values[0] = np.maximum(values[0], float(chunk.abs().max()))  # keeps NaN, which `max` may drop
        for i, stage in enumerate(stages):
            without = stage.linear(chunk)
            z = without + stage.bias()
            chunk = stage.activate(z)
            values[i + 1] = np.maximum(values[i + 1], float(chunk.abs().max()))
            accumulated[i] = max(accumulated[i], float(without.abs().max()), float(z.abs().max()))
    names = ["the input", *(f"'{stage.node.name}'" for stage in stages)]
    for name, value in zip(names, values, strict=True):
        if not 0 < value < np.inf:
            raise ConversionError(
                f"{name} has a largest activation of {value:g} on the calibration data",
                expected="a finite value above 0",
                cause="an empty, constant or untypical calibration set, or a layer of dead neurons",
            )
    return Ranges(values.tolist(), accumulated.tolist())


def _slope(node: Activation) -> float:
    if not 0 <= node.negative_slope <= 1:
        raise ConversionError(
            f"'{node.name}' has a negative slope of {node.negative_slope:g}",
            expected="0 (ReLU) to 1",
            cause="two populations ReLU(z) and ReLU(-slope z) carry slopes from 0 on",
        )
    return node.negative_slope


def _check_memory(node: Conv | Dense) -> None:
    if isinstance(node, Conv) and node.time_taps > 1:
        raise ConversionError(
            f"'{node.name}' sees {node.time_taps} steps", expected="layers that see one", cause="a kernel over time"
        )


def _cause(node: Node) -> str:
    name = type(node).__name__
    return {
        "Spike": "the network spikes already: quantise it instead",
        "Pool": "max pooling is not linear: use strides or average pooling",
        "Affine": "a normalisation without a linear layer right before it",
        "Vote": "votes are counted after the chip: leave them out of the graph",
        "Activation": "an activation without a linear layer right before it",
    }.get(name, "an unknown kind of layer")
