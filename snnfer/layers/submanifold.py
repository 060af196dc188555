"""Convolution, normalisation and pooling that compute at active sites alone.

Two containers hold the same thing, a map that is zero outside its active sites: `SparseMap` (sites and their features;
gathers the windows of the active sites and multiplies once) and `MaskedMap` (dense values and a mask; computes
everywhere and masks). The layers take either and give the same kind; the two agree within float rounding.

Examples:
    >>> counts = torch.zeros(1, 2, 16, 16)
    >>> counts[0, 1, 4, 5] = counts[0, 0, 4, 6] = counts[0, 0, 12, 3] = 1.0
    >>> layers = nn.Sequential(SubmanifoldConv2d(2, 8), SparseBatchNorm2d(8), SparseReLU(), SparseMaxPool2d()).eval()
    >>> sparse = layers(SparseMap.from_dense(counts))
    >>> sparse.features.shape  # active windows, channels
    torch.Size([6, 8])
    >>> torch.allclose(sparse.to_dense(), layers(MaskedMap.from_dense(counts)).to_dense(), atol=1e-6)
    True
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from snnfer._check import check_ndim
from snnfer.errors import ShapeError
from snnfer.layers._sites import Sites, pool_mask

Rows = Callable[[torch.Tensor], torch.Tensor]
"""A function of the features of the active sites ``[M, C]``, row by row or with statistics over them."""


@dataclass(frozen=True, eq=False)
class SparseMap:
    """Features of the active sites of a batch of maps; zero elsewhere.

    Args:
        features: One row per active site ``[M, C]``.
        sites: Where they are.
    """

    features: torch.Tensor
    sites: Sites

    @classmethod
    def from_dense(cls, x: torch.Tensor, *, active: torch.Tensor | None = None) -> "SparseMap":
        """The map of ``[N, C, H, W]``; active ``[N, H, W]`` where any channel is not zero, unless a mask is given."""
        active = _check_active(x, active)
        return cls(x.movedim(1, 3)[active], Sites.from_mask(active))

    def to_dense(self) -> torch.Tensor:
        """Dense values ``[N, C, H, W]``."""
        n_samples, (height, width), channels = self.sites.n_samples, self.sites.size, self.features.shape[1]
        dense = self.features.new_zeros(n_samples * (height + 2) * (width + 2), channels)
        dense = dense.index_copy(0, self.sites.index, self.features)
        return dense.view(n_samples, height + 2, width + 2, channels)[:, 1:-1, 1:-1].movedim(3, 1)

    def convolve(self, weight: torch.Tensor, *, stride: int = 1) -> "SparseMap":
        """Convolution by ``[C_out, C, 3, 3]``: at the active sites, or (stride 2) where a window holds one."""
        sites, windows = _windows(self.sites, stride)
        rows = torch.cat([self.features, self.features.new_zeros(1, self.features.shape[1])])
        gathered = rows.index_select(0, windows.flatten()).view(len(windows), 9 * rows.shape[1])
        return SparseMap(gathered @ kernel_matrix(weight), sites)

    def max_pool(self) -> "SparseMap":
        """Maximum over the active sites of each 3 x 3 window, stride 2, where it holds one."""
        pooled = self.sites.pooled
        rows = torch.cat([self.features, self.features.new_full((1, self.features.shape[1]), -math.inf)])
        gathered = rows.index_select(0, pooled.windows.flatten()).view(len(pooled.windows), 9, rows.shape[1])
        return SparseMap(gathered.amax(1), pooled.sites)

    def apply(self, function: Rows) -> "SparseMap":
        """The map with `function` applied to the features of the active sites."""
        return SparseMap(function(self.features), self.sites)


@dataclass(frozen=True, eq=False)
class MaskedMap:
    """Dense values of a batch of maps, zero outside the mask of active sites.

    Args:
        values: ``[N, C, H, W]``.
        active: Boolean mask ``[N, H, W]``.
    """

    values: torch.Tensor
    active: torch.Tensor

    @classmethod
    def from_dense(cls, x: torch.Tensor, *, active: torch.Tensor | None = None) -> "MaskedMap":
        """The map of ``[N, C, H, W]``; active ``[N, H, W]`` where any channel is not zero, unless a mask is given."""
        active = _check_active(x, active)
        return cls(x * active.unsqueeze(1), active)

    def to_dense(self) -> torch.Tensor:
        """Dense values ``[N, C, H, W]``."""
        return self.values

    def convolve(self, weight: torch.Tensor, *, stride: int = 1) -> "MaskedMap":
        """Convolution by ``[C_out, C, 3, 3]``: at the active sites, or (stride 2) where a window holds one."""
        active = self.active if stride == 1 else pool_mask(self.active)
        values = F.conv2d(self.values, weight, stride=stride, padding=1 if stride == 1 else 0)
        return MaskedMap(values * active.unsqueeze(1), active)

    def max_pool(self) -> "MaskedMap":
        """Maximum over the active sites of each 3 x 3 window, stride 2, where it holds one."""
        active = pool_mask(self.active)
        pooled = F.max_pool2d(self.values.masked_fill(~self.active.unsqueeze(1), -math.inf), 3, 2)
        return MaskedMap(pooled.masked_fill(~active.unsqueeze(1), 0), active)

    def apply(self, function: Rows) -> "MaskedMap":
        """The map with `function` applied to the features of the active sites."""
        values = self.values.movedim(1, 3)
        rows = function(values[self.active])
        return MaskedMap(
            torch.zeros_like(values).masked_scatter(self.active.unsqueeze(3), rows).movedim(3, 1), self.active
        )


ActiveMap = SparseMap | MaskedMap


def kernel_matrix(weight: torch.Tensor) -> torch.Tensor:
    """The kernel ``[C_out, C, 3, 3]`` as a matrix ``[9 * C, C_out]`` for windows laid out as nine rows of features."""
    return weight.movedim(1, 3).flatten(1).t()


def _windows(sites: Sites, stride: int) -> tuple[Sites, torch.Tensor]:
    return (sites, sites.neighbours) if stride == 1 else (sites.pooled.sites, sites.pooled.windows)


def _check_active(x: torch.Tensor, active: torch.Tensor | None) -> torch.Tensor:
    check_ndim(x, 4, layout="[N, C, H, W]", name="the map")
    if active is None:
        return (x != 0).any(1)
    if active.dtype != torch.bool or active.shape != (x.shape[0], *x.shape[2:]):
        raise ShapeError(
            f"a mask of type {active.dtype} and shape {list(active.shape)} for a map of shape {list(x.shape)}",
            expected=f"a boolean mask {[x.shape[0], *x.shape[2:]]}",
        )
    return active


class SubmanifoldConv2d(nn.Module):
    r"""Convolution 3 x 3 without bias whose output exists at the active sites of its input alone.

    .. math::
        y_u = [u \in A] \sum_{k \in \{-1,0,1\}^2} W_k\, x_{u+k}, \quad x_v = 0 \text{ for } v \notin A

    so that active regions do not grow from layer to layer. With stride 2 (windows inside the map, no padding) it is the
    plain sparse convolution: a site of the output is active where its window holds an active site.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: 1 (submanifold, same size) or 2.

    Shape:
        - Input: `SparseMap` or `MaskedMap` of :math:`(N, C_\text{in}, H, W)`.
        - Output: the same kind, :math:`(N, C_\text{out}, H, W)`, or halved with stride 2.

    Raises:
        ShapeError: another stride, another number of channels, or a map smaller than the window.

    References:
        Graham et al., "3D Semantic Segmentation with Submanifold Sparse Convolutional Networks", CVPR 2018;
        Messikommer et al., "Event-based Asynchronous Sparse Convolutional Networks", ECCV 2020, eq. (4).

    Examples:
        >>> x = torch.zeros(1, 1, 5, 5)
        >>> x[0, 0, 2, 2] = 1.0
        >>> int((SubmanifoldConv2d(1, 1)(SparseMap.from_dense(x)).to_dense() != 0).sum())  # torch.nn.Conv2d: 9
        1
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        if stride not in (1, 2):
            raise ShapeError(f"stride = {stride}", expected="1 or 2")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.stride = stride
        channels_last = torch.empty(out_channels, 3, 3, in_channels)  # so that `kernel_matrix` need not copy
        self.weight = nn.Parameter(channels_last.movedim(3, 1))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, x: ActiveMap) -> ActiveMap:
        given = (x.features if isinstance(x, SparseMap) else x.values).shape[1]
        if given != self.in_channels:
            raise ShapeError(f"a map of {given} channels", expected=f"{self.in_channels} channels")
        return x.convolve(self.weight, stride=self.stride)

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, stride={self.stride}"


