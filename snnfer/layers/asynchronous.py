"""Asynchronous evaluation of a chain of sparse layers: when a few sites of the input change, recompute what they reach.

The state of a network is one `SiteMap` per layer. An update starts from the changed sites of the input. In each layer
it takes the sites whose window holds a changed site, computes those in full from the features that are there now, and
goes on with the ones that came out different. Nothing is added to old sums, so that rounding errors never pile up, and
a site that turns active or inactive is no special case. Work and memory traffic follow the number of changed sites.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from snnfer.layers._sites import Size, pooled_size, window_centres, window_offsets
from snnfer.layers.submanifold import kernel_matrix


@dataclass(frozen=True, eq=False)
class Halving:
    """Which sites of a map belong to which windows of stride 2 in the larger map before it.

    Args:
        reached: Sites whose window holds a site of the larger map, int64 ``[n_larger, 4]``; 0 fills up.
        centres: Site of the larger map in the middle of the window of each site, int64 ``[n_sites]``.
    """

    reached: torch.Tensor
    centres: torch.Tensor

    @classmethod
    def between(cls, larger: Size, size: Size, device: torch.device) -> "Halving":
        """For maps of these sizes: a pixel lies in the windows of up to two rows and two columns."""
        n_larger, n_sites = ((height + 2) * (width + 2) for height, width in (larger, size))
        site = torch.arange(n_larger, device=device)
        row, column = site // (larger[1] + 2), site % (larger[1] + 2)
        rows = torch.stack([row // 2, row // 2, (row + 1) // 2, (row + 1) // 2], 1)
        columns = torch.stack([column // 2, (column + 1) // 2, column // 2, (column + 1) // 2], 1)
        inside = (rows >= 1) & (rows <= size[0]) & (columns >= 1) & (columns <= size[1])
        reached = (rows * (size[1] + 2) + columns).masked_fill(~inside, 0)
        return cls(reached, window_centres(torch.arange(n_sites, device=device), size, larger))


@dataclass(frozen=True, eq=False)
class SiteMap:
    """One map with a border of inactive pixels, channels last, for reading and writing at single sites.

    Args:
        features: ``[(H + 2) * (W + 2), C]``, zero where inactive.
        active: Which sites are active, bool ``[(H + 2) * (W + 2)]``.
        offsets: The nine neighbours of a site relative to it, int64 ``[9]``.
        size: Height and width without the border.
        halving: How it follows from a larger map; None for a map of the same size as the one before.
    """

    features: torch.Tensor
    active: torch.Tensor
    offsets: torch.Tensor
    size: Size
    halving: Halving | None = None

    @classmethod
    def empty(cls, size: Size, like: torch.Tensor, channels: int) -> "SiteMap":
        """A map without active sites, of the type and on the device of `like`."""
        n_sites = (size[0] + 2) * (size[1] + 2)
        active = torch.zeros(n_sites, dtype=torch.bool, device=like.device)
        return cls(like.new_zeros(n_sites, channels), active, window_offsets(size[1], like.device), size)

    def next_map(self, channels: int, *, stride: int) -> "SiteMap":
        """The empty output of a layer of 3 x 3 windows."""
        if stride == 1:
            return SiteMap.empty(self.size, self.features, channels)
        size = pooled_size(self.size)
        halving = Halving.between(self.size, size, self.features.device)
        return replace(SiteMap.empty(size, self.features, channels), halving=halving)

    def sites(self, positions: torch.Tensor) -> torch.Tensor:
        """Sites of the pixels (row, column) ``[M, 2]``."""
        return (positions[:, 0] + 1) * (self.size[1] + 2) + positions[:, 1] + 1

    def to_dense(self) -> torch.Tensor:
        """Dense values ``[C, H, W]``."""
        height, width = self.size
        return self.features.view(height + 2, width + 2, -1)[1:-1, 1:-1].movedim(2, 0)

    def clone(self) -> "SiteMap":
        """A map with its own memory."""
        return replace(self, features=self.features.clone(), active=self.active.clone())

    def write(self, sites: torch.Tensor, features: torch.Tensor, active: torch.Tensor) -> torch.Tensor:
        """Write features ``[M, C]`` and activity ``[M]``, in place; returns the sites that are different now."""
        features = features.masked_fill(~active.unsqueeze(1), 0)
        different = (self.features.index_select(0, sites) != features).any(1)
        different |= self.active.index_select(0, sites) != active
        kept = different.nonzero().flatten()
        sites = sites.index_select(0, kept)
        self.features.index_copy_(0, sites, features.index_select(0, kept))
        self.active.index_copy_(0, sites, active.index_select(0, kept))
        return sites


@dataclass(frozen=True, eq=False)
class AsyncConv2d:
    """Convolution 3 x 3, batch normalisation folded in, and ReLU.

    Args:
        weight: ``[9 * C, C_out]``, windows laid out as nine rows of features.
        bias: ``[C_out]``.
        stride: 1 (output at the active sites of the input) or 2 (where a window inside the map holds one).
    """

    weight: torch.Tensor
    bias: torch.Tensor
    stride: int = 1

    @classmethod
    def fold(cls, weight: torch.Tensor, norm: nn.Module, *, stride: int = 1) -> "AsyncConv2d":
        """From a kernel ``[C_out, C, 3, 3]`` and the running statistics of the batch normalisation behind it."""
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()  # type: ignore[operator]
        matrix = (kernel_matrix(weight) * scale).detach().contiguous()
        return cls(matrix, (norm.bias - norm.running_mean * scale).detach(), stride)  # type: ignore[operator]

    def empty_output(self, x: SiteMap) -> SiteMap:
        """The output of an input without active sites."""
        return x.next_map(len(self.bias), stride=self.stride)

    def compute(self, x: SiteMap, windows: torch.Tensor) -> torch.Tensor:
        """Output features ``[M, C_out]`` of windows ``[M, 9]`` of sites of `x`."""
        gathered = x.features.index_select(0, windows.flatten()).view(len(windows), -1)  # [M, 9 * C]
        return torch.addmm(self.bias, gathered, self.weight).relu_()


@dataclass(frozen=True, eq=False)
class AsyncMaxPool2d:
    """Maximum over the active sites of 3 x 3 windows inside the map, stride 2."""

    def empty_output(self, x: SiteMap) -> SiteMap:
        """The output of an input without active sites."""
        return x.next_map(x.features.shape[1], stride=2)

    def compute(self, x: SiteMap, windows: torch.Tensor) -> torch.Tensor:
        """Output features ``[M, C]`` of windows ``[M, 9]`` of sites of `x`."""
        flat = windows.flatten()
        inactive = ~x.active.index_select(0, flat).unsqueeze(1)
        gathered = x.features.index_select(0, flat).masked_fill_(inactive, -torch.inf)
        return gathered.view(*windows.shape, -1).amax(1)


AsyncLayer = AsyncConv2d | AsyncMaxPool2d


def start_maps(layers: Sequence[AsyncLayer], size: Size, like: torch.Tensor, channels: int) -> tuple[SiteMap, ...]:
    """Maps of an input without active sites: the input and the output of each layer.

    Args:
        layers: The chain.
        size: Height and width of the input.
        like: A tensor of the type and on the device of the maps.
        channels: Channels of the input.
    """
    maps = [SiteMap.empty(size, like, channels)]
    for layer in layers:
        maps.append(layer.empty_output(maps[-1]))
    return tuple(maps)


def update_maps(layers: Sequence[AsyncLayer], maps: Sequence[SiteMap], sites: torch.Tensor) -> tuple[int, ...]:
    """Bring the outputs of all layers up to date, in place, after `sites` of ``maps[0]`` have changed.

    Args:
        layers: The chain.
        maps: The input, already changed, and the output of each layer for the input before.
        sites: The changed sites of the input ``[M]``, int64.

    Returns:
        Number of sites that each layer has computed.
    """
    computed = []
    for layer, x, y in zip(layers, maps[:-1], maps[1:], strict=True):
        reached, windows, active = (
            _reach_same(sites, x, y) if y.halving is None else _reach_half(sites, x, y.halving, y)
        )
        computed.append(len(reached))
        sites = y.write(reached, layer.compute(x, windows), active) if len(reached) else reached
    return tuple(computed)


Reach = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Sites of the output ``[M]``, their windows in the input ``[M, 9]`` and whether they are active ``[M]``."""


