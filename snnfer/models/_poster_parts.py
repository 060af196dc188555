"""Parts of POSTER++ and POSTER-Var: fusion of two branches, transformer, excitation, and the variational head."""

from collections.abc import Sequence

import torch
from torch import nn

from snnfer.models._window_attention import WindowCrossAttention

LAYER_SCALE = 1e-5
MLP_RATIO = 4
TOKEN_STD = 0.02
LINEAR_STD = 0.01
TRANSFORMER_EPS = 1e-6  # of its layer normalisations; those of the fusion have torch's 1e-5


class DropPath(nn.Module):
    """Stochastic depth: in training, each sample's branch is zero with `probability`, and else divided by the rest.

    References:
        Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or not self.probability:
            return x
        keep = 1 - self.probability
        kept = torch.rand(len(x), *[1] * (x.ndim - 1), dtype=x.dtype, device=x.device) < keep
        return x * kept / keep

    def extra_repr(self) -> str:
        return f"probability={self.probability}"


class CrossFusion(nn.Module):
    r"""One level of POSTER++: image and landmark features become one feature map.

    .. math::
        y = \text{LN}(\text{conv}(x)), \quad
        z = y + \text{DP}(\gamma_1 \odot \text{attention}(y, q)), \quad
        z + \text{DP}(\gamma_2 \odot \text{MLP}(\text{LN}(z)))

    The shortcut begins behind the first normalisation. `DP` is stochastic depth; the scales :math:`\gamma` start
    at 1e-5.

    Args:
        width: Channels.
        heads: Attention heads.
        size: Height and width of the landmark features; the image features are twice as high and wide.
        drop_path: Probability that a sample skips a branch in training.

    Shape:
        - Input: image features :math:`(N, C, 2 H, 2 W)`, landmark features :math:`(N, C, H, W)`.
        - Output: :math:`(N, C, H, W)`.
    """

    def __init__(self, width: int, heads: int, size: Sequence[int], *, drop_path: float) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.norm = nn.LayerNorm(width)
        self.attention = WindowCrossAttention(width, heads, size)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = _mlp(width)
        self.scale1 = nn.Parameter(torch.full((width,), LAYER_SCALE))
        self.scale2 = nn.Parameter(torch.full((width,), LAYER_SCALE))
        self.drop_path = DropPath(drop_path)

    def forward(self, image: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
        """Fused features ``[N, C, H, W]``."""
        x = self.norm(self.reduce(image).permute(0, 2, 3, 1))  # [N, H, W, C]
        x = x + self.drop_path(self.scale1 * self.attention(x, landmarks.permute(0, 2, 3, 1)))
        x = x + self.drop_path(self.scale2 * self.mlp(self.mlp_norm(x)))
        return x.permute(0, 3, 1, 2)  # [N, C, H, W]


class ClassTokenTransformer(nn.Module):
    """Vision transformer over tokens ``[N, L, width]``; gives the class token ``[N, width]``.

    Pre-norm blocks of self-attention and MLP with GELU, positions learnt, no dropout.

    Args:
        n_tokens: Tokens L of each sample.
        width: Length of a token.
        depth: Blocks.
        heads: Attention heads, a divisor of `width`.
    """

    def __init__(self, n_tokens: int, width: int, *, depth: int, heads: int) -> None:
        super().__init__()
        self.class_token = nn.Parameter(torch.empty(1, 1, width))
        self.positions = nn.Parameter(torch.empty(1, 1 + n_tokens, width))
        self.blocks = nn.Sequential(*(_TransformerBlock(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=TRANSFORMER_EPS)
        nn.init.trunc_normal_(self.class_token, std=TOKEN_STD)
        nn.init.trunc_normal_(self.positions, std=TOKEN_STD)
        init_linear(self)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = torch.cat([self.class_token.expand(len(tokens), -1, -1), tokens], dim=1)
        return self.norm(self.blocks(x + self.positions))[:, 0]


class _TransformerBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width, eps=TRANSFORMER_EPS)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width, eps=TRANSFORMER_EPS)
        self.mlp = _mlp(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self._attend(self.attention_norm(x))
        return x + self.mlp(self.mlp_norm(x))

    def _attend(self, x: torch.Tensor) -> torch.Tensor:
        n, length, width = x.shape
        qkv = self.query_key_value(x).reshape(n, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each [N, heads, L, d]
        weights = (q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)).softmax(dim=-1)
        return self.project((weights @ v).transpose(1, 2).reshape(x.shape))  # [N, L, width]

    def extra_repr(self) -> str:
        return f"heads={self.heads}"


class Excitation(nn.Module):
    r"""Squeeze-and-excitation of a vector without reduction: :math:`v \odot \sigma(W_2\,\text{ReLU}(W_1 v))`.

    References:
        POSTER-Var, eq. (4); both layers have a bias in the public code.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.Sigmoid())
        init_linear(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gate(x)


class VariationalHead(nn.Module):
    r"""Variational classification head (VICH): a normal distribution of each class score.

    .. math::
        \mu = W_\mu v + b_\mu, \quad \log \sigma^2 = W_s v + b_s

    Args:
        width: Length of the feature vector `v`.
        n_classes: Number of classes K.

    References:
        POSTER-Var, eq. (5).
    """

    def __init__(self, width: int, n_classes: int) -> None:
        super().__init__()
        self.mu = nn.Linear(width, n_classes)
        self.log_variance = nn.Linear(width, n_classes)
        init_linear(self)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and logarithm of the variance of each score, ``[..., K]`` both."""
        return self.mu(x), self.log_variance(x)


def draw_scores(mu: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """A sample of each score, with gradients to both parameters: ``mu + exp(log_variance / 2) * noise``."""
    return mu + (0.5 * log_variance).exp() * torch.randn_like(mu)


def init_linear(module: nn.Module) -> None:
    """Initialise fully connected layers as POSTER++'s transformer: truncated N(0, 0.01), bias 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=LINEAR_STD)
            nn.init.zeros_(layer.bias)


def _mlp(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, MLP_RATIO * width), nn.GELU(), nn.Linear(MLP_RATIO * width, width))
