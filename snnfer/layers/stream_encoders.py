"""Encoders of signals over time: changes of a signal as events, and a learned convolution as the first layer."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from snnfer._check import check_positive
from snnfer.layers._input import check_maps, check_state
from snnfer.layers._streaming import apply_with_state
from snnfer.layers.blocks import SpikingConv2d
from snnfer.layers.norm import TimeBatchNorm2d
from snnfer.neurons import Neuron


class DeltaEncoder(nn.Module):
    r"""Delta modulation: a spike when the signal has moved by a threshold since the last one, as in an event camera.

    .. math::
        n_t = \text{clip}\Big(\text{trunc}\,\frac{x_t - r_{t-1}}{\theta},\, \pm n_\text{max}\Big), \qquad
        r_t = r_{t-1} + n_t\,\theta, \qquad
        y_t = [\max(-n_t, 0),\ \max(n_t, 0)]

    :math:`r` is the level that a receiver can rebuild from the spikes: as long as :math:`n_\text{max}` does not limit,
    :math:`|x_t - r_t| < \theta`. At the start it is the first step, which therefore gives no spikes. Feed it the
    logarithm of the intensity to get the contrast events of a sensor. No gradient reaches the input.

    Args:
        threshold: :math:`\theta`, in units of the input, > 0.
        max_spikes: :math:`n_\text{max}`, per step and pixel; 1 gives binary spikes, and follows fast changes late.

    Shape:
        - Input: :math:`(T, N, C, H, W)`, any real values.
        - Output: :math:`(T, N, 2 C, H, W)`: C channels OFF, then C channels ON (for C = 1 the order of `CountFrames`).
        - State: :math:`(N, C, H, W)`, the level r, float32 or wider.

    Raises:
        SnnferError: an argument is not above zero.
        ShapeError: the input has another layout.
        StateError: the state does not fit the input.

    References:
        Lichtsteiner et al., "A 128x128 120 dB 15 us Latency Asynchronous Temporal Contrast Vision Sensor", IEEE Journal
        of Solid-State Circuits 2008; Petro et al., "Selection and Optimization of Temporal Spike Encoding Methods for
        Spiking Neural Networks", IEEE TNNLS 2020 (step-forward encoding).

    Examples:
        >>> x = torch.tensor([0.0, 0.3, 0.6, 0.2]).reshape(4, 1, 1, 1, 1)
        >>> DeltaEncoder(0.25)(x)[:, 0, :, 0, 0]  # OFF, ON
        tensor([[0., 0.],
                [0., 1.],
                [0., 1.],
                [1., 0.]])
    """

    def __init__(self, threshold: float, *, max_spikes: int = 1) -> None:
        super().__init__()
        check_positive(threshold, name="threshold", unit="in units of the input")
        check_positive(max_spikes, name="max_spikes", unit="per step and pixel")
        self.threshold, self.max_spikes = threshold, max_spikes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_with_state(x)[0]

    def forward_with_state(
        self, x: torch.Tensor, state: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Spikes and the level after the last step; `state` None starts at the first step."""
        check_maps(x)
        signal = x.detach().to(torch.promote_types(x.dtype, torch.float32))
        level = signal[0] if state is None else check_state(state, x.shape[1:], x=x)
        steps = []
        for value in signal:
            n = ((value - level) / self.threshold).trunc().clamp(-self.max_spikes, self.max_spikes)
            level = level + n * self.threshold
            steps.append(torch.cat([n.clamp_max(0).abs(), n.clamp_min(0)], 1))  # [N, 2 C, H, W]
        return torch.stack(steps).to(x.dtype), level

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}, max_spikes={self.max_spikes}"


class ConvEncoder(SpikingConv2d):
    r"""Learned encoder: convolution, batch normalisation and neuron turn images or event counts into spikes.

    .. math::
        y = \text{neuron}\big(\text{repeat}(\text{norm}(W * x),\ n_\text{steps})\big)

    It is the first block of the Action Unit network before its pooling: with ``n_steps=1`` a `SpikingConv2d` of event
    frames with ``pool=1``. Images are convolved once, and their current drives the neurons for `n_steps` steps.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        n_steps: Steps of the output per step of the input.
        kernel_size, stride, neuron, norm: As in `SpikingConv2d`.

    Shape:
        - Input: :math:`(T, N, C_\text{in}, H, W)`; images :math:`(N, C, H, W)` enter as ``x[None]``.
        - Output: :math:`(T \cdot n_\text{steps}, N, C_\text{out}, H / stride, W / stride)`, rounded up.

    Raises:
        ShapeError: the input has another layout or number of channels.
        SnnferError: `n_steps` or `stride` is not above zero.

    References:
        Fang et al., "Incorporating Learnable Membrane Time Constant to Enhance Learning of Spiking Neural Networks",
        ICCV 2021 (learnable encoder); Mastropasqua et al., "Exploring Spatial-Temporal Dynamics in
        Event-based Facial Micro-Expression Analysis", 2025, figure 3.

    Examples:
        >>> images = torch.rand(2, 3, 16, 16)
        >>> ConvEncoder(3, 8, n_steps=5)(images[None]).shape
        torch.Size([5, 2, 8, 16, 16])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        n_steps: int = 1,
        kernel_size: int = 3,
        stride: int = 1,
        neuron: Neuron | None = None,
        norm: Callable[[int], nn.Module] = TimeBatchNorm2d,
    ) -> None:
        check_positive(n_steps, name="n_steps", unit="steps per image")
        super().__init__(
            in_channels, out_channels, kernel_size=kernel_size, stride=stride, neuron=neuron, norm=norm, pool=1
        )
        self.n_steps = n_steps

    def forward_with_state(self, x: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        current = self.current(x).repeat_interleave(self.n_steps, 0)  # [T * n_steps, N, C, H, W]
        return apply_with_state(self.neuron, current, state)

    def extra_repr(self) -> str:
        return f"n_steps={self.n_steps}"
