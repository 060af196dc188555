"""IR-50, the image branch of POSTER++: three levels of features of a network for face recognition."""

from collections.abc import Sequence

import torch
from torch import nn

from snnfer._check import check_positive


class IR50(nn.Module):
    r"""Features of faces at three levels, from the first three of the four bodies of ArcFace's IR-50.

    A convolution, then bodies of residual blocks; the first block of each body has stride 2. A block is batch
    normalisation, convolution 3 x 3, PReLU, convolution 3 x 3 with the stride, batch normalisation; its shortcut takes
    every second pixel, through a convolution 1 x 1 and batch normalisation where the channels change. The fourth body
    and the layers behind it, which describe who the person is, have no part in POSTER++ and are left out.

    Args:
        in_channels: Channels of the input.
        widths: Channels of the three bodies; the first convolution has as many as the first body.
        depths: Blocks of each body.

    Shape:
        - Input: :math:`(N, C, H, W)`, 112 x 112 pixels in the paper.
        - Output: three tensors :math:`(N, w_1, H/2, W/2)`, :math:`(N, w_2, H/4, W/4)` and :math:`(N, w_3, H/8, W/8)`.

    References:
        Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", CVPR 2019, section 3.1.

    Examples:
        >>> [list(level.shape) for level in IR50()(torch.rand(2, 3, 112, 112))]
        [[2, 64, 56, 56], [2, 128, 28, 28], [2, 256, 14, 14]]
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        widths: Sequence[int] = (64, 128, 256),
        depths: Sequence[int] = (3, 4, 14),
    ) -> None:
        super().__init__()
        for depth in depths:
            check_positive(depth, name="a depth of the image branch", unit="blocks")
        conv = nn.Conv2d(in_channels, widths[0], 3, padding=1, bias=False)
        self.stem = nn.Sequential(conv, nn.BatchNorm2d(widths[0]), nn.PReLU(widths[0]))
        inputs = (widths[0], *widths[:-1])
        self.bodies = nn.ModuleList(_body(*shape) for shape in zip(inputs, widths, depths, strict=True))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Three levels of features of ``[N, C, H, W]``, from fine to coarse."""
        x = self.stem(x)
        levels = []
        for body in self.bodies:
            x = body(x)
            levels.append(x)
        return tuple(levels)


def _body(in_channels: int, channels: int, depth: int) -> nn.Sequential:
    return nn.Sequential(
        _Block(in_channels, channels, stride=2), *(_Block(channels, channels, stride=1) for _ in range(depth - 1))
    )


class _Block(nn.Module):
    """Residual block whose first layer is a normalisation."""

    def __init__(self, in_channels: int, channels: int, *, stride: int) -> None:
        super().__init__()
        if in_channels == channels:
            self.shortcut: nn.Module = nn.MaxPool2d(1, stride)
        else:
            conv = nn.Conv2d(in_channels, channels, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(channels))
        self.residual = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.Conv2d(in_channels, channels, 3, padding=1, bias=False),
            nn.PReLU(channels),
            nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.residual(x) + self.shortcut(x)
