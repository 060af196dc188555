"""Pooling of spikes on ``[T, N, C, H, W]``."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from snnfer._check import check_positive
from snnfer.layers._input import check_floating, check_maps, check_neuron, check_pool
from snnfer.layers._streaming import apply_with_state
from snnfer.layout import merge_time, split_time
from snnfer.neurons import IF, Neuron


class SpikingMaxPool2d(nn.MaxPool2d):
    r"""Largest value of each window and step: of binary spikes, whether any neuron of the window fires.

    .. math::
        y_{t, i, j} = \max_{(a, b) \in \text{window}(i, j)} x_{t, a, b}

    It has no memory, and spikes stay spikes.

    Args:
        kernel_size: Side of the window.
        stride: Distance between windows; `kernel_size` by default, so that they touch.
        padding: Rows and columns on each side that never are the largest.

    Shape:
        - Input: :math:`(T, N, C, H, W)`.
        - Output: :math:`(T, N, C, H', W')` with
          :math:`H' = \lfloor (H + 2\,padding - kernel\_size) / stride \rfloor + 1`, W' likewise.

    Raises:
        SnnferError: `kernel_size` is not above zero.
        ShapeError: the input has another layout, or maps smaller than the window.

    References:
        Fang et al., "Incorporating Learnable Membrane Time Constant to Enhance Learning of Spiking Neural Networks",
        ICCV 2021, which compares max and average pooling of spikes.

    Examples:
        >>> SpikingMaxPool2d(2)(torch.eye(4).reshape(1, 1, 1, 4, 4))[0, 0, 0]
        tensor([[1., 0.],
                [0., 1.]])
    """

    kernel_size: int
    padding: int

    def __init__(self, kernel_size: int, *, stride: int | None = None, padding: int = 0) -> None:
        check_positive(kernel_size, name="kernel_size")
        super().__init__(kernel_size, stride, padding)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        check_maps(input)
        check_pool(input, self.kernel_size, padding=self.padding)
        pooled = F.max_pool2d(merge_time(input), self.kernel_size, self.stride, self.padding)
        return split_time(pooled, len(input))  # [T, N, C, H', W']


class SpikingAvgPool2d(nn.Module):
    r"""Mean of each window, and neurons that turn it into spikes again.

    .. math::
        y = \text{neuron}\Big(\tfrac{1}{k^2} \sum_{(a, b) \in \text{window}} x_{a, b}\Big)

    The default is an integrate-and-fire neuron that subtracts its threshold, with which no spike is lost: after t steps
    it has fired as often as the sum of the means has passed a whole number.

    Args:
        kernel_size: Side k of the window, and distance between windows.
        neuron: The neuron; a new ``IF(reset="soft")`` by default.

    Shape:
        - Input: :math:`(T, N, C, H, W)`.
        - Output: :math:`(T, N, C, H / k, W / k)`, rounded down.
        - State: that of the neuron.

    Raises:
        SnnferError: `kernel_size` is not above zero.
        ShapeError: the input has another layout, whole numbers, or maps smaller than the window.

    References:
        Cao et al., "Spiking Deep Convolutional Neural Networks for Energy-Efficient Object Recognition", IJCV 2015;
        Rueckauer et al., Frontiers in Neuroscience 2017 (reset by subtraction).

    Examples:
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).expand(4, 1, 1, 2, 2)  # mean 0.5 in every step
        >>> SpikingAvgPool2d(2)(x).flatten()
        tensor([0., 1., 0., 1.])
    """

    def __init__(self, kernel_size: int, *, neuron: Neuron | None = None) -> None:
        super().__init__()
        check_positive(kernel_size, name="kernel_size")
        check_neuron(neuron)
        self.kernel_size = kernel_size
        self.neuron = neuron if neuron is not None else IF(reset="soft")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_with_state(x)[0]

    def forward_with_state(self, x: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        """Output and the state of the neuron after the last step; `state` None means rest."""
        check_maps(x)
        check_floating(x)
        check_pool(x, self.kernel_size)
        means = split_time(F.avg_pool2d(merge_time(x), self.kernel_size), len(x))  # [T, N, C, H / k, W / k]
        return apply_with_state(self.neuron, means, state)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}"


class GlobalAvgPool2d(nn.Module):
    r"""Mean over the image, per step and channel: the end of a convolutional network without a flattening layer.

    .. math::
        y_{t, c} = \frac{1}{H W} \sum_{i, j} x_{t, c, i, j}

    Its output is real-valued: put a neuron behind it where spikes must come out.

    Shape:
        - Input: :math:`(T, N, C, H, W)`.
        - Output: :math:`(T, N, C)`.

    Raises:
        ShapeError: the input has another layout, or whole numbers.

    References:
        Lin et al., "Network In Network", ICLR 2014.

    Examples:
        >>> GlobalAvgPool2d()(torch.ones(4, 2, 8, 5, 5)).shape
        torch.Size([4, 2, 8])
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_maps(x)
        check_floating(x)
        return x.mean((3, 4))  # [T, N, C]
