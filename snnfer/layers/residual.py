"""Residual blocks of spiking networks."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import nn

from snnfer._check import check_choice
from snnfer.errors import ConfigError
from snnfer.layers._input import check_maps, check_neuron_maker, split_state
from snnfer.layers._streaming import apply_with_state
from snnfer.layers.blocks import SpikingConv2d
from snnfer.layers.norm import TimeBatchNorm2d
from snnfer.neurons import IF, Neuron

Connect = Literal["add", "and", "iand"]
CONNECT: dict[Connect, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "add": lambda branch, shortcut: branch + shortcut,
    "and": lambda branch, shortcut: branch * shortcut,
    "iand": lambda branch, shortcut: (1 - branch) * shortcut,
}


class SEWBlock(nn.Module):
    r"""Residual block that joins the spikes of branch and shortcut element by element (SEW).

    .. math::
        a &= \text{SN}(\text{BN}(W_2 * \text{SN}(\text{BN}(W_1 * x)))) \\
        y &= g(a, x), \qquad
        g_\text{add} = a + x, \quad g_\text{and} = a \wedge x, \quad g_\text{iand} = (\neg a) \wedge x

    with 3 x 3 convolutions :math:`W_1` (which has the stride) and :math:`W_2`, batch normalisation BN and neurons SN.
    Where the stride is above 1 or the number of channels changes, the shortcut is
    :math:`\text{SN}(\text{BN}(W_3 * x))` with a 1 x 1 convolution. Unlike a residual network whose neuron follows the
    sum, the block can be the identity, and its gradients neither vanish nor explode. With ``add`` the output counts
    spikes (0, 1, 2, ...) rather than being binary.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Stride of the first convolution and of the shortcut.
        connect: The function g: ``add``, ``and``, ``iand``.
        neuron: Builds each neuron: a class, or any function of no arguments.
        norm: Builds each normalisation from the number of channels, see `SpikingConv2d`.
        zero_init: Start with the scale of the last normalisation at zero: the branch is silent, and the block passes
            its shortcut on. It needs such a scale, and ``add`` or ``iand``.

    Shape:
        - Input: :math:`(T, N, C_\text{in}, H, W)`, spikes (or counts of spikes, with ``add``).
        - Output: :math:`(T, N, C_\text{out}, H / stride, W / stride)`, rounded up.
        - State: those of the neurons of the first convolution, the second, and the shortcut.

    Raises:
        SnnferError: an unknown `connect`, or a `zero_init` that cannot be.
        ShapeError: the input has another layout or number of channels.
        StateError: the state does not fit.

    References:
        Fang et al., "Deep Residual Learning in Spiking Neural Networks", NeurIPS 2021, table 1.

    Examples:
        >>> spikes = torch.randint(0, 2, (4, 1, 8, 16, 16)).float()
        >>> SEWBlock(8, 16, stride=2)(spikes).shape
        torch.Size([4, 1, 16, 8, 8])
        >>> torch.equal(SEWBlock(8, 8, zero_init=True)(spikes), spikes)
        True
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        connect: Connect = "add",
        neuron: Callable[[], Neuron] = IF,
        norm: Callable[[int], nn.Module] = TimeBatchNorm2d,
        zero_init: bool = False,
    ) -> None:
        super().__init__()
        check_choice(connect, list(CONNECT), name="connect")
        check_neuron_maker(neuron)
        self.connect: Connect = connect
        self.conv1 = SpikingConv2d(in_channels, out_channels, stride=stride, neuron=neuron(), norm=norm, pool=1)
        self.conv2 = SpikingConv2d(out_channels, out_channels, neuron=neuron(), norm=norm, pool=1)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = SpikingConv2d(
                in_channels, out_channels, kernel_size=1, stride=stride, neuron=neuron(), norm=norm, pool=1
            )
        if zero_init:
            self._silence_branch()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_with_state(x)[0]

    def forward_with_state(
        self, x: torch.Tensor, state: tuple[Any, Any, Any] | None = None
    ) -> tuple[torch.Tensor, tuple[Any, Any, Any]]:
        """Output and the states of the three neurons after the last step; `state` None means rest."""
        check_maps(x, channels=self.conv1.conv.in_channels)
        first, second, third = split_state(state, 3, layer=self)
        branch, first = self.conv1.forward_with_state(x, first)
        branch, second = self.conv2.forward_with_state(branch, second)
        shortcut, third = apply_with_state(self.shortcut, x, third)
        return CONNECT[self.connect](branch, shortcut), (first, second, third)

    def extra_repr(self) -> str:
        return f"connect={self.connect!r}"

    def _silence_branch(self) -> None:
        weight = getattr(self.conv2.norm, "weight", None)
        if self.connect == "and" or not isinstance(weight, nn.Parameter):
            raise ConfigError(
                f"zero_init with connect = '{self.connect}' and norm = {type(self.conv2.norm).__name__}",
                expected="connect 'add' or 'iand', and a normalisation with a weight",
                cause="an 'and' with a silent branch is silent" if self.connect == "and" else "",
                fix="pass zero_init=False",
            )
        nn.init.zeros_(weight)
