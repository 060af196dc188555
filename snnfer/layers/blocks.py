"""Spiking blocks: a weighted layer, its normalisation, a neuron, pooling."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from snnfer._check import check_positive
from snnfer.layers._block import convolve, fused_block, is_fusible
from snnfer.layers._input import check_maps, check_neuron, check_steps
from snnfer.layers._recompute import Stages, can_recompute, recomputed
from snnfer.layers._streaming import apply_with_state
from snnfer.layers.norm import TimeBatchNorm2d
from snnfer.layers.pooling import SpikingMaxPool2d
from snnfer.layout import merge_time, split_time
from snnfer.neurons import PLIF, Neuron


class SpikingConv2d(nn.Module):
    r"""Convolution, batch normalisation, neuron and max pooling on ``[T, N, C, H, W]``.

    .. math::
        s = \text{neuron}(\text{norm}(W * x)), \qquad y = \text{maxpool}(s)

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Side of the kernel; padded so that the size stays (or, with a stride, is divided and rounded up).
        stride: Stride of the convolution.
        neuron: The neuron; a new `PLIF` by default.
        norm: Builds the normalisation between convolution and neuron from the number of channels: a layer on
            ``[T, N, C, H, W]`` such as `TimeBatchNorm2d` or `ThresholdDependentBatchNorm2d`. With `torch.nn.Identity`
            there is none, and the convolution has a bias.
        pool: Side and stride of the max pooling; 1 for none.

    Shape:
        - Input: :math:`(T, N, C_\text{in}, H, W)`.
        - Output: :math:`(T, N, C_\text{out}, H / (stride \cdot pool), W / (stride \cdot pool))`; the convolution
          rounds up, the pooling down.

    On the CPU normalisation, neuron and pooling run as one compiled kernel, which keeps the output of the convolution
    alone for the backward pass and gives channels-last memory. It is an optimisation of the three modules: where a hook
    or `snnfer.neurons.observe` watches one of them, where one is of another class or replaced, or where the data are
    neither float32 nor float64, the modules run one after the other, also inside ``use_kernel("cpu")``. In training it
    adds the statistics up in float64, so that a spike may differ where a potential is within rounding of the threshold.

    Raises:
        ShapeError: the input has another layout or number of channels, whole numbers, or maps smaller than the pooling.
        SnnferError: `stride` or `pool` is not above zero, or `neuron` is a class.

    References:
        Fang et al., "Incorporating Learnable Membrane Time Constant to Enhance Learning of Spiking Neural Networks",
        ICCV 2021 (convolution, normalisation, neuron, pooling in this order); Mastropasqua et al., "Exploring
        Spatial-Temporal Dynamics in Event-based Facial Micro-Expression Analysis", 2025, figure 3.

    Examples:
        >>> SpikingConv2d(2, 8)(torch.rand(4, 1, 2, 16, 16)).shape
        torch.Size([4, 1, 8, 8, 8])
        >>> SpikingConv2d(2, 8, kernel_size=7, stride=2, pool=1)(torch.rand(4, 1, 2, 16, 16)).shape
        torch.Size([4, 1, 8, 8, 8])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 3,
        stride: int = 1,
        neuron: Neuron | None = None,
        norm: Callable[[int], nn.Module] = TimeBatchNorm2d,
        pool: int = 2,
    ) -> None:
        super().__init__()
        check_positive(stride, name="stride")
        check_positive(pool, name="pool")
        check_neuron(neuron)
        padding = "same" if stride == 1 else (kernel_size - 1) // 2
        normalisation = norm(out_channels)
        bias = isinstance(normalisation, nn.Identity)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride=stride, padding=padding, bias=bias)
        self.norm = normalisation
        self.neuron = neuron if neuron is not None else PLIF()
        self.pool = SpikingMaxPool2d(pool) if pool > 1 else nn.Identity()
        self.checkpoint_every = 0  # see checkpoint_over_time

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_with_state(x)[0]

    def forward_with_state(self, x: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        """Output and the state of the neuron after the last step; `state` None means rest."""
        stages = Stages(self.conv, self.norm, self.neuron, self.pool)
        if self._saves_memory() and self._is_plain() and can_recompute(stages):
            check_maps(x, channels=self.conv.in_channels)
            return recomputed(stages, x, state, self.checkpoint_every)
        if self._is_plain() and is_fusible(self.norm, self.neuron, self.pool, x):
            check_maps(x, channels=self.conv.in_channels)
            convolved = convolve(self.conv, x)
            fused = fused_block(self.norm, self.neuron, self.pool, convolved, state)
            if fused is not None:
                return fused
            current = self.norm(convolved)
        else:
            current = self.current(x)
        spikes, state = apply_with_state(self.neuron, current, state)
        return self.pool(spikes), state

    def current(self, x: torch.Tensor) -> torch.Tensor:
        """What enters the neuron: the normalised convolution ``[T, N, C_out, H / stride, W / stride]``."""
        check_maps(x, channels=self.conv.in_channels)
        return self.norm(split_time(self.conv(merge_time(x)), len(x)))

    def _saves_memory(self) -> bool:
        return bool(self.checkpoint_every) and self.training and torch.is_grad_enabled()

    def _is_plain(self) -> bool:
        """Whether `current` is that of this class, so that it need not be called."""
        own = type(self).current is SpikingConv2d.current and "current" not in self.__dict__
        return own and isinstance(self.conv, nn.Conv2d)


class SpikingLinear(nn.Module):
    r"""Fully connected layer and neuron on ``[T, N, F]``.

    .. math::
        y = \text{neuron}(W x + b)

    Args:
        in_features: Size of the input.
        out_features: Number of neurons.
        bias: Whether the layer adds a learnable bias.
        neuron: The neuron; a new `PLIF` by default.

    Shape:
        - Input: :math:`(T, N, F_\text{in})`.
        - Output: :math:`(T, N, F_\text{out})`.

    Raises:
        ShapeError: the input has another number of features, for example maps that are not flattened.

    References:
        Fang et al., "Incorporating Learnable Membrane Time Constant to Enhance Learning of Spiking Neural Networks",
        ICCV 2021.

    Examples:
        >>> SpikingLinear(16, 4)(torch.rand(5, 2, 16)).shape
        torch.Size([5, 2, 4])
    """

    def __init__(self, in_features: int, out_features: int, *, bias: bool = True, neuron: Neuron | None = None) -> None:
        super().__init__()
        check_neuron(neuron)
        self.linear = nn.Linear(in_features, out_features, bias=bias)
        self.neuron = neuron if neuron is not None else PLIF()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_with_state(x)[0]

    def forward_with_state(self, x: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        """Output and the state of the neuron after the last step; `state` None means rest."""
        check_steps(x, features=self.linear.in_features)
        return apply_with_state(self.neuron, self.linear(x), state)
