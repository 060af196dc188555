"""Spiking blocks: a weighted layer, its normalisation, a neuron, pooling."""

from typing import Any

import torch
from torch import nn

from snnfer.layers._streaming import apply_with_state
from snnfer.layout import merge_time, split_time
from snnfer.neurons import PLIF, Neuron


class SpikingConv2d(nn.Module):
    """Convolution, batch normalisation, neuron and max pooling on ``[T, N, C, H, W]``.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Side of the kernel; padded so that the size stays.
        neuron: The neuron; a new `PLIF` by default.
        norm: Whether to normalise (over batch and steps) before the neuron; if not, the convolution has a bias.
        pool: Side and stride of the max pooling; 1 for none.

    Shape:
        - Input: :math:`(T, N, C_\\text{in}, H, W)`.
        - Output: :math:`(T, N, C_\\text{out}, H / pool, W / pool)`, rounded down.

    Examples:
        >>> SpikingConv2d(2, 8)(torch.rand(4, 1, 2, 16, 16)).shape
        torch.Size([4, 1, 8, 8, 8])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 3,
        neuron: Neuron | None = None,
        norm: bool = True,
        pool: int = 2,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding="same", bias=not norm)
        self.norm = nn.BatchNorm2d(out_channels) if norm else nn.Identity()
        self.neuron = neuron if neuron is not None else PLIF()
        self.pool = nn.MaxPool2d(pool) if pool > 1 else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_with_state(x)[0]

    def forward_with_state(self, x: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        """Output and the state of the neuron after the last step; `state` None means rest."""
        n_steps = len(x)
        current = split_time(self.norm(self.conv(merge_time(x))), n_steps)  # [T, N, C, H, W]
        spikes, state = apply_with_state(self.neuron, current, state)
        return split_time(self.pool(merge_time(spikes)), n_steps), state


class SpikingLinear(nn.Module):
    """Fully connected layer and neuron on ``[T, N, F]``.

    Args:
        in_features: Size of the input.
        out_features: Number of neurons.
        bias: Whether the layer adds a learnable bias.
        neuron: The neuron; a new `PLIF` by default.

    Shape:
        - Input: :math:`(T, N, F_\\text{in})`.
        - Output: :math:`(T, N, F_\\text{out})`.

    Examples:
        >>> SpikingLinear(16, 4)(torch.rand(5, 2, 16)).shape
        torch.Size([5, 2, 4])
    """

    def __init__(self, in_features: int, out_features: int, *, bias: bool = True, neuron: Neuron | None = None) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features, bias=bias)
        self.neuron = neuron if neuron is not None else PLIF()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_with_state(x)[0]

    def forward_with_state(self, x: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        """Output and the state of the neuron after the last step; `state` None means rest."""
        return apply_with_state(self.neuron, self.linear(x), state)
