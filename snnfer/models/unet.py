"""The U-Net generator of pix2pix, its encoder, and how they are initialised."""

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from snnfer._check import check_ndim, check_positive
from snnfer.errors import ConfigError, ShapeError
from snnfer.models._encoder import Encoder
from snnfer.models._input import check_video
from snnfer.models._reads import TIE
from snnfer.models._registry import register_model
from snnfer.models._steps import apply_to_steps

NEGATIVE_SLOPE = 0.2
MIN_SIZE = 16
N_DROPOUT_BLOCKS = 3
INIT_STD = 0.02


def init_pix2pix(module: nn.Module) -> None:
    """Initialise as pix2pix: convolutions N(0, 0.02) with bias 0, batch normalisation N(1, 0.02) with bias 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, INIT_STD)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, INIT_STD)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def encoder_widths(width: int, size: Sequence[int]) -> list[int]:
    """Channels of the encoder stages before the bottleneck: one per halving of the size but the last."""
    depth = int(math.log2(size[0]))
    return [min(width * 2**i, 8 * width) for i in range(depth - 1)]


def check_size(size: Sequence[int]) -> None:
    """Raise `ShapeError` unless `size` is square, a power of two, and at least 16 x 16."""
    height, width = size
    if height != width or height < MIN_SIZE or height & (height - 1):
        raise ShapeError(
            f"size = {tuple(size)}",
            expected=f"a square whose side is a power of two from {MIN_SIZE}, halved down to 1 x 1",
            fix="use (256, 256) as in the paper, or (64, 64), and resize the input to it",
        )


class EncoderBlock(nn.Module):
    """Convolution 4 x 4 with stride 2, optional batch normalisation, LeakyReLU."""

    def __init__(self, in_channels: int, out_channels: int, *, norm: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 4, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(out_channels) if norm else nn.Identity()
        self.activation = nn.LeakyReLU(NEGATIVE_SLOPE)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.activation(self.norm(self.conv(x)))


class DecoderBlock(nn.Module):
    """Transposed convolution 4 x 4 with stride 2, batch normalisation, dropout, the skip connection beside it, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, *, dropout: float) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.activation = nn.ReLU()

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Map ``[B, C, H, W]`` and the skip connection ``[B, S, 2H, 2W]`` to ``[B, C_out + S, 2H, 2W]``."""
        x = self.dropout(self.norm(self.conv(x)))
        return self.activation(torch.cat([x, skip], dim=1))


class UNetEncoder(Encoder):
    r"""Encoder half of the pix2pix U-Net: an image becomes one feature vector.

    :math:`\log_2(size)` convolutions 4 x 4 with stride 2 and bias, of :math:`\min(width \cdot 2^i, 8 \cdot width)`
    channels: all but the last followed by LeakyReLU(0.2), and all of those but the first by batch normalisation before
    it; the last one (the bottleneck) by ReLU alone. At the defaults: 64, 128, 256, 512, 512, 512, 512 and 512 channels,
    19,540,672 parameters.

    Args:
        in_channels: Channels of the input.
        size: Height and width of the input, in pixels: a square, a power of two, at least 16.
        width: Channels of the first convolution.

    Attributes:
        config: The arguments; encoders of equal `config` can exchange their weights.
        n_features: Length of the feature vector, ``8 * width``.

    Shape:
        - Input: :math:`(B, C, H, W)`, values in [-1, 1].
        - Output: :math:`(B, 8 \cdot width)`, not negative.

    Raises:
        ShapeError: `size` or the input does not fit.

    References:
        Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017, appendix 6.1;
        Verschae and Bugueno-Cordova, "evTransFER: A Transfer Learning Framework for Event-based Facial Expression
        Recognition", 2025.

    Examples:
        >>> encoder = UNetEncoder(size=(32, 32), width=4)
        >>> encoder(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 32])
        >>> encoder.config
        {'in_channels': 3, 'size': [32, 32], 'width': 4}
    """

    def __init__(self, *, in_channels: int = 3, size: Sequence[int] = (256, 256), width: int = 64) -> None:
        super().__init__()
        check_size(size)
        check_positive(width, name="width", unit="channels")
        check_positive(in_channels, name="in_channels", unit="channels")
        self.config = {"in_channels": in_channels, "size": list(size), "width": width}
        self.n_features = 8 * width
        widths = encoder_widths(width, size)
        self.blocks = nn.ModuleList(
            EncoderBlock(a, b, norm=i > 0)
            for i, (a, b) in enumerate(zip((in_channels, *widths[:-1]), widths, strict=True))
        )
        self.bottleneck = nn.Conv2d(widths[-1], self.n_features, 4, stride=2, padding=1)
        self.activation = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.encode(x)[0].flatten(1)  # [B, 8 * width]

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Bottleneck ``[B, 8 * width, 1, 1]`` and the skip connections, the outputs of the stages before it."""
        check_ndim(x, 4, layout="[B, C, H, W]", name="the encoder's input")
        expected = [self.config["in_channels"], *self.config["size"]]
        if list(x.shape[1:]) != expected:
            raise ShapeError(
                f"the encoder's input has shape {list(x.shape)}", expected=f"[B, {', '.join(map(str, expected))}]"
            )
        skips = []
        for block in self.blocks:
            x = block(x)
            skips.append(x)
        return self.activation(self.bottleneck(x)), skips


