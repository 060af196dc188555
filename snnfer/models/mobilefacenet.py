"""MobileFaceNet as the landmark branch of POSTER++: three levels of features, without its regression of landmarks."""

from collections.abc import Sequence

import torch
from torch import nn

from snnfer._check import check_positive

EXPANSION = 2  # of a residual block; a block with stride expands to twice its output
LAST_EXPANSION = 4


class MobileFaceNet(nn.Module):
    r"""Features of faces at three levels, from a network that was trained to find landmarks.

    Two convolutions and a block with stride 2 lead to level 1; two further blocks with stride 2, each followed by
    residual blocks, to levels 2 and 3. All blocks are inverted bottlenecks: convolution 1 x 1, depthwise 3 x 3, and a
    linear convolution 1 x 1. The layers behind level 3, which regress 136 coordinates of landmarks, have no part in
    POSTER++ and are left out.

    Args:
        in_channels: Channels of the input.
        widths: Channels of level 1, of level 2, and half those of level 3.
        depths: Residual blocks in front of each level.

    Shape:
        - Input: :math:`(N, C, H, W)`, 112 x 112 pixels in the paper.
        - Output: three tensors :math:`(N, w_1, H/4, W/4)`, :math:`(N, w_2, H/8, W/8)` and
          :math:`(N, 2 w_3, H/16, W/16)`.

    References:
        Chen et al., "MobileFaceNets", CCBR 2018. Chen, "PyTorch Face Landmark", 2021: the weights of POSTER++.

    Examples:
        >>> [list(level.shape) for level in MobileFaceNet()(torch.rand(2, 3, 112, 112))]
        [[2, 64, 28, 28], [2, 128, 14, 14], [2, 512, 7, 7]]
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        widths: Sequence[int] = (64, 128, 256),
        depths: Sequence[int] = (4, 6, 2),
    ) -> None:
        super().__init__()
        for depth in depths:
            check_positive(depth, name="a depth of the landmark branch", unit="blocks")
        first, second, third = widths
        self.stem = nn.Sequential(
            _ConvUnit(in_channels, first, kernel_size=3, stride=2),
            _ConvUnit(first, first, kernel_size=3, groups=first),
        )
        self.level1 = _level(first, first, EXPANSION * first, depths[0])
        self.level2 = _level(first, second, EXPANSION * second, depths[1])
        self.level3 = _level(second, second, LAST_EXPANSION * second, depths[2])
        self.output = _ConvUnit(second, 2 * third)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Three levels of features of ``[N, C, H, W]``, from fine to coarse."""
        first = self.level1(self.stem(x))
        second = self.level2(first)
        return first, second, self.output(self.level3(second))


def _level(in_channels: int, channels: int, strided: int, depth: int) -> nn.Sequential:
    """A block with stride 2 that expands to `strided` channels, and `depth` residual blocks."""
    blocks = [_Block(channels, channels, EXPANSION * channels) for _ in range(depth)]
    return nn.Sequential(_Block(in_channels, channels, strided, stride=2), *blocks)


class _ConvUnit(nn.Sequential):
    """Convolution without bias, batch normalisation and, unless `linear`, PReLU with one slope per channel."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 1,
        stride: int = 1,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        padding = kernel_size // 2
        conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=False)
        super().__init__(conv, nn.BatchNorm2d(out_channels), *([] if linear else [nn.PReLU(out_channels)]))


class _Block(nn.Module):
    """Inverted bottleneck; with stride 1 its input is added to its output."""

    def __init__(self, in_channels: int, out_channels: int, expanded: int, *, stride: int = 1) -> None:
        super().__init__()
        self.expand = _ConvUnit(in_channels, expanded)
        self.depthwise = _ConvUnit(expanded, expanded, kernel_size=3, stride=stride, groups=expanded)
        self.project = _ConvUnit(expanded, out_channels, linear=True)
        self.residual = stride == 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y