class SparseBatchNorm2d(nn.BatchNorm1d):
    """Batch normalisation over the active sites of all samples; parameters as in `torch.nn.BatchNorm2d`.

    Args:
        num_features: Channels C.

    Shape:
        - Input, output: `SparseMap` or `MaskedMap` of :math:`(N, C, H, W)`.

    Raises:
        ShapeError: training with a single active site, which has no variance. Without any, nothing is normalised.

    Examples:
        >>> y = SparseBatchNorm2d(3)(SparseMap.from_dense(torch.rand(2, 3, 4, 4)))
        >>> bool(y.features.mean(0).abs().max() < 1e-6)
        True
    """

    def forward(self, x: ActiveMap) -> ActiveMap:  # type: ignore[override]
        return x.apply(self._normalise)

    def _normalise(self, rows: torch.Tensor) -> torch.Tensor:
        if self.training and len(rows) == 1:
            raise ShapeError(
                "one active site in the whole batch", expected="at least two in training", fix="use a larger batch"
            )
        return super().forward(rows) if len(rows) else rows


class SparseReLU(nn.Module):
    """Rectifier on `SparseMap` or `MaskedMap`; sites where all features become zero stay active."""

    def forward(self, x: ActiveMap) -> ActiveMap:
        return x.apply(F.relu)


class SparseMaxPool2d(nn.Module):
    """Max pooling over the active sites of 3 x 3 windows with stride 2; windows without one are inactive.

    Windows stay inside the map. For non-negative features it equals ``torch.nn.MaxPool2d(3, 2)``.

    Shape:
        - Input: `SparseMap` or `MaskedMap` of :math:`(N, C, H, W)`, at least 3 x 3.
        - Output: the same kind, :math:`(N, C, (H - 3) // 2 + 1, (W - 3) // 2 + 1)`.

    Raises:
        ShapeError: a map smaller than 3 x 3.

    Examples:
        >>> SparseMaxPool2d()(SparseMap.from_dense(torch.rand(1, 2, 191, 255))).sites.size
        (95, 127)
    """

    def forward(self, x: ActiveMap) -> ActiveMap:
        return x.max_pool()
