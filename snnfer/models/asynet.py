"""The event-by-event VGG network of Messikommer et al., dense or with submanifold convolutions."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from snnfer.errors import ShapeError
from snnfer.layers import (
    MaskedMap,
    SiteMap,
    SparseBatchNorm2d,
    SparseMap,
    SparseMaxPool2d,
    SparseReLU,
    SubmanifoldConv2d,
    start_maps,
    update_maps,
)
from snnfer.models._asynet_state import AsynetState, async_layer, check_change, check_events, check_state
from snnfer.models._input import check_lengths, check_video, time_mean
from snnfer.models._reads import Reads
from snnfer.models._registry import register_model
from snnfer.models._steps import apply_to_steps


class Asynet(nn.Module):
    """VGG network on event histograms, scored at once or updated event by event; built by `asynet_vgg13`."""

    config: dict[str, Any]

    def __init__(
        self, features: nn.Sequential, classifier: nn.Linear, *, in_channels: int, size: Sequence[int], sparse: bool
    ) -> None:
        super().__init__()
        self.features = features
        self.classifier = classifier
        self.in_channels = in_channels
        self.size = (size[0], size[1])
        self.sparse = sparse

    def forward(self, x: torch.Tensor, *, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Scores ``[N, n_classes]`` of ``[T, N, C, H, W]``: the mean over the valid steps, each scored alone.

        Args:
            x: Histograms ``[T, N, C, H, W]``, any dtype.
            lengths: Valid steps of each sample ``[N]``; all where None.
        """
        x = self._check(x)
        lengths = check_lengths(lengths, x)
        if not self.training:
            return time_mean(self.forward_steps(x), lengths)
        valid = torch.arange(len(x), device=x.device)[:, None] < lengths  # [T, N]
        scores = self.score(x[valid])  # padding stays out of the statistics
        steps = scores.new_zeros(*valid.shape, scores.shape[1]).masked_scatter(valid.unsqueeze(2), scores)
        return time_mean(steps, lengths)

    def forward_steps(self, x: torch.Tensor) -> torch.Tensor:
        """Scores of each step ``[T, N, n_classes]``."""
        x = self._check(x)
        return apply_to_steps(self.score, x, training=self.training)

    def score(self, x: torch.Tensor | SparseMap | MaskedMap) -> torch.Tensor:
        """Scores ``[N, n_classes]`` of histograms ``[N, C, H, W]``.

        A sparse network computes a tensor as a `SparseMap`. Given a `MaskedMap` it computes everywhere and masks, to
        the same result within rounding.
        """
        if not self.sparse:
            return self.classifier(self.features(x).flatten(1))
        y = self.features(SparseMap.from_dense(x) if isinstance(x, torch.Tensor) else x)
        return self.classifier(y.to_dense().flatten(1))

    @torch.no_grad()
    def start(self) -> AsynetState:
        """State without any event, with the weights and running statistics of now.

        In a network with ``sparse=False`` all sites are active and the whole network is computed once.
        """
        layers = tuple(async_layer(layer) for layer in self.features)
        maps = start_maps(layers, self.size, self.classifier.weight, self.in_channels)
        computed = (0,) * len(layers)
        if not self.sparse:
            x = maps[0]
            x.active.view(self.size[0] + 2, -1)[1:-1, 1:-1] = True
            computed = update_maps(layers, maps, x.active.nonzero().flatten())
        return AsynetState(layers, maps, self._classify(maps[-1]), computed)

    @torch.no_grad()
    def update(
        self, state: AsynetState, positions: torch.Tensor, values: torch.Tensor, *, in_place: bool = False
    ) -> tuple[torch.Tensor, AsynetState]:
        """Scores ``[n_classes]`` and the new state after some pixels of the histogram have changed.

        The scores are those that `score` gives for the whole new histogram in evaluation mode, within rounding, however
        the changes are cut into calls.

        Args:
            state: From `start` or the last update.
            positions: Rows and columns of the changed pixels ``[M, 2]``, int64, each pixel once.
            values: New values of these pixels ``[M, C]``; a pixel whose values are all zero is inactive.
            in_place: Write into the memory of `state`, which is of no use afterwards; faster for few pixels.

        Raises:
            ShapeError: `positions` or `values` do not fit, or a pixel lies outside the image or is given twice.
            StateError: the state of a network of another size.
        """
        check_state(state, len(self.features), self.in_channels, self.size)
        check_change(positions, values, self.in_channels, self.size)
        state = state if in_place else state.clone()
        x = state.maps[0]
        values = values.to(x.features)
        active = (values != 0).any(1) if self.sparse else torch.ones_like(values[:, 0], dtype=torch.bool)
        changed = x.write(x.sites(positions.to(x.active.device)), values, active)
        computed = update_maps(state.layers, state.maps, changed)
        scores = self._classify(state.maps[-1]) if computed[-1] else state.scores
        return scores, replace(state, scores=scores, computed=computed)

    @torch.no_grad()
    def update_counts(
        self, state: AsynetState, arrived: torch.Tensor, left: torch.Tensor | None = None, *, in_place: bool = False
    ) -> tuple[torch.Tensor, AsynetState]:
        """As `update`, for a histogram of counts into which events enter, and which older events leave.

        Args:
            state: From `start` or the last update.
            arrived: Channel (0 OFF, 1 ON), row and column of each new event ``[M, 3]``, int64; in any order.
            left: The same of the events that fall out of the window; they must have arrived before.
            in_place: As in `update`.

        Raises:
            ShapeError: as `update`; or a channel does not exist.
            StateError: as `update`.
        """
        check_state(state, len(self.features), self.in_channels, self.size)
        events = arrived if left is None else torch.cat([arrived, left])
        check_events(events, self.in_channels, self.size)
        x = state.maps[0]
        events = events.to(x.active.device)
        pixels, pixel_of = torch.unique(events[:, 1] * self.size[1] + events[:, 2], return_inverse=True)
        positions = torch.stack([pixels // self.size[1], pixels % self.size[1]], 1)
        amount = x.features.new_ones(len(events))
        amount[len(arrived) :] = -1
        values = x.features.index_select(0, x.sites(positions))
        values.index_put_((pixel_of, events[:, 0]), amount, accumulate=True)
        return self.update(state, positions, values, in_place=in_place)

    def _classify(self, last: SiteMap) -> torch.Tensor:
        return F.linear(last.to_dense().flatten(), self.classifier.weight, self.classifier.bias)

    def _check(self, x: torch.Tensor) -> torch.Tensor:
        return check_video(x, in_channels=self.in_channels, size=self.size, dtype=self.classifier.weight.dtype)


def _conv(in_channels: int, out_channels: int, *, sparse: bool, stride: int = 1) -> nn.Sequential:
    if sparse:
        layers = (
            SubmanifoldConv2d(in_channels, out_channels, stride=stride),
            SparseBatchNorm2d(out_channels),
            SparseReLU(),
        )
    else:
        conv = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=int(stride == 1), bias=False)
        layers = (conv, nn.BatchNorm2d(out_channels), nn.ReLU())
    return nn.Sequential(OrderedDict(zip(("conv", "norm", "relu"), layers, strict=True)))


def _last_size(size: Sequence[int], n_blocks: int) -> tuple[int, int]:
    """Size of the last map: every block and the last convolution take windows of 3 x 3 with stride 2."""
    smallest = 4 * 2**n_blocks - 1
    if min(size) < smallest:
        raise ShapeError(
            f"size = {tuple(size)}",
            expected=f"at least {smallest} x {smallest} pixels, because {n_blocks} blocks halve it",
            fix="a larger size or fewer channels, which are one block each but the last",
        )
    height, width = size
    for _ in range(n_blocks + 1):
        height, width = (height - 3) // 2 + 1, (width - 3) // 2 + 1
    return height, width


@register_model(reads=Reads("ssr_histogram"))
def asynet_vgg13(
    *,
    n_classes: int = 7,
    in_channels: int = 2,
    size: Sequence[int] = (191, 255),
    sparse: bool = False,
    channels: Sequence[int] = (16, 32, 64, 128, 256, 512),
    hidden: int = 256,
) -> Asynet:
    r"""VGG network on event histograms, which can be updated event by event.

    A block (twice convolution 3 x 3, batch normalisation, ReLU, then max pooling 3 x 3 with stride 2) per entry of
    `channels` but the last, one more convolution, a convolution with stride 2 to `hidden` channels, and a fully
    connected layer: 3,551,207 parameters and 0.809 billion multiply-accumulates per image. Every step of a clip is
    scored alone; the output is their mean.

    With ``sparse=True`` the convolutions are submanifold: they compute at pixels that have events and treat the others
    as zero, also in normalisation and pooling. Both kinds have the same parameters and the same names for them, and
    both can be updated: `Asynet.start`, `Asynet.update`, `Asynet.update_counts`.

    Args:
        n_classes: Number of classes.
        in_channels: Channels of the input: 2 for a histogram, 30 for a queue of 15 events per pixel.
        size: Height and width of the input in pixels.
        sparse: Whether the convolutions are submanifold.
        channels: Channels of the blocks, and of the convolution behind them.
        hidden: Channels of the convolution with stride 2.

    Shape:
        - Input: :math:`(T, N, C, H, W)`, zero where a pixel has no events.
        - Output: :math:`(N, n_\text{classes})`.

    Raises:
        ShapeError: the input, or `size`, does not fit.

    References:
        Messikommer et al., "Event-based Asynchronous Sparse Convolutional Networks", ECCV 2020; the
        baseline "Asynet" of "evTransFER", whose table 3 names it VGG-16.

    Examples:
        >>> model = asynet_vgg13(size=(16, 16), channels=(4, 8, 8), sparse=True).eval()
        >>> histograms = torch.poisson(torch.full((3, 1, 2, 16, 16), 0.2))
        >>> model(histograms).shape
        torch.Size([1, 7])

        Events arrive; the histogram changes at a few pixels, and the scores are brought up to date:

        >>> state = model.start()
        >>> events = torch.tensor([[1, 4, 5], [1, 4, 5], [0, 9, 2]])  # channel (0 OFF, 1 ON), row, column
        >>> scores, state = model.update_counts(state, events)
        >>> scores, state = model.update_counts(state, torch.tensor([[0, 3, 3]]), left=events[:1])  # a sliding window
        >>> histogram = torch.zeros(1, 2, 16, 16)
        >>> histogram[0, 1, 4, 5] = histogram[0, 0, 9, 2] = histogram[0, 0, 3, 3] = 1.0
        >>> torch.allclose(scores, model.score(histogram)[0], atol=1e-5)
        True
        >>> scores, state = model.update(state, torch.tensor([[9, 2]]), torch.zeros(1, 2))  # or any new values
    """
    if not channels:
        raise ShapeError("channels = ()", expected="the channels of each block and of the convolution behind them")
    *blocks, last = channels
    height, width = _last_size(size, len(blocks))
    layers: list[nn.Module] = []
    previous = in_channels
    for width_ in blocks:
        layers += [_conv(previous, width_, sparse=sparse), _conv(width_, width_, sparse=sparse)]
        layers.append(SparseMaxPool2d() if sparse else nn.MaxPool2d(3, 2))
        previous = width_
    layers += [_conv(previous, last, sparse=sparse), _conv(last, hidden, sparse=sparse, stride=2)]
    classifier = nn.Linear(hidden * height * width, n_classes)
    return Asynet(nn.Sequential(*layers), classifier, in_channels=in_channels, size=size, sparse=sparse)
