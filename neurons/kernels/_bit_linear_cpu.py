"""Spikes as rows of bits in the order of `torch.nn.Flatten`, and the fully connected layer on them."""

import torch

from snnfer.neurons.kernels import _library

LISTED_ROWS = 32
"""Below so many rows tables of sums do not pay: the spikes are listed."""


def n_words(features: int) -> int:
    """Words of 32 bits that hold a row."""
    return -(-features // 32)


def rows_from_maps(bits: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
    """Bits ``[N, T, H, W, C / 16]`` to rows ``[T, N, words]`` of C * H * W features, of which `keep` ``[N, words]``
    drops some."""
    n_samples, n_steps, height, width, units = bits.shape
    rows = bits.new_empty(n_steps, n_samples, n_words(16 * units * height * width), dtype=torch.int32)
    _library.call("bit_rows", bits, n_samples, n_steps, height * width, 16 * units, keep, rows)
    return rows


def rows_to_floats(rows: torch.Tensor, features: int) -> torch.Tensor:
    """Rows ``[..., words]`` to 0 and 1 ``[..., features]``."""
    out = torch.empty(*rows.shape[:-1], features)
    _library.call("bits_to_floats", rows, rows.shape[:-1].numel(), features, out)
    return out


def rows_from_floats(x: torch.Tensor) -> torch.Tensor:
    """What is not zero in ``[..., features]``, as rows ``[..., words]``."""
    rows = torch.empty(*x.shape[:-1], n_words(x.shape[-1]), dtype=torch.int32)
    _library.call("floats_to_bits", x.contiguous(), x.shape[:-1].numel(), x.shape[-1], rows)
    return rows


def bit_linear(
    rows: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    scale: float,
    transposed: torch.Tensor | None = None,
) -> torch.Tensor:
    """``scale * rows @ weight.T + bias`` for rows ``[..., words]`` and `weight` ``[O, features]``.

    With the `transposed` weight ``[features, O]`` the spikes are listed, which is faster for few rows. The result is
    the same, bit for bit.
    """
    outputs, features = weight.shape
    out = torch.empty(*rows.shape[:-1], outputs)
    chosen = weight if transposed is None else transposed
    sizes = (rows, rows.shape[:-1].numel(), features)
    _library.call("bit_linear", *sizes, chosen, bias, scale, outputs, int(transposed is not None), out)
    return out


def bit_linear_weight_gradient(rows: torch.Tensor, features: int, grad: torch.Tensor, scale: float) -> torch.Tensor:
    """Gradient of the weight ``[O, features]`` from that of the output `grad` ``[..., O]``."""
    outputs = grad.shape[-1]
    grad_weight = torch.empty(outputs, features)
    sizes = (rows, rows.shape[:-1].numel(), features)
    _library.call("bit_linear_weight_gradient", *sizes, grad, scale, outputs, grad_weight)
    return grad_weight


def bit_linear_input_gradient(
    weight: torch.Tensor, grad: torch.Tensor, maps: tuple[int, int, int], mask: torch.Tensor | None
) -> torch.Tensor:
    """Gradient of the spikes ``[N, T, H, W, C]`` from that of the output `grad` ``[T, N, O]``.

    Args:
        weight: ``[O, C * H * W]``.
        grad: Gradient of the output.
        maps: H, W, C.
        mask: Dropout mask ``[N, C * H * W]`` or None.
    """
    height, width, channels = maps
    n_steps, n_samples, outputs = grad.shape
    if mask is not None:
        mask = mask.unflatten(1, (channels, -1)).transpose(1, 2).contiguous()  # [N, H * W, C]
    out = torch.empty(n_samples, n_steps, *maps)
    grad = grad.transpose(0, 1).contiguous()
    sizes = (n_samples, n_steps, outputs)
    _library.call("bit_linear_input_gradient", grad, *sizes, weight, mask, height * width, channels, out)
    return out


def channels_last(maps: torch.Tensor) -> torch.Tensor:
    """Maps ``[T, C, H, W]``, contiguous but for the first axis, to ``[T, H, W, C]``."""
    n_steps, channels, height, width = maps.shape
    out = torch.empty(n_steps, height, width, channels)
    _library.call("channels_last", maps, maps.stride(0), n_steps, height * width, channels, out)
    return out