def _reach_same(sites: torch.Tensor, x: SiteMap, y: SiteMap) -> Reach:
    """Sites of `y` that are or were active and whose window around the same site of `x` holds one of `sites`."""
    reached = _unique((sites[:, None] + x.offsets).flatten(), len(y.active))
    reached = reached[x.active.index_select(0, reached) | y.active.index_select(0, reached)]  # none in the border
    return reached, reached[:, None] + x.offsets, x.active.index_select(0, reached)


def _reach_half(sites: torch.Tensor, x: SiteMap, halving: Halving, y: SiteMap) -> Reach:
    """Sites of `y` whose stride-2 window in `x` holds one of `sites`; active if the window has an active site."""
    reached = _unique(halving.reached.index_select(0, sites).flatten(), len(y.active))
    reached = reached[reached > 0]
    windows = halving.centres.index_select(0, reached)[:, None] + x.offsets
    return reached, windows, x.active.index_select(0, windows.flatten()).view(windows.shape).any(1)


def _unique(sites: torch.Tensor, n_sites: int) -> torch.Tensor:
    """Each site once, ascending; sorting is faster for few sites, marking a grid of `n_sites` for many."""
    if 8 * len(sites) < n_sites:
        return torch.unique(sites)
    marked = torch.zeros(n_sites, dtype=torch.bool, device=sites.device)
    marked[sites] = True
    return marked.nonzero().flatten()
