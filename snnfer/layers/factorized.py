"""The factorised 3-D convolution of CS3D."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from snnfer.layers._input import check_maps, check_neuron_maker, split_state
from snnfer.layers._streaming import apply_with_state, run_by_step
from snnfer.layers._volume import check_streams, convolve_back, make_conv, on_volume
from snnfer.neurons import SoftSpiking


class FactorizedConv3d(nn.Module):
    r"""3-D convolution in four cheap steps, with a shortcut: time and space are filtered apart, channel by channel.

    .. math::
        u &= f\big(\mathrm{BN}(P_1 * (D_t * x))\big) \\
        y &= f\big(\mathrm{BN}(P_2 * (D_s * u)) + S(x)\big)

    :math:`D_t` is depthwise over three steps (3 x 1 x 1), :math:`D_s` depthwise over 3 x 3 pixels (1 x 3 x 3),
    :math:`P_1, P_2` are pointwise (1 x 1 x 1), :math:`f` is the neuron, and :math:`S` the identity where the widths are
    equal and a pointwise convolution where they are not. No convolution has a bias. A full 3 x 3 x 3 convolution has
    :math:`27\,C_\text{in} C_\text{out}` weights, these have
    :math:`3\,C_\text{in} + C_\text{in} C_\text{out} + 9\,C_\text{out} + C_\text{out}^2`, and those of the shortcut.

    The order of the four convolutions and the shortcut are the paper's. Where norms and neurons stand, that nothing has
    a bias and that the shortcut is not normalised, is inferred: it is the arrangement with which the whole network
    costs the 4.26 G that the paper prints.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        neuron: Makes each of the two neurons: a class or function without arguments, such as
            ``functools.partial(SoftSpiking, theta=0.3)``, `PLIF`, or `torch.nn.ReLU` for a network without spikes.
        residual: Whether the shortcut is added.
        causal: Whether a step sees only itself and the two before it (zeros before the first), so that the block can
            stream. Otherwise it sees one step before and one after, and wants whole clips.

    Shape:
        - Input: :math:`(T, N, C_\text{in}, H, W)`.
        - Output: :math:`(T, N, C_\text{out}, H, W)`.

    Raises:
        ShapeError: the input has another number of dimensions or channels, or no step.
        StateError: the state does not fit, or the block is not causal and is asked to stream.

    References:
        "CS3D: an efficient facial expression recognition via event vision", arXiv:2512.09592 (FactorizedConv3D).

    Examples:
        >>> block = FactorizedConv3d(2, 8, causal=True).eval()
        >>> clip = torch.rand(6, 1, 2, 16, 16)
        >>> first, state = block.forward_with_state(clip[:4])
        >>> rest, state = block.forward_with_state(clip[4:], state)
        >>> torch.equal(torch.cat([first, rest]), block(clip))
        True
        >>> sum(p.numel() for p in FactorizedConv3d(8, 8).parameters())  # a full 3 x 3 x 3 convolution has 1728
        256
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        neuron: Callable[[], nn.Module] = SoftSpiking,
        residual: bool = True,
        causal: bool = False,
    ) -> None:
        super().__init__()
        check_neuron_maker(neuron)
        self.in_channels = in_channels
        self.causal = causal
        self.temporal = make_conv(in_channels, in_channels, (3, 1, 1), groups=in_channels, causal=causal)
        self.pointwise1 = make_conv(in_channels, out_channels, (1, 1, 1))
        self.norm1 = nn.BatchNorm3d(out_channels)
        self.neuron1 = neuron()
        self.spatial = make_conv(out_channels, out_channels, (1, 3, 3), groups=out_channels)
        self.pointwise2 = make_conv(out_channels, out_channels, (1, 1, 1))
        self.norm2 = nn.BatchNorm3d(out_channels)
        self.shortcut = _shortcut(in_channels, out_channels) if residual else None
        self.neuron2 = neuron()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._run(x, None)[0]

    def forward_with_state(self, x: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        """Output and the state after the last step; `state` None means rest.

        The state is the last two steps of the input ``[2, N, C_in, H, W]`` and the states of the two neurons. In
        evaluation mode any cut of a clip into chunks gives the same bits.
        """
        check_streams(self, looks_ahead=not self.causal)
        return self._run(x, state)

    def _run(self, x: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        check_maps(x, channels=self.in_channels)
        if self.causal and not self.training:
            return run_by_step(self._convolve, x, state)
        return self._convolve(x, state)

    def _convolve(self, x: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        before, state1, state2 = split_state(state, 3, layer=self)
        if self.causal:
            y, before = convolve_back(self.temporal, x, before)
        else:
            y = on_volume(self.temporal, x)
        y = on_volume(self.norm1, on_volume(self.pointwise1, y))
        y, state1 = apply_with_state(self.neuron1, y, state1)
        y = on_volume(self.norm2, on_volume(self.pointwise2, on_volume(self.spatial, y)))
        if self.shortcut is not None:
            y = y + on_volume(self.shortcut, x)
        y, state2 = apply_with_state(self.neuron2, y, state2)
        return y, (before, state1, state2)

    def extra_repr(self) -> str:
        return f"causal={self.causal}"


def _shortcut(in_channels: int, out_channels: int) -> nn.Module:
    return nn.Identity() if in_channels == out_channels else make_conv(in_channels, out_channels, (1, 1, 1))
