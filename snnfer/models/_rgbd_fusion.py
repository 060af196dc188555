"""How features of RGB and depth become one: attention across modalities, or their sum."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import nn

from snnfer.errors import ShapeError

FusionRule = Literal["average_rgb", "sum"]
Features = Mapping[str, torch.Tensor]


def lanet(channels: int, *, reduction: int) -> nn.Sequential:
    r"""A network for one spatial mask, from convolutions 1 x 1.

    .. math:: m = \sigma(\mathrm{BN}(w_2 * \mathrm{ReLU}(\mathrm{BN}(w_1 * X))))

    Args:
        channels: Channels C of the input.
        reduction: The first convolution has ``C // reduction`` output channels.

    Shape:
        - Input: :math:`(N, C, h, w)`.
        - Output: :math:`(N, 1, h, w)`, values in (0, 1).

    References:
        Wang and Guo, "LS-CNN", IEEE TIFS 2020; batch normalisation from Raimondo et al., 2024, section III-C.
    """
    hidden = channels // reduction
    return nn.Sequential(
        nn.Conv2d(channels, hidden, 1),
        nn.BatchNorm2d(hidden),
        nn.ReLU(),
        nn.Conv2d(hidden, 1, 1),
        nn.BatchNorm2d(1),
        nn.Sigmoid(),
    )


class SpatialMask(nn.Module):
    """The largest of several `lanet` masks at each position, ``[N, C, h, w]`` to ``[N, 1, h, w]``."""

    def __init__(self, channels: int, *, n_masks: int, reduction: int) -> None:
        super().__init__()
        self.masks = nn.ModuleList(lanet(channels, reduction=reduction) for _ in range(n_masks))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([mask(x) for mask in self.masks]).amax(0)


class CrossModalityAttention(nn.Module):
    r"""Masks of all modalities weigh the features.

    .. math::
        \text{average\_rgb}: \Big(\tfrac1{|I|} \sum_{i \in I} M_i\Big) \odot X_\text{rgb}, \qquad
        \text{sum}: \sum_{i \in I} M_i \odot X_i

    Args:
        channels: Channels of the features.
        modalities: Their names I, among them ``rgb``.
        n_masks: Masks per modality; the largest counts.
        reduction: See `lanet`.
        rule: Which of the two.

    Raises:
        ShapeError: `reduction` is not between 1 and `channels`.

    References:
        Raimondo et al., 2024, section III-C (average_rgb); ``sum`` as in the authors' later code.
    """

    def __init__(
        self, channels: int, modalities: Sequence[str], *, n_masks: int, reduction: int, rule: FusionRule
    ) -> None:
        super().__init__()
        if not 1 <= reduction <= channels:
            raise ShapeError(f"reduction = {reduction}", expected=f"1 to the {channels} channels of the trunk")
        masks = {name: SpatialMask(channels, n_masks=n_masks, reduction=reduction) for name in modalities}
        self.masks = nn.ModuleDict(masks)
        self.rule: FusionRule = rule

    def forward(self, features: Features) -> torch.Tensor:
        masks = {name: mask(features[name]) for name, mask in self.masks.items()}  # [N, 1, h, w] each
        if self.rule == "sum":
            return torch.stack([masks[name] * features[name] for name in masks]).sum(0)
        return torch.stack(list(masks.values())).mean(0) * features["rgb"]

    def extra_repr(self) -> str:
        return f"rule='{self.rule}'"


class SumFusion(nn.Module):
    """The sum of the features of all modalities."""

    def forward(self, features: Features) -> torch.Tensor:
        return torch.stack(list(features.values())).sum(0)
