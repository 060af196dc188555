"""The 3-D convolutional network for action units of Mastropasqua et al."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from snnfer.errors import ShapeError
from snnfer.layout import tnchw_to_ncthw
from snnfer.models._input import check_lengths, check_pooled_time, check_video, time_mean
from snnfer.models._reads import CLIPS
from snnfer.models._registry import register_model

POOLED_SIZE = (4, 4)
TIME_STRIDE = 8


class ConvBlock3d(nn.Module):
    """Convolution 3 x 3 x 3, optional batch normalisation, ReLU, max pooling over (time, height, width)."""

    def __init__(self, in_channels: int, out_channels: int, *, pool: tuple[int, int, int], batch_norm: bool) -> None:
        super().__init__()
        self.conv = nn.Conv3d(in_channels, out_channels, 3, padding=1)
        self.norm = nn.BatchNorm3d(out_channels) if batch_norm else nn.Identity()
        self.pool = nn.MaxPool3d(pool)
        self.time_stride = pool[0]

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map ``[N, C, T, H, W]`` whose steps after `lengths` are zero to the same, with the new lengths."""
        lengths = lengths // self.time_stride
        x = self.pool(F.relu(self.norm(self.conv(x))))
        valid = torch.arange(x.shape[2], device=x.device) < lengths[:, None]  # [N, T]
        return x * valid[:, None, :, None, None], lengths


class AUCNN3d(nn.Module):
    """Four 3-D convolutions, masked mean over time, two fully connected layers; built by `au_cnn3d`."""

    config: dict[str, Any]

    def __init__(
        self, features: nn.ModuleList, classifier: nn.Sequential, *, in_channels: int, size: Sequence[int]
    ) -> None:
        super().__init__()
        self.features = features
        self.classifier = classifier
        self.in_channels = in_channels
        self.size = tuple(size)

    def forward(self, x: torch.Tensor, *, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Scores ``[N, n_classes]`` of the input ``[T, N, C, H, W]``.

        Args:
            x: Event counts or images ``[T, N, C, H, W]``, any dtype, at least 8 steps.
            lengths: Valid steps of each sample ``[N]``, at least 8; all where None.
        """
        dtype = next(self.parameters()).dtype
        x = check_video(x, in_channels=self.in_channels, size=self.size, dtype=dtype)
        valid_steps = check_lengths(lengths, x)
        check_pooled_time(valid_steps, len(x), stride=TIME_STRIDE)
        valid = torch.arange(len(x), device=x.device)[:, None] < valid_steps  # [T, N]
        y = tnchw_to_ncthw(x.masked_fill(~valid[:, :, None, None, None], 0))
        for block in self.features:
            y, valid_steps = block(y, valid_steps)
        pooled = F.adaptive_avg_pool3d(y, (None, *POOLED_SIZE))  # [N, C, T, 4, 4]
        return self.classifier(time_mean(pooled.movedim(2, 0), valid_steps).flatten(1))


@register_model(reads=CLIPS)
def au_cnn3d(
    *,
    n_classes: int = 21,
    in_channels: int = 2,
    size: Sequence[int] = (64, 64),
    channels: Sequence[int] = (64, 128, 256, 512),
    hidden: int = 1024,
    dropout: float = 0.2,
    batch_norm: bool = False,
) -> AUCNN3d:
    r"""3-D convolutional network that reads action units from clips of any length.

    Four times (convolution 3 x 3 x 3, ReLU, max pooling; the first pooling keeps time), mean over time and over a grid
    of 4 x 4, then a fully connected layer with ReLU and dropout, and the classes. Padded steps are kept at zero in
    every layer, so that a padded clip gives the result of the clip alone (without batch normalisation in training).

    Args:
        n_classes: Number of classes.
        in_channels: Channels of the input: 2 event polarities, or 1 or 3 image channels.
        size: Height and width of the input, in pixels, at least 16 x 16.
        channels: Channels of the four convolutions.
        hidden: Size of the first fully connected layer.
        dropout: Dropout probability before the last layer.
        batch_norm: Whether each convolution is followed by batch normalisation.

    Shape:
        - Input: :math:`(T, N, C, H, W)`, at least 8 steps.
        - Output: :math:`(N, n_\text{classes})`.

    Raises:
        ShapeError: the input, or `size`, does not fit, or a clip has fewer than 8 steps.

    References:
        Mastropasqua et al., "Exploring Spatial-Temporal Dynamics in Event-based Facial Micro-Expression Analysis"
        names a "C3D adapted for variable clip length" of 13.06 M parameters without its layers; this is the
        one C3D-like layout found that has 13.06 M for both 2 and 3 input channels (13,060,437 and 13,062,165).

    Examples:
        >>> model = au_cnn3d(size=(16, 16), channels=(4, 8, 8, 8), hidden=16)
        >>> model(torch.rand(12, 2, 2, 16, 16), lengths=torch.tensor([12, 9])).shape
        torch.Size([2, 21])
    """
    if min(size) < 16 or len(channels) != 4:
        raise ShapeError(
            f"size = {tuple(size)} with channels = {tuple(channels)}",
            expected="at least 16 x 16 pixels and four channel numbers, because the network halves the size four times",
        )
    pools = ((1, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2))
    widths = zip((in_channels, *channels[:3]), channels, pools, strict=True)
    features = nn.ModuleList(ConvBlock3d(a, b, pool=pool, batch_norm=batch_norm) for a, b, pool in widths)
    classifier = nn.Sequential(
        nn.Linear(channels[3] * POOLED_SIZE[0] * POOLED_SIZE[1], hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, n_classes),
    )
    return AUCNN3d(features, classifier, in_channels=in_channels, size=size)
