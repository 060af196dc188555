"""Cross attention in one window: landmark features ask, image features answer."""

from collections.abc import Sequence

import torch
from torch import nn

BIAS_STD = 0.02


def relative_index(height: int, width: int) -> torch.Tensor:
    """Row of the bias table for each pair of pixels ``[H * W, H * W]``: one row per vertical and horizontal distance.

    Examples:
        >>> relative_index(1, 3)
        tensor([[2, 1, 0],
                [3, 2, 1],
                [4, 3, 2]])
    """
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    rows, columns = rows.flatten(), columns.flatten()
    down = rows[:, None] - rows + height - 1  # [H * W, H * W], 0 to 2 H - 2
    right = columns[:, None] - columns + width - 1
    return down * (2 * width - 1) + right


class WindowCrossAttention(nn.Module):
    r"""Attention of every pixel of the landmark features to every pixel of the image features.

    .. math::
        \text{softmax}\left(d_h^{-1/2}\, q k^\top + B\right) v, \quad (k, v) = W x + b

    The queries are the landmark features themselves, without a projection, cut into heads. `B` is a learnable bias
    per head and distance of two pixels. The window is the whole feature map, as in POSTER++.

    Args:
        width: Channels.
        heads: Attention heads, a divisor of `width`.
        size: Height and width of the feature maps.

    Shape:
        - Input: image features and queries, both :math:`(N, H, W, C)`.
        - Output: :math:`(N, H, W, C)`.

    References:
        Hatamizadeh et al., "Global Context Vision Transformers", ICML 2023. POSTER-Var, eq. (1) and (2).
    """

    index: torch.Tensor

    def __init__(self, width: int, heads: int, size: Sequence[int]) -> None:
        super().__init__()
        height, columns = size
        self.heads = heads
        self.key_value = nn.Linear(width, 2 * width)
        self.project = nn.Linear(width, width)
        self.bias_table = nn.Parameter(torch.empty((2 * height - 1) * (2 * columns - 1), heads))
        nn.init.trunc_normal_(self.bias_table, std=BIAS_STD)
        self.softmax = nn.Softmax(dim=-1)  # a module, which counters of operations such as thop see
        self.register_buffer("index", relative_index(height, columns), persistent=False)

    def forward(self, x: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
        """What the queries ``[N, H, W, C]`` find in the image features `x` ``[N, H, W, C]``."""
        q = self._to_heads(queries)
        k, v = (self._to_heads(part) for part in self.key_value(x).chunk(2, dim=-1))
        bias = self.bias_table[self.index].permute(2, 0, 1)  # [heads, H * W, H * W]
        weights = self.softmax(q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1) + bias)
        return self.project((weights @ v).transpose(1, 2).reshape(x.shape))  # [N, H, W, C]

    def extra_repr(self) -> str:
        return f"heads={self.heads}"

    def _to_heads(self, x: torch.Tensor) -> torch.Tensor:
        n, height, columns, width = x.shape
        return x.reshape(n, height * columns, self.heads, width // self.heads).transpose(1, 2)  # [N, heads, H * W, d]
