"""Synapses in exact integer arithmetic: what arrives at the neurons of a layer, and how many synapses carried it."""

from math import prod

import numpy as np
import torch
from torch.nn import functional

from snnfer.converters.graph import Shape
from snnfer.converters.loihi.graph import IntegerLayer

_FLOAT32_EXACT = 1 << 24
_ACCUMULATOR_BITS = 24


def accumulate(layer: IntegerLayer, x: torch.Tensor, *, largest_input: int = 1) -> torch.Tensor:
    r"""Sum of weights over the active synapses of each neuron, for a run of steps.

    .. math::
        a_t = \sum_{k = 0}^{K - 1} W_k \star x_{t - (K - 1 - k)}

    with K time taps, :math:`\star` being the correlation of torch, and for a convolution the result wrapped to signed
    24 bits as lava does. Whole numbers in floating point are exact as long as every partial sum is: float32 serves
    below 2**24, which the weights and `largest_input` bound, float64 above. The sum is a matrix product, because fast
    algorithms for convolutions (Winograd) round. Faster settings of torch for matrix products (TF32, bfloat16) change
    nothing: weights and inputs have 8 bits, and sums stay in float32.

    Args:
        layer: The layer.
        x: Whole numbers ``[K - 1 + T, N, *shape]``: K - 1 steps of the past and T new ones.
        largest_input: Largest magnitude in `x`.

    Returns:
        Whole numbers ``[T, N, *layer.shape]``, float32 or float64.

    Examples:
        >>> dense = IntegerLayer("fc", "dense", np.array([[2, -4]]), np.array([0]), 1, 4096, 2048, 1.0, (1,))
        >>> accumulate(dense, torch.tensor([[[1, 1]], [[1, 0]]]))
        tensor([[[-2.]],
        <BLANKLINE>
                [[ 2.]]])
    """
    bound = largest_weight_sum(layer) * largest_input
    dtype = torch.float32 if bound < _FLOAT32_EXACT else torch.float64
    weight = torch.from_numpy(np.ascontiguousarray(layer.weight)).to(x.device, dtype)
    taps, steps = layer.time_taps, len(x) - layer.time_taps + 1
    if taps > 1:
        x = torch.stack([x[k : k + steps] for k in range(taps)], dim=3)  # [T, N, C, K, H, W]
        x = x.flatten(2, 3)
        weight = weight.flatten(1, 2)
    flat = x.to(dtype).flatten(0, 1)  # [T N, *shape]
    if layer.kind == "dense":
        sums = flat.flatten(1) @ weight.T
    else:
        sums = _correlate(layer, flat, weight)
        if bound >= 1 << (_ACCUMULATOR_BITS - 1):
            sums = _wrap(sums)
    return sums.view(steps, -1, *layer.shape)


def largest_weight_sum(layer: IntegerLayer) -> int:
    """Largest sum of weight magnitudes over the inputs of one neuron."""
    return int(np.abs(layer.weight).reshape(len(layer.weight), -1).sum(axis=1, dtype=np.int64).max())


def worst_accumulator(layer: IntegerLayer) -> int:
    """Largest magnitude that binary inputs can sum up to: all positive weights of a neuron, or all negative ones."""
    rows = layer.weight.reshape(len(layer.weight), -1).astype(np.int64)
    return int(max(np.maximum(rows, 0).sum(axis=1).max(), np.maximum(-rows, 0).sum(axis=1).max()))


def fan_out(layer: IntegerLayer, input_shape: Shape) -> torch.Tensor:
    """Synapses that leave each input, ``[*input_shape]``; a weight of zero is no synapse.

    Examples:
        >>> conv = IntegerLayer(
        ...     "conv", "conv", np.full((1, 1, 3, 3), 2), np.array([0]), 1, 4096, 0, 1.0, (1, 3, 3), padding=(1, 1)
        ... )
        >>> fan_out(conv, (1, 3, 3))[0]
        tensor([[4., 6., 4.],
                [6., 9., 6.],
                [4., 6., 4.]], dtype=torch.float64)
    """
    present = torch.from_numpy(layer.weight != 0).double()
    if layer.kind == "dense":
        return present.sum(0)
    if layer.time_taps > 1:
        present = present.sum(2)
    ones = torch.zeros(1, *input_shape, dtype=torch.float64, requires_grad=True)
    settings = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation, "groups": layer.groups}
    with torch.enable_grad():
        total = functional.conv2d(ones, present, **settings).sum()
    return torch.autograd.grad(total, ones)[0][0].round()


def n_synapses(layer: IntegerLayer, input_shape: Shape) -> int:
    """Synapses of the layer with a weight, each position of a convolution counted."""
    return int(fan_out(layer, input_shape).sum())


def _correlate(layer: IntegerLayer, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Grouped correlation ``[B, O, L]`` of ``[B, I, H, W]`` as one matrix product per group."""
    kernel = weight.shape[-2:]
    if layer.groups == weight.shape[0] and prod(weight.shape[1:]) <= 16 and _tiles(layer, x, kernel):
        return _tile_sums(layer, x, weight)
    columns = functional.unfold(x, kernel, dilation=layer.dilation, padding=layer.padding, stride=layer.stride)
    if layer.groups == 1:
        return weight.flatten(1) @ columns
    columns = columns.unflatten(1, (layer.groups, -1))  # [B, G, I / G k, L]
    rows = weight.flatten(1).unflatten(0, (layer.groups, -1))  # [G, O / G, I / G k]
    return rows @ columns


def _tiles(layer: IntegerLayer, x: torch.Tensor, kernel: torch.Size) -> bool:
    """Whether each window is a tile of the map: the case of pooling."""
    unpadded = layer.padding == (0, 0) and layer.dilation == (1, 1) and tuple(layer.stride) == tuple(kernel)
    return unpadded and x.shape[1] == layer.groups


def _tile_sums(layer: IntegerLayer, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    (rows, columns), (_, height, width) = weight.shape[-2:], layer.shape
    x = x[:, :, : height * rows, : width * columns]
    sums = torch.zeros(len(x), *layer.shape, dtype=x.dtype, device=x.device)
    for i in range(rows):
        for j in range(columns):
            sums.addcmul_(x[:, :, i::rows, j::columns], weight[:, 0, i, j, None, None])
    return sums


def _wrap(sums: torch.Tensor) -> torch.Tensor:
    half = float(1 << (_ACCUMULATOR_BITS - 1))
    return torch.remainder(sums + half, 2 * half) - half
