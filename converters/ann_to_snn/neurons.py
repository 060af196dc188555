"""What a rate-coded network is made of besides torch's layers: its neuron and its max pooling."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from snnfer.layers._input import check_maps, check_state
from snnfer.layout import merge_time, split_time
from snnfer.neurons import IF, functional


class RateIF(IF):
    r"""Integrate-and-fire neuron whose number of spikes is a quantised ReLU of its mean input.

    .. math::
        h_t = v_{t-1} + x_t / \theta, \quad s_t = \Theta(h_t - 1), \quad v_t = h_t - s_t, \quad v_{-1} = q

    After T steps of the constant current x, :math:`\theta` times the mean of the spikes is

    .. math::
        \frac{\theta}{T}\,\text{clip}\Big(\Big\lfloor \frac{x T}{\theta} + q \Big\rfloor, 0, T\Big),

    which with the half-threshold charge :math:`q = 1/2` rounds :math:`xT/\theta` to the nearest whole number.
    Subtracting the threshold keeps what a reset to zero would throw away.

    Args:
        channels: Number of channels (features of vectors), one threshold each.
        initial_charge: Potential q before the first step, in thresholds.

    Attributes:
        threshold: Buffer ``[channels]``, in units of the input.

    Shape:
        - Input: :math:`(T, N, C, *)`, real-valued current.
        - Output: :math:`(T, N, C, *)`, values in {0, 1}.
        - State: :math:`(N, C, *)`, the potential in thresholds.

    Raises:
        ShapeError: the input has fewer than two dimensions.
        StateError: the state does not fit the input.

    References:
        Rueckauer et al., "Conversion of Continuous-Valued Deep Networks to Efficient Event-Driven Networks for Image
        Classification", Frontiers in Neuroscience 2017, eq. (3) (reset by subtraction); Bu et al., "Optimal ANN-SNN
        Conversion for High-accuracy and Ultra-low-latency Spiking Neural Networks", ICLR 2022, section 4.2 (half
        threshold as initial potential).

    Examples:
        >>> neuron = RateIF(1)
        >>> neuron(torch.full((8, 1, 1), 0.4)).sum()  # 0.4 * 8 = 3.2 rounds to 3
        tensor(3.)
    """

    threshold: torch.Tensor

    def __init__(self, channels: int, *, initial_charge: float = 0.5) -> None:
        super().__init__(reset="soft")
        self.initial_charge = initial_charge
        self.register_buffer("threshold", torch.ones(channels))

    def forward_with_state(
        self, x: torch.Tensor, state: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        functional.check_input(x)
        current = x / self.threshold.view(-1, *(1,) * (x.ndim - 3))  # float32 for half precision
        if state is None:
            state = torch.full(x.shape[1:], self.initial_charge, dtype=current.dtype, device=x.device)
        spikes, state = functional.if_(current, state, **self._firing())
        return spikes.to(x.dtype), state

    def settings(self) -> dict[str, Any]:
        return {"channels": len(self.threshold), "initial_charge": self.initial_charge}


class CumulativeMaxPool2d(nn.Module):
    r"""Max pooling of spike trains: its output sums up to the largest sum of each window.

    .. math::
        y_t = m_t - m_{t-1}, \quad m_t = \max_{j \in \text{window}} \sum_{t' \le t} x_{t', j}, \quad m_{-1} = 0

    The largest spike of each step, which is what a pooling layer without memory gives, fires as soon as any neuron of
    the window does, so that its rate is above every rate of the window. This one passes the spikes of the neuron that
    has fired most so far: of binary spikes the output is binary, and its rate is exactly the largest rate.

    Args:
        kernel_size: Height and width of the window.
        stride: Distance between windows.
        padding: Positions around the maps that never are the largest.

    Shape:
        - Input: :math:`(T, N, C, H, W)`, spikes or currents.
        - Output: :math:`(T, N, C, H', W')`.
        - State: :math:`(N, C, H, W)`, the sums so far.

    Raises:
        ShapeError: the input has another layout.
        StateError: the state does not fit the input.

    References:
        Rueckauer et al., Frontiers in Neuroscience 2017, section 2.2.3 (a gate that lets the maximally firing neuron
        through); the form with differences of maxima is ours.

    Examples:
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]).reshape(3, 1, 1, 1, 2)  # one spike against two
        >>> CumulativeMaxPool2d((1, 2), stride=(1, 2))(x).flatten()
        tensor([1., 0., 1.])
    """

    def __init__(
        self, kernel_size: tuple[int, int], *, stride: tuple[int, int], padding: tuple[int, int] = (0, 0)
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = tuple(kernel_size), tuple(stride), tuple(padding)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_with_state(x)[0]

    def forward_with_state(
        self, x: torch.Tensor, state: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Output ``[T, N, C, H', W']`` and the sums after the last step; `state` None means none so far."""
        check_maps(x)
        before = torch.zeros_like(x[0]) if state is None else check_state(state, x.shape[1:], x=x)
        sums = before + x.cumsum(0)
        all_sums = merge_time(torch.cat([before[None], sums]))
        largest = F.max_pool2d(all_sums, self.kernel_size, self.stride, self.padding)
        return split_time(largest, len(x) + 1).diff(dim=0), sums[-1]  # [T, N, C, H', W']

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
