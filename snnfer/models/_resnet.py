"""ResNet of basic blocks, in any width and with any number of stages."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from snnfer.errors import ShapeError

MIN_SIZE = 16


class ResidualBlock(nn.Module):
    r"""Two convolutions 3 x 3 beside a shortcut.

    .. math:: y = \max(0,\; \text{BN}(W_2 * \max(0, \text{BN}(W_1 * x))) + s(x))

    where :math:`s` is the identity, or a normalised 1 x 1 convolution where stride or channels change.

    References:
        He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, figure 5 (left).
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        branch = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(branch + self.shortcut(x))


def resnet_features(in_channels: int, *, width: int, blocks: Sequence[int]) -> nn.Sequential:
    """A ResNet without its last layer: ``[B, C, H, W]`` to ``[B, width * 2 ** (len(blocks) - 1)]``.

    Args:
        in_channels: Channels of the input.
        width: Channels of the first stage; each stage doubles them.
        blocks: Residual blocks in each stage; (2, 2, 2, 2) with `width` 64 is ResNet-18.
    """
    widths = stage_widths(width, blocks)
    network = nn.Sequential(
        nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
        *(_stage(a, b, n_blocks=n, stride=1 if i == 0 else 2) for i, (a, b, n) in enumerate(widths)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    init_convolutions(network)
    return network


def stage_widths(width: int, blocks: Sequence[int]) -> list[tuple[int, int, int]]:
    """Input channels, output channels and number of blocks of each stage.

    Examples:
        >>> stage_widths(64, (2, 2, 3))
        [(64, 64, 2), (64, 128, 2), (128, 256, 3)]
    """
    outputs = [width * 2**stage for stage in range(len(blocks))]
    return list(zip([width, *outputs], outputs, blocks, strict=False))


def init_convolutions(network: nn.Module) -> None:
    """Start all 2-D convolutions as He et al. do, from a normal distribution that keeps the variance of gradients."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def check_resnet(*, size: Sequence[int], blocks: Sequence[int], **numbers: int) -> None:
    """Raise `ShapeError` for an image below 16 x 16 pixels, or a number that is not above 0."""
    if min(size) < MIN_SIZE:
        raise ShapeError(f"size = {tuple(size)}", expected=f"at least {MIN_SIZE} x {MIN_SIZE} pixels")
    wrong = [name for name, value in numbers.items() if value < 1]
    if wrong or not blocks or min(blocks) < 1:
        name, value = (wrong[0], numbers[wrong[0]]) if wrong else ("blocks", tuple(blocks))
        raise ShapeError(f"{name} = {value}", expected="numbers above 0")


def _stage(in_channels: int, out_channels: int, *, n_blocks: int, stride: int) -> nn.Sequential:
    first = ResidualBlock(in_channels, out_channels, stride=stride)
    return nn.Sequential(first, *(ResidualBlock(out_channels, out_channels) for _ in range(n_blocks - 1)))
