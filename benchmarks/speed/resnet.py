"""The spiking ResNet-18 of Spiking-FER in spikingjelly, multi-step."""

from typing import Any

import torch
from torch import nn

STAGES = ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2))
"""Channels before and after, and stride of the first of two blocks."""


def spikingjelly_resnet(n_classes: int) -> nn.Module:
    """Stem, four stages of two SEW blocks, mean over the image, sum over time, scores ``[1, N, n_classes]``."""
    from spikingjelly.activation_based import layer

    blocks: list[nn.Module] = []
    for before, after, stride in STAGES:
        blocks += [SEWBlock(before, after, stride), SEWBlock(after, after, 1)]
    any_layer: Any = layer
    return nn.Sequential(
        *_convolution(2, 64, 7, 2),
        any_layer.MaxPool2d(3, stride=2, padding=1),
        *blocks,
        any_layer.AdaptiveAvgPool2d(1),
        any_layer.Flatten(),
        any_layer.Linear(512, 512),
        any_layer.Dropout(0.5),
        SumOverTime(),
        nn.Linear(512, n_classes, bias=False),
    )


class SEWBlock(nn.Module):
    """Two convolutions whose spikes are added to those of the shortcut."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(*_convolution(before, after, 3, stride), *_convolution(after, after, 3, 1))
        changes = stride > 1 or before != after
        self.shortcut = nn.Sequential(*_convolution(before, after, 1, stride)) if changes else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.branch(x) + self.shortcut(x)


class SumOverTime(nn.Module):
    """The membrane without leak and threshold after the last step."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum(0, keepdim=True)


def _convolution(before: int, after: int, kernel: int, stride: int) -> list[Any]:
    from spikingjelly.activation_based import layer, neuron, surrogate

    return [
        layer.Conv2d(before, after, kernel, stride=stride, padding=kernel // 2, bias=False),
        layer.BatchNorm2d(after),
        neuron.IFNode(detach_reset=True, surrogate_function=surrogate.ATan()),
    ]
