"""The network of POSTER++ and POSTER-Var."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from snnfer._check import check_choice, check_positive
from snnfer.errors import ConfigError, ShapeError
from snnfer.models._input import check_lengths, check_video, time_mean
from snnfer.models._poster_parts import (
    ClassTokenTransformer,
    CrossFusion,
    Excitation,
    VariationalHead,
    draw_scores,
    init_linear,
)
from snnfer.models._poster_state import load_authors_state
from snnfer.models._steps import apply_to_steps
from snnfer.models.ir50 import IR50
from snnfer.models.mobilefacenet import MobileFaceNet

STRIDE = 32  # from an image to the features of the coarsest level
MIN_SIZE = 64
HEADS = ("linear", "vich")


class Poster(nn.Module):
    r"""What `poster_v2` and `poster_var` build; their docstrings say what the arguments mean.

    Attributes:
        landmarks: `MobileFaceNet`, frozen unless `freeze_landmarks` is false.
        backbone: `IR50`.
        fusions: Cross attention of each level.
        transformer: Reads the tokens of all levels.
        head: Fully connected, or `VariationalHead`.

    Shape:
        - Input: :math:`(T, N, C, H, W)`, one image per step, normalised per channel.
        - Output: :math:`(N, n_\text{classes})`, the mean over the valid steps.
    """

    config: dict[str, Any]

    def __init__(
        self,
        *,
        n_classes: int,
        in_channels: int,
        size: Sequence[int],
        widths: Sequence[int],
        depths: Sequence[int],
        landmark_depths: Sequence[int],
        heads: Sequence[int],
        embed_dim: int,
        vit_depth: int,
        vit_heads: int,
        drop_path: Sequence[float],
        freeze_landmarks: bool,
        freeze_norm: bool,
        backbone_weights: str = "",
        landmark_weights: str = "",
        nonlinear_fusion: bool = False,
        level_embeddings: bool = False,
        head: str = "linear",
    ) -> None:
        super().__init__()
        check_positive(n_classes, name="n_classes", unit="classes")
        check_positive(in_channels, name="in_channels", unit="channels")
        _check_size(size)
        _check_levels(widths=widths, depths=depths, landmark_depths=landmark_depths, heads=heads, drop_path=drop_path)
        for width, n_heads in zip((*widths, embed_dim), (*heads, vit_heads), strict=True):
            _check_heads(width, n_heads)
        check_positive(vit_depth, name="vit_depth", unit="blocks")
        check_choice(head, HEADS, name="head")
        self.in_channels, self.size = in_channels, tuple(size)
        self.freeze_landmarks, self.freeze_norm = freeze_landmarks, freeze_norm
        self.landmarks = MobileFaceNet(in_channels=in_channels, widths=widths, depths=landmark_depths)
        self.landmarks.requires_grad_(not freeze_landmarks)
        self.backbone = IR50(in_channels=in_channels, widths=widths, depths=depths)
        self.landmark_conv = nn.Conv2d(2 * widths[2], widths[2], 3, padding=1)
        grids = [[side // stride for side in size] for stride in (8, 16, 32)]
        self.fusions = nn.ModuleList(
            CrossFusion(width, n_heads, grid, drop_path=rate)
            for width, n_heads, grid, rate in zip(widths, heads, grids, drop_path, strict=True)
        )
        self.embeddings = _embeddings(widths, embed_dim, activation=nonlinear_fusion)
        self.level_embeddings = nn.Parameter(torch.zeros(3, 1, embed_dim)) if level_embeddings else None
        self.fusion_norm = nn.LayerNorm(embed_dim) if nonlinear_fusion else nn.Identity()
        n_tokens = 3 * grids[2][0] * grids[2][1]
        self.transformer = ClassTokenTransformer(n_tokens, embed_dim, depth=vit_depth, heads=vit_heads)
        self.excitation = Excitation(embed_dim)
        self.head = VariationalHead(embed_dim, n_classes) if head == "vich" else nn.Linear(embed_dim, n_classes)
        init_linear(self.head)
        for part, path in ((self.backbone, backbone_weights), (self.landmarks, landmark_weights)):
            if path:
                load_authors_state(part, path)

    def forward(self, x: torch.Tensor, *, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Scores ``[N, n_classes]`` of the images ``[T, N, C, H, W]``; with `lengths` ``[N]`` of the first ones."""
        return self.forward_with_details(x, lengths=lengths)[0]

    def forward_steps(self, x: torch.Tensor) -> torch.Tensor:
        """Scores of each image ``[T, N, n_classes]``."""
        return self._read(self.encode(x))[0]

    def forward_with_details(
        self, x: torch.Tensor, *, lengths: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Scores ``[N, n_classes]``, and with the head ``vich`` the distribution that they come from.

        Args:
            x: Images ``[T, N, C, H, W]``.
            lengths: Valid images of each sample ``[N]``; all where None.

        Returns:
            The scores, and ``{"mu": [N, n_classes], "log_variance": [N, n_classes]}``, means over the valid images as
            the scores are (no details with the head ``linear``). In training the scores are samples of this
            distribution, in evaluation its mean.
        """
        features = self.encode(x)
        ends = check_lengths(lengths, x)
        scores, details = self._read(features)
        return time_mean(scores, ends), {key: time_mean(value, ends) for key, value in details.items()}

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Features ``[T, N, embed_dim]`` of the images ``[T, N, C, H, W]``, in front of the head."""
        x = check_video(x, in_channels=self.in_channels, size=self.size, dtype=next(self.parameters()).dtype)
        return apply_to_steps(self._encode_images, x, training=self.training)

    def train(self, mode: bool = True) -> "Poster":
        """Set training or evaluation mode; with `freeze_norm` the landmark branch stays in evaluation mode."""
        super().train(mode)
        if self.freeze_norm:
            self.landmarks.eval()
        return self

    def extra_repr(self) -> str:
        embedded = self.level_embeddings is not None
        return f"freeze_landmarks={self.freeze_landmarks}, freeze_norm={self.freeze_norm}, level_embeddings={embedded}"

    def _encode_images(self, x: torch.Tensor) -> torch.Tensor:
        """Features ``[N, embed_dim]`` of images ``[N, C, H, W]``."""
        half = F.interpolate(x, size=[side // 2 for side in self.size], mode="nearest")  # what both branches see
        *fine, coarse = self.landmarks(half)
        queries = (*fine, self.landmark_conv(coarse))
        tokens = self._tokens(self.backbone(half), queries)
        return self.excitation(self.transformer(self.fusion_norm(tokens)))

    def _tokens(self, images: Sequence[torch.Tensor], queries: Sequence[torch.Tensor]) -> torch.Tensor:
        """Fused levels as tokens ``[N, L, embed_dim]``, from fine to coarse."""
        levels = []
        for i, (fusion, embed) in enumerate(zip(self.fusions, self.embeddings, strict=True)):
            tokens = embed(fusion(images[i], queries[i])).flatten(2).transpose(1, 2)  # [N, H/32 * W/32, embed_dim]
            levels.append(tokens if self.level_embeddings is None else tokens + self.level_embeddings[i])
        return torch.cat(levels, dim=1)

    def _read(self, features: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Scores ``[..., n_classes]`` of features, and their distribution where the head gives one."""
        if not isinstance(self.head, VariationalHead):
            return self.head(features), {}
        mu, log_variance = self.head(features)
        scores = draw_scores(mu, log_variance) if self.training else mu
        return scores, {"mu": mu, "log_variance": log_variance}


def _embeddings(widths: Sequence[int], embed_dim: int, *, activation: bool) -> nn.ModuleList:
    """Convolutions that bring each level to one token per 32 x 32 pixels."""
    fine, middle, coarse = widths
    levels = (
        (nn.Conv2d(fine, embed_dim, 3, 2, 1), nn.Conv2d(embed_dim, embed_dim, 3, 2, 1)),
        (nn.Conv2d(middle, embed_dim, 3, 2, 1),),
        (nn.Conv2d(coarse, embed_dim, 1),),
    )
    if not activation:
        return nn.ModuleList(nn.Sequential(*level) for level in levels)
    return nn.ModuleList(nn.Sequential(*(part for conv in level for part in (conv, nn.GELU()))) for level in levels)


def _check_size(size: Sequence[int]) -> None:
    if len(size) != 2 or min(size) < MIN_SIZE or any(side % STRIDE for side in size):
        raise ShapeError(
            f"size = {tuple(size)}",
            expected=f"height and width that are multiples of {STRIDE}, at least {MIN_SIZE}",
            cause="three levels of features, of which the coarsest has one pixel per 32 x 32",
            fix="use (224, 224) as in the paper, or (64, 64), and resize the input to it",
        )


def _check_levels(*, drop_path: Sequence[float], **levels: Sequence[int]) -> None:
    for name, values in {**levels, "drop_path": drop_path}.items():
        if len(values) != 3:
            raise ConfigError(f"{name} = {list(values)}", expected="three values, one per level from fine to coarse")
    if not all(0 <= rate < 1 for rate in drop_path):
        raise ConfigError(f"drop_path = {list(drop_path)}", expected="probabilities from 0 to below 1")


def _check_heads(width: int, heads: int) -> None:
    if width < 1 or heads < 1 or width % heads:
        raise ShapeError(f"{width} channels with {heads} heads", expected="channels that are a multiple of the heads")