class UNetGenerator(nn.Module):
    """U-Net that turns event images into images; built by `pix2pix`, which says more."""

    config: dict[str, Any]

    def __init__(self, encoder: UNetEncoder, *, out_channels: int, dropout: float) -> None:
        super().__init__()
        check_positive(out_channels, name="out_channels", unit="channels")
        self.encoder = encoder
        widths = encoder_widths(encoder.config["width"], encoder.config["size"])[::-1]  # of the skips, deepest first
        inputs = [encoder.n_features, *(2 * width for width in widths)]
        self.decoder = nn.ModuleList(
            DecoderBlock(inputs[i], width, dropout=dropout if i < N_DROPOUT_BLOCKS else 0.0)
            for i, width in enumerate(widths)
        )
        self.output = nn.ConvTranspose2d(inputs[-1], out_channels, 4, stride=2, padding=1)
        self.range = nn.Tanh()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images ``[T, N, C_out, H, W]`` in [-1, 1] of the input ``[T, N, C, H, W]``; time steps are independent."""
        config = self.encoder.config
        dtype = next(self.parameters()).dtype
        x = check_video(x, in_channels=config["in_channels"], size=config["size"], dtype=dtype)
        return apply_to_steps(self.translate, x, training=self.training)

    def translate(self, x: torch.Tensor) -> torch.Tensor:
        """Images ``[B, C_out, H, W]`` in [-1, 1] of the images ``[B, C, H, W]``."""
        x, skips = self.encoder.encode(x)
        for block, skip in zip(self.decoder, reversed(skips), strict=True):
            x = block(x, skip)
        return self.range(self.output(x))

    def reconstruct(self, x: torch.Tensor) -> torch.Tensor:
        """Images ``[T, N, C_out, H, W]`` in [0, 1] of the input ``[T, N, C, H, W]``."""
        return (self(x) + 1) / 2


def encoder_from(generator: nn.Module) -> UNetEncoder:
    """Copy of the encoder of a trained generator, to be given to ``classifier.load_encoder``.

    Args:
        generator: A `pix2pix` generator.

    Raises:
        ConfigError: the model has no such encoder.

    Examples:
        >>> generator = pix2pix(size=(16, 16), width=4)
        >>> sum(p.numel() for p in encoder_from(generator).parameters())
        11052
    """
    if not isinstance(generator, UNetGenerator):
        name = getattr(generator, "config", {}).get("name", type(generator).__name__)
        raise ConfigError(f"model '{name}' has no U-Net encoder", expected="a model made by 'pix2pix'")
    return copy.deepcopy(generator.encoder)


@register_model(task="reconstruction", reads=TIE)
def pix2pix(
    *,
    in_channels: int = 3,
    out_channels: int = 3,
    size: Sequence[int] = (256, 256),
    width: int = 64,
    dropout: float = 0.5,
) -> UNetGenerator:
    r"""U-Net generator of pix2pix: event images become images of the face.

    The encoder is `UNetEncoder`. The decoder mirrors it: at each stage a transposed convolution 4 x 4 with stride 2,
    batch normalisation, dropout (in the first three stages, in training mode only), the skip connection joined, ReLU.
    A last transposed convolution and tanh give the image. Every convolution has a bias; the weights start at
    N(0, 0.02). At the defaults 54,419,459 parameters. Networks for smaller images are shallower: one stage less per
    halving, so that the bottleneck stays 1 x 1.

    Args:
        in_channels: Channels of the input: 3 for time-surface images such as TIE.
        out_channels: Channels of the image: 1 or 3.
        size: Height and width of both, in pixels: a square, a power of two, at least 16.
        width: Channels of the first convolution.
        dropout: Dropout probability in the decoder.

    Shape:
        - Input: :math:`(T, N, C, H, W)`, values in [-1, 1].
        - Output: :math:`(T, N, C_\text{out}, H, W)`, values in [-1, 1]; of ``reconstruct``: in [0, 1].

    Raises:
        ShapeError: `size` or the input does not fit.

    References:
        Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017, appendix 6.1 (there
        dropout stays active at test time); Verschae and Bugueno-Cordova, "evTransFER: A Transfer Learning Framework
        for Event-based Facial Expression Recognition", 2025.

    Examples:
        >>> model = pix2pix(size=(32, 32), width=4).eval()
        >>> images = model.reconstruct(torch.rand(5, 1, 3, 32, 32) * 2 - 1)
        >>> images.shape, bool(((0 <= images) & (images <= 1)).all())
        (torch.Size([5, 1, 3, 32, 32]), True)
    """
    encoder = UNetEncoder(in_channels=in_channels, size=size, width=width)
    generator = UNetGenerator(encoder, out_channels=out_channels, dropout=dropout)
    init_pix2pix(generator)
    return generator
