"""The non-spiking twin of Spiking-FER: a ResNet-18 that takes all steps of a clip as channels."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from snnfer.errors import ShapeError
from snnfer.models._input import check_lengths, check_video
from snnfer.models._reads import BINARY_CLIPS
from snnfer.models._registry import register_model
from snnfer.models._resnet import check_resnet, resnet_features


class SpikingFERANN(nn.Module):
    """ResNet on the frames of all steps as channels; built by `spiking_fer_ann`, which says more."""

    config: dict[str, Any]

    def __init__(
        self, features: nn.Sequential, classifier: nn.Linear, *, in_channels: int, size: Sequence[int], n_steps: int
    ) -> None:
        super().__init__()
        self.features = features
        self.classifier = classifier
        self.in_channels = in_channels
        self.size = tuple(size)
        self.n_steps = n_steps

    def forward(self, x: torch.Tensor, *, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Scores ``[N, n_classes]`` of the input ``[T, N, C, H, W]``.

        Args:
            x: Event frames ``[T, N, C, H, W]``, any dtype, exactly `n_steps` of them.
            lengths: Valid steps of each sample ``[N]``; those after them count as empty. All where None.
        """
        dtype = next(self.parameters()).dtype
        x = check_video(x, in_channels=self.in_channels, size=self.size, dtype=dtype)
        if len(x) != self.n_steps:
            raise ShapeError(
                f"the input has {len(x)} time steps (shape {list(x.shape)})",
                expected=f"{self.n_steps}, because the steps are channels of this network",
                fix=f"cut clips to n_steps={self.n_steps}, or create_model(..., n_steps={len(x)})",
            )
        valid = torch.arange(len(x), device=x.device)[:, None] < check_lengths(lengths, x)  # [T, N]
        x = x.masked_fill(~valid[:, :, None, None, None], 0)
        return self.classifier(self.features(x.transpose(0, 1).flatten(1, 2)))  # [N, T * C, H, W] to [N, K]

    def extra_repr(self) -> str:
        return f"n_steps={self.n_steps}"


@register_model(reads=BINARY_CLIPS)
def spiking_fer_ann(
    *,
    n_classes: int = 6,
    in_channels: int = 2,
    size: Sequence[int] = (128, 128),
    n_steps: int = 6,
    width: int = 64,
    blocks: Sequence[int] = (2, 2, 2, 2),
) -> SpikingFERANN:
    r"""ResNet-18 that takes all steps of a clip at once, as channels: the non-spiking twin of `spiking_fer`.

    .. math:: y = W f([x_1, x_2, \ldots, x_T])

    with the features :math:`f` of ResNet-18 after its mean over the image, and a linear layer without bias; the
    channels of one step stand together. 11,207,808 parameters at the defaults.

    Args:
        n_classes: Number of classes.
        in_channels: Channels of one step: 2 event polarities.
        size: Height and width of the input, in pixels, at least 16 x 16.
        n_steps: Steps of a clip; no other number is taken.
        width: Channels of the first stage; each stage doubles them.
        blocks: Residual blocks in each stage.

    Shape:
        - Input: :math:`(T, N, C, H, W)`, binary event frames, T = `n_steps`.
        - Output: :math:`(N, n_\text{classes})`.

    Raises:
        ShapeError: the input, or one of the arguments, does not fit.

    References:
        Barchid et al., "Spiking-FER: Spiking Neural Network for Facial Expression Recognition With Event Cameras",
        CBMI 2023; He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.

    Examples:
        >>> model = spiking_fer_ann(size=(32, 32), width=8, blocks=(1, 1)).eval()
        >>> model(torch.randint(0, 2, (6, 1, 2, 32, 32), dtype=torch.uint8)).shape
        torch.Size([1, 6])
    """
    check_resnet(size=size, n_classes=n_classes, n_steps=n_steps, width=width, blocks=blocks)
    features = resnet_features(in_channels * n_steps, width=width, blocks=blocks)
    classifier = nn.Linear(width * 2 ** (len(blocks) - 1), n_classes, bias=False)
    return SpikingFERANN(features, classifier, in_channels=in_channels, size=size, n_steps=n_steps)
