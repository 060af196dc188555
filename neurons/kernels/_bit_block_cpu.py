"""Blocks whose input are bits: convolution that visits the spikes alone, normalisation, neuron, 2 x 2 max pooling."""

from dataclasses import dataclass

import torch

from snnfer.neurons.kernels import _library
from snnfer.neurons.kernels._neuron_cpu import Settings

CHANNELS_PER_UNIT = 16
LARGEST_CHANNELS = 64


@dataclass(frozen=True)
class BitShape:
    """Sizes of a block: maps ``[H, W, C_in]`` to ``[H / 2, W / 2, C]``."""

    height: int
    width: int
    channels_in: int
    channels: int

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        return self.height, self.width, self.channels_in, self.channels

    @property
    def state_shape(self) -> tuple[int, int, int]:
        """Of the potentials of a sample, channels last."""
        return self.height, self.width, self.channels

    @property
    def pooled_shape(self) -> tuple[int, int, int]:
        """Of the output bits of a frame, in units of 16 channels."""
        return self.height // 2, self.width // 2, self.channels // CHANNELS_PER_UNIT


def group_weights(weight: torch.Tensor) -> torch.Tensor:
    """Weights ``[C, C_in, 3, 3]`` in the order of the kernels: ``[groups, ky, C_in, kx, channels of the group]``."""
    group = 16 if len(weight) % 32 else 32
    return weight.unflatten(0, (-1, group)).permute(0, 3, 2, 4, 1).contiguous()


def ungroup_weights(grouped: torch.Tensor, shape: BitShape) -> torch.Tensor:
    """Inverse of `group_weights`."""
    group = 16 if shape.channels % 32 else 32
    return grouped.view(-1, 3, shape.channels_in, 3, group).permute(0, 4, 2, 1, 3).flatten(0, 1)


def bit_block_forward(
    bits: torch.Tensor,
    shape: BitShape,
    weight: torch.Tensor,
    gain: torch.Tensor,
    bias: torch.Tensor,
    settings: Settings,
    v: torch.Tensor,
    out: torch.Tensor,
) -> None:
    """Bits ``[N, T, H, W, C_in / 16]`` to bits `out`, without storing a current; potentials `v` ``[N, H, W, C]`` are
    replaced. The current is the convolution with the grouped `weight`, times `gain`, plus `bias`."""
    n_samples, n_steps = bits.shape[:2]
    _library.call("bit_block_forward", bits, n_samples, n_steps, *shape.sizes, weight, gain, bias, settings, v, out)


def bit_convolution(
    bits: torch.Tensor, shape: BitShape, weight: torch.Tensor, current: torch.Tensor, sums: torch.Tensor | None
) -> None:
    """Convolution of the frames of `bits` ``[..., H, W, C_in / 16]`` into `current`; adds its sums and sums of squares
    to `sums` ``[2, C]``, float64."""
    n_frames = bits.shape[:-3].numel()
    _library.call("bit_convolution", bits, n_frames, *shape.sizes, weight, current, sums)


def bit_block_fire(
    current: torch.Tensor,
    shape: BitShape,
    gain: torch.Tensor,
    bias: torch.Tensor,
    settings: Settings,
    v: torch.Tensor,
    out: torch.Tensor,
) -> None:
    """The rest of `bit_block_forward`, from the convolution ``[N, T, H, W, C]``: the same bits."""
    sizes = (*current.shape[:2], shape.height, shape.width, shape.channels)
    _library.call("bit_block_fire", current, *sizes, gain, bias, settings, v, out)


def bit_block_fire_backward(
    current: torch.Tensor,
    shape: BitShape,
    gain: torch.Tensor,
    bias: torch.Tensor,
    settings: Settings,
    grad_out: torch.Tensor,
    v0: torch.Tensor,
    grad_last: torch.Tensor | None,
    grad_v0: torch.Tensor | None,
    sums: torch.Tensor,
    grad_rate: torch.Tensor,
) -> None:
    """Replace the convolution `current` ``[T, H, W, C]`` of one sample by the gradient of the potential before the
    reset; add that and its product with the convolution to `sums` ``[2, C]``, float64."""
    sizes = (len(current), shape.height, shape.width, shape.channels)
    ends = (v0, grad_last, grad_v0)
    _library.call("bit_block_fire_backward", current, *sizes, gain, bias, settings, grad_out, *ends, sums, grad_rate)


def bit_convolution_backward(
    bits: torch.Tensor,
    shape: BitShape,
    weight: torch.Tensor,
    plain_weight: torch.Tensor,
    grad: torch.Tensor,
    terms: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    grad_in: torch.Tensor,
    grad_weight: torch.Tensor,
) -> None:
    """One sample: gradient of the input `grad_in` ``[T, H, W, C_in]``; adds to the grouped `grad_weight`, float64.

    The gradient of the convolution is ``a * grad + b * convolution + d`` with ``terms = (a, b, d)`` per channel.
    """
    arguments = (weight, plain_weight, grad, *terms, grad_in, grad_weight)
    _library.call("bit_convolution_backward", bits, len(grad), *shape.sizes, *arguments)
