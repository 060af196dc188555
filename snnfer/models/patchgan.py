"""The discriminator of pix2pix, which judges patches of an image."""

import torch
from torch import nn

from snnfer._check import check_ndim, check_positive
from snnfer.errors import ShapeError
from snnfer.models.unet import NEGATIVE_SLOPE, init_pix2pix


class PatchDiscriminator(nn.Module):
    r"""PatchGAN: one score per patch of a pair of images, real or generated.

    `n_layers` convolutions 4 x 4 with stride 2 of :math:`\min(width \cdot 2^i, 8 \cdot width)` channels, one with
    stride 1 and the same rule, each followed by batch normalisation (not the first) and LeakyReLU(0.2), and one with
    stride 1 to a single channel. Every convolution has a bias; the weights start at N(0, 0.02).

    The scores are **logits**: use `torch.nn.functional.binary_cross_entropy_with_logits`, which equals the sigmoid and
    the binary cross-entropy of the papers and does not overflow.

    Args:
        in_channels: Channels of both images together.
        width: Channels of the first convolution.
        n_layers: Convolutions with stride 2: 4 as in evTransFER (patches of 142 x 142 pixels), or 3 for the 70 x 70
            PatchGAN of pix2pix.

    Attributes:
        receptive_field: Side of a patch, in pixels.

    Shape:
        - Input: two images :math:`(B, C_1, H, W)` and :math:`(B, C_2, H, W)`, values in [-1, 1].
        - Output: :math:`(B, 1, H / 2^{n} - 2, W / 2^{n} - 2)`, logits, for `n` layers and sizes that :math:`2^n`
          divides: 14 x 14 for 256 x 256 pixels (30 x 30 with 3 layers).

    Raises:
        ShapeError: the images do not fit each other or the network, or are too small for one patch.

    References:
        Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017, appendix 6.1.2;
        Verschae and Bugueno-Cordova, evTransFER, 2025 (its public code has four layers with stride 2).

    Examples:
        >>> discriminator = PatchDiscriminator()
        >>> sum(p.numel() for p in discriminator.parameters()), discriminator.receptive_field
        (6965441, 142)
        >>> small = PatchDiscriminator(in_channels=4, width=4, n_layers=3)
        >>> small(torch.rand(2, 3, 32, 32), torch.rand(2, 1, 32, 32)).shape
        torch.Size([2, 1, 2, 2])
    """

    def __init__(self, in_channels: int = 6, *, width: int = 64, n_layers: int = 4) -> None:
        super().__init__()
        check_positive(in_channels, name="in_channels", unit="channels")
        check_positive(width, name="width", unit="channels")
        check_positive(n_layers, name="n_layers", unit="convolutions")
        self.in_channels = in_channels
        self.n_layers = n_layers
        widths = [in_channels, *(min(width * 2**i, 8 * width) for i in range(n_layers + 1))]
        layers: list[nn.Module] = []
        for i in range(n_layers + 1):
            layers.append(nn.Conv2d(widths[i], widths[i + 1], 4, stride=2 if i < n_layers else 1, padding=1))
            if i > 0:
                layers.append(nn.BatchNorm2d(widths[i + 1]))
            layers.append(nn.LeakyReLU(NEGATIVE_SLOPE))
        layers.append(nn.Conv2d(widths[-1], 1, 4, padding=1))
        self.layers = nn.Sequential(*layers)
        init_pix2pix(self)

    @property
    def receptive_field(self) -> int:
        side = 1
        for stride in (1, 1, *(2,) * self.n_layers):
            side = (side - 1) * stride + 4
        return side

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Logits ``[B, 1, h, w]`` of the pairs of images ``[B, C, H, W]``: high where `target` looks real."""
        self._check(source, target)
        return self.layers(torch.cat([source, target], dim=1))

    def _check(self, source: torch.Tensor, target: torch.Tensor) -> None:
        for x, name in ((source, "source"), (target, "target")):
            check_ndim(x, 4, layout="[B, C, H, W]", name=name)
        shapes = f"source {list(source.shape)} and target {list(target.shape)}"
        if source.shape[0] != target.shape[0] or source.shape[2:] != target.shape[2:]:
            raise ShapeError(shapes, expected="images of one size, as many of one as of the other")
        if source.shape[1] + target.shape[1] != self.in_channels:
            n_channels = source.shape[1] + target.shape[1]
            raise ShapeError(
                shapes,
                expected=f"{self.in_channels} channels together",
                fix=f"PatchDiscriminator(in_channels={n_channels})",
            )
        smallest = 3 * 2**self.n_layers
        if min(source.shape[2:]) < smallest:
            raise ShapeError(
                shapes,
                expected=f"at least {smallest} x {smallest} pixels for {self.n_layers} layers with stride 2",
                fix="use larger images or a smaller n_layers (train.discriminator_layers in settings)",
            )
