"""Sets of active sites on a grid, and which of them a 3 x 3 window sees.

A site is a flat index into a grid with a border of one inactive pixel on each side: the neighbours of a site are
always ``site + offsets`` and no layer asks where the image ends.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch.nn import functional as F

from snnfer.errors import ShapeError

Size = tuple[int, int]
"""Height and width in pixels, without the border."""


def pooled_size(size: Size) -> Size:
    """Size after a 3 x 3 window with stride 2 that stays inside.

    Raises:
        ShapeError: a side has fewer than 3 pixels.
    """
    if min(size) < 3:
        raise ShapeError(f"a map of {size[0]} x {size[1]} pixels", expected="at least 3 x 3 for a 3 x 3 window")
    return (size[0] - 3) // 2 + 1, (size[1] - 3) // 2 + 1


def pool_mask(active: torch.Tensor) -> torch.Tensor:
    """Which windows hold an active site: mask ``[N, H, W]`` to that of the pooled size."""
    pooled_size((active.shape[1], active.shape[2]))
    return F.max_pool2d(active.float().unsqueeze(1), 3, 2).squeeze(1) > 0


def window_offsets(width: int, device: torch.device | str | None = None) -> torch.Tensor:
    """Offsets of the nine sites of a window around its centre, row by row, int64 ``[9]``."""
    step = torch.arange(-1, 2, device=device)
    return (step[:, None] * (width + 2) + step).flatten()


def window_centres(sites: torch.Tensor, size: Size, larger: Size) -> torch.Tensor:
    """Sites of the `larger` grid in the middle of the stride-2 windows of `sites` of the grid of `size`."""
    (height, width), (larger_height, larger_width) = size, larger
    row, column = sites // (width + 2), sites % (width + 2)
    sample, row = row // (height + 2), row % (height + 2)
    return (sample * (larger_height + 2) + 2 * row) * (larger_width + 2) + 2 * column


@dataclass(frozen=True, eq=False)
class Sites:
    """The active sites of a batch of maps; grids of the nine neighbours are built once and kept with them.

    Args:
        index: Sites ``[M]``, int64, ascending: ``(sample * (H + 2) + row + 1) * (W + 2) + column + 1``.
        n_samples: Number of maps N.
        size: Height and width.
    """

    index: torch.Tensor
    n_samples: int
    size: Size

    @classmethod
    def from_mask(cls, active: torch.Tensor) -> "Sites":
        """The sites where the mask ``[N, H, W]`` is true."""
        n_samples, height, width = active.shape
        bordered = F.pad(active, (1, 1, 1, 1))
        return cls(bordered.flatten().nonzero().flatten(), n_samples, (height, width))

    def mask(self) -> torch.Tensor:
        """Boolean mask ``[N, H, W]``."""
        n_samples, (height, width) = self.n_samples, self.size
        bordered = torch.zeros(n_samples * (height + 2) * (width + 2), dtype=torch.bool, device=self.index.device)
        bordered[self.index] = True
        return bordered.view(n_samples, height + 2, width + 2)[:, 1:-1, 1:-1]

    @cached_property
    def neighbours(self) -> torch.Tensor:
        """Positions in `index` of the active sites in the window around each ``[M, 9]``; M where there is none."""
        return self._positions(self.index)

    @cached_property
    def pooled(self) -> "Pooled":
        """Windows of 3 x 3 with stride 2 that hold at least one active site."""
        sites = Sites.from_mask(pool_mask(self.mask()))
        return Pooled(sites, self._positions(window_centres(sites.index, sites.size, self.size)))

    def _positions(self, centres: torch.Tensor) -> torch.Tensor:
        height, width = self.size
        n_active = len(self.index)
        table = torch.full((self.n_samples * (height + 2) * (width + 2),), n_active, device=centres.device)
        table[self.index] = torch.arange(n_active, device=centres.device)
        return table[centres[:, None] + window_offsets(width, centres.device)]  # [M', 9]


@dataclass(frozen=True, eq=False)
class Pooled:
    """Sites of the smaller grid, and positions of the active sites in their windows ``[M', 9]``; M for none."""

    sites: Sites
    windows: torch.Tensor
