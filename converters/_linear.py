"""Arithmetic of weights: scales into layers, and two linear layers as one."""

from dataclasses import replace

import torch
from torch.nn import functional as F

from snnfer.converters.graph import Affine, Conv, Dense, Node, Pair, Pool, Shape


def scale_outputs(node: Conv | Dense, scale: torch.Tensor) -> Conv | Dense:
    """The layer whose outputs are multiplied by `scale` ``[O]``."""
    weight = node.weight * scale.reshape(-1, *(1,) * (node.weight.ndim - 1))
    return replace(node, weight=weight, bias=node.bias * scale)


def scale_inputs(node: Conv | Dense, scale: torch.Tensor) -> Conv | Dense:
    """The layer that multiplies its inputs by `scale` first: ``[I]``, or ``[C]`` of maps that were flattened."""
    if isinstance(node, Dense):
        return replace(node, weight=node.weight * scale.repeat_interleave(node.weight.shape[1] // len(scale)))
    per_group = scale.reshape(node.groups, 1, -1).expand(-1, len(node.weight) // node.groups, -1)
    per_output = per_group.reshape(len(node.weight), -1)  # [O, I / groups]
    return replace(node, weight=node.weight * per_output.reshape(*per_output.shape, *(1,) * (node.weight.ndim - 2)))


def fold_into_previous(node: Conv | Dense | Affine, affine: Affine) -> Node:
    """`affine` behind a layer, as one layer with the layer's name."""
    if isinstance(node, Affine):
        return replace(node, scale=node.scale * affine.scale, shift=node.shift * affine.scale + affine.shift)
    scaled = scale_outputs(node, affine.scale)
    return replace(scaled, bias=scaled.bias + affine.shift)


def fold_into_next(affine: Affine, node: Conv | Dense) -> Node:
    """`affine` before a layer that does not pad, as one layer with the layer's name."""
    shift = affine.shift
    if isinstance(node, Dense):
        bias = node.weight @ shift
    else:
        sums = node.weight.flatten(2).sum(2)  # [O, I / groups]
        per_group = shift.reshape(node.groups, 1, -1).expand(-1, len(sums) // node.groups, -1)
        bias = (sums * per_group.reshape(len(sums), -1)).sum(1)
    scaled = scale_inputs(node, affine.scale)
    return replace(scaled, bias=scaled.bias + bias)


def spread_mean(pool: Pool, dense: Dense, shape: Shape) -> Dense:
    """The fully connected layer on maps of `shape` that averages them as `pool` does first."""
    channels, height, width = shape
    (kh, kw), (sh, sw) = pool.kernel_size, pool.stride
    out = (height - kh) // sh + 1, (width - kw) // sw + 1
    means = dense.weight.new_full((1, 1, kh, kw), 1 / (kh * kw))
    weight = F.conv_transpose2d(dense.weight.reshape(-1, 1, *out), means, stride=(sh, sw))
    weight = F.pad(weight, (0, width - weight.shape[3], 0, height - weight.shape[2]))
    return replace(dense, weight=weight.reshape(len(dense.weight), channels * height * width))


def join_convolutions(first: Conv, second: Conv, shape: Shape) -> Conv | None:
    """One convolution that does what two do after each other on maps of `shape`; None where none does exactly.

    Zeros that the second one pads must be what the first one would give there: that needs a first one without bias
    whose windows neither overlap the edge nor leave rows out.
    """
    if second.padding != (0, 0) or second.time_taps > 1:
        if bool((first.bias != 0).any()):
            return None
        if second.padding != (0, 0) and not _tiles(first, shape[1:]):
            return None
    w1, w2 = _dense_kernel(first), _dense_kernel(second)  # [M, I, K, kH, kW], [O, M, K, kH, kW]
    weight = _compose(w1, w2, first, second)
    bias = second.bias + w2.sum((2, 3, 4)) @ first.bias
    groups = 1
    if first.groups == second.groups == shape[0] == len(w1) == len(w2):  # channel by channel
        groups = shape[0]
        weight = weight.diagonal().movedim(-1, 0)[:, None]
    taps = weight.shape[2]
    return Conv(
        second.name,
        weight if taps > 1 else weight[:, :, 0],
        bias,
        stride=_each(lambda a, b: a * b, first.stride, second.stride),
        padding=_each(lambda p, q, s: p + q * s, first.padding, second.padding, first.stride),
        groups=groups,
        time_taps=taps,
    )


def _each(function, *pairs: Pair) -> Pair:
    height, width = (function(*values) for values in zip(*pairs, strict=True))
    return height, width


def _tiles(conv: Conv, size: Shape) -> bool:
    """Whether windows start at the edge, do not overlap, and a further one would see nothing but padding."""
    kernel = conv.weight.shape[-2:]
    axes = zip(size, kernel, conv.stride, conv.padding, conv.dilation, strict=True)
    return all(p == 0 and d * (k - 1) < s and ((n - d * (k - 1) - 1) // s + 1) * s >= n for n, k, s, p, d in axes)


def _dense_kernel(conv: Conv) -> torch.Tensor:
    """Weights ``[O, I, K, kH, kW]`` of the same convolution without groups."""
    weight = conv.weight if conv.time_taps > 1 else conv.weight[:, :, None]
    if conv.groups == 1:
        return weight
    n_out, n_in = len(weight) // conv.groups, weight.shape[1]
    dense = weight.new_zeros(len(weight), n_in * conv.groups, *weight.shape[2:])
    for group in range(conv.groups):
        rows = slice(group * n_out, (group + 1) * n_out)
        dense[rows, group * n_in : (group + 1) * n_in] = weight[rows]
    return dense


def _compose(w1: torch.Tensor, w2: torch.Tensor, first: Conv, second: Conv) -> torch.Tensor:
    """Kernel ``[O, I, K, kH, kW]`` of both, without dilation: each tap of the second moves the first by its stride."""
    steps = [1, *(d * s for d, s in zip(second.dilation, first.stride, strict=True))]
    spread = [1, *first.dilation]
    extents = [d * (k - 1) + 1 for d, k in zip(spread, w1.shape[2:], strict=True)]
    sizes = [step * (k - 1) + extent for step, k, extent in zip(steps, w2.shape[2:], extents, strict=True)]
    weight = w1.new_zeros(len(w2), w1.shape[1], *sizes)
    for tap in torch.cartesian_prod(*(torch.arange(k) for k in w2.shape[2:])).tolist():
        place = [slice(n * s, n * s + e, d) for n, s, e, d in zip(tap, steps, extents, spread, strict=True)]
        weight[(..., *place)] += torch.einsum("om,mi...->oi...", w2[(..., *tap)], w1)
    return weight
