"""The backward pass of the trunk: from the last block to the first, each sample only once it is needed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from snnfer.neurons.kernels import _bit_block_cpu as bit_block
from snnfer.neurons.kernels import _bit_linear_cpu as bit_linear
from snnfer.neurons.kernels import _events_cpu as event_block
from snnfer.neurons.kernels._trunk_cpu import Block, Folded, Linear, Tape, fold_weight, patch_weights

OfSample = Callable[[int], torch.Tensor]
"""Gradient of the pooled spikes ``[T, H / 2, W / 2, C]`` of one sample; each is asked for once."""


@dataclass
class BlockGradients:
    """Gradients of the tensors of a block; v0 ``[N, H, W, C]``, the leak rate one number."""

    weight: torch.Tensor
    gamma: torch.Tensor
    beta: torch.Tensor
    rate: torch.Tensor | None
    v0: torch.Tensor | None


def of_linear(linear: Linear, tape: Tape, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, OfSample]:
    """Gradients of weight and bias from that of the output ``[T, N, O]``, and those of the spikes."""
    assert tape.rows is not None
    grad = grad.contiguous()
    features = linear.weight.shape[1]
    grad_weight = bit_linear.bit_linear_weight_gradient(tape.rows, features, grad, linear.scale)
    height, width, units = tape.shapes[-1].pooled_shape
    maps = (height, width, bit_block.CHANNELS_PER_UNIT * units)
    weight = linear.weight.detach().contiguous()
    spikes = bit_linear.bit_linear_input_gradient(weight, grad, maps, linear.mask)
    return grad_weight, grad.sum((0, 1)), spikes.__getitem__


def of_spikes(grad: torch.Tensor) -> OfSample:
    """The gradient of the spikes themselves ``[T, N, C, H, W]``."""
    grad = grad.contiguous()
    return lambda n: bit_linear.channels_last(grad[:, n])


def run_backward(
    tape: Tape,
    blocks: Sequence[Block],
    of_sample: OfSample,
    grad_last: Sequence[torch.Tensor | None],
    wants_v0: Sequence[bool],
) -> list[BlockGradients]:
    """Gradients of all blocks.

    Args:
        tape: From the forward pass.
        blocks: The blocks.
        of_sample: Gradient of the spikes behind the last block.
        grad_last: Of the last potentials ``[N, C, H, W]``.
        wants_v0: Whether the gradient of the first potentials is wanted.
    """
    gradients: list[BlockGradients] = []
    finishers: list[Callable[[], torch.Tensor]] = []  # of the weights: complete when the block below is
    for i in range(len(blocks) - 1, 0, -1):
        found, of_sample, weight = _bit_block(tape, blocks[i], i, of_sample, grad_last[i], wants_v0[i])
        gradients.append(found)
        finishers.append(weight)
    first = _event_block(tape, blocks[0], of_sample, grad_last[0], wants_v0[0])
    for found, weight in zip(gradients, finishers, strict=True):
        found.weight = weight()
    return [first, *reversed(gradients)]


def _bit_block(
    tape: Tape, block: Block, i: int, of_sample: OfSample, grad_last: torch.Tensor | None, wants_v0: bool
) -> tuple[BlockGradients, OfSample, Callable[[], torch.Tensor]]:
    """Gradients of a block but for its weight, which is complete when those of all samples have been asked for."""
    shape, folded, bits, gain = tape.shapes[i], tape.folded[i], tape.bits[i - 1], tape.folded[i].gain.float()
    weight = bit_block.group_weights(block.weight.detach())
    grad = tape.currents[i - 1]
    if grad is None:  # a second backward pass
        grad = torch.empty(*bits.shape[:2], *shape.state_shape)
        bit_block.bit_convolution(bits, shape, weight, grad, None)
    tape.currents[i - 1] = None
    sums = torch.zeros(2, shape.channels, dtype=torch.float64)
    ends = _Ends(tape, block, i, grad_last, wants_v0)
    for n in range(len(bits)):
        bit_block.bit_block_fire_backward(
            *(grad[n], shape, gain, folded.bias, folded.settings, of_sample(n), *ends.of_sample(n), sums, ends.rate)
        )
    count = grad.numel() // shape.channels if block.mean is None else None
    found = _normalised(block, folded, sums, count)
    terms = (found.a.float(), found.b.float(), found.d.float())
    grad_weight = torch.zeros_like(weight, dtype=torch.float64)
    buffer = torch.empty(bits.shape[1], shape.height, shape.width, shape.channels_in)
    plain = block.weight.detach().contiguous()

    def below(n: int) -> torch.Tensor:
        bit_block.bit_convolution_backward(bits[n], shape, weight, plain, grad[n], terms, buffer, grad_weight)
        return buffer

    return (
        found.gradients(block, ends, folded),
        below,
        lambda: bit_block.ungroup_weights(grad_weight, shape).to(block.weight.dtype),
    )


@dataclass(frozen=True)
class _Normalised:
    """Gradients of a normalisation in float64; that of the convolution is a * (gradient of the potential)
    + b * convolution + d."""

    gamma: torch.Tensor
    beta: torch.Tensor
    a: torch.Tensor
    b: torch.Tensor
    d: torch.Tensor

    def gradients(self, block: Block, ends: "_Ends", folded: Folded) -> BlockGradients:
        """Those of a block; that of its weight is set later."""
        rate = ends.grad_rate(block, folded)
        return BlockGradients(block.weight, self.gamma.float(), self.beta.float(), rate, ends.grad_v0)


def _normalised(block: Block, folded: Folded, sums: torch.Tensor, count: int | None) -> _Normalised:
    """From the sums of the gradients of the potential, and of their product with the convolution ``[2, C]``.

    `count` is the number of values per channel where they give mean and variance, None where those are constants.
    """
    beta = folded.input_scale * sums[0]
    gamma = folded.spread * (folded.input_scale * sums[1] - folded.mean * beta)
    zero = torch.zeros_like(beta)
    if count is None:
        return _Normalised(gamma, beta, folded.gain, zero, zero)
    scale = block.gamma.detach().double() * folded.spread
    b = -scale * folded.spread * gamma / count
    return _Normalised(gamma, beta, folded.gain, b, -scale * beta / count - folded.mean * b)


def _event_block(
    tape: Tape, block: Block, of_sample: OfSample, grad_last: torch.Tensor | None, wants_v0: bool
) -> BlockGradients:
    folded = tape.folded[0]
    weight = fold_weight(block, folded)
    products = torch.zeros(weight.shape, dtype=torch.float64)  # [C_in, 3, 3, C]: events times gradients
    total = torch.zeros(len(block.weight), dtype=torch.float64)
    ends = _Ends(tape, block, 0, grad_last, wants_v0)
    sums = (products, total, ends.rate)
    n_steps, n_samples, channels_in, height, width = tape.events.shape
    for n in range(n_samples):
        v0, last, grad_v0 = ends.of_sample(n)
        event_block.event_block_backward(
            *(tape.events, weight, folded.bias, folded.settings, v0, of_sample(n), last, grad_v0, sums), sample=n
        )
    by_patch = products.permute(3, 1, 2, 0).flatten(1)  # [C, 9 C_in]
    plain = patch_weights(block.weight)
    count = n_steps * n_samples * height * width if tape.moments is not None else None
    found = _normalised(block, folded, torch.stack([total, (plain * by_patch).sum(1)]), count)
    grad = found.a[:, None] * by_patch
    if tape.moments is not None:
        sums_of_patches, products_of_patches = tape.moments
        grad += found.b[:, None] * (plain @ products_of_patches) + found.d[:, None] * sums_of_patches
    gradients = found.gradients(block, ends, folded)
    gradients.weight = grad.unflatten(1, (3, 3, channels_in)).permute(0, 3, 1, 2).to(block.weight.dtype).contiguous()
    return gradients


class _Ends:
    """Potentials before the first step and gradients of those after the last, sample by sample."""

    def __init__(self, tape: Tape, block: Block, i: int, grad_last: torch.Tensor | None, wants_v0: bool) -> None:
        shape = tape.shapes[i]
        n_samples = tape.events.shape[1]
        self.v0 = tape.v0[i]
        self.rest = torch.full(shape.state_shape, block.dynamics.v_reset) if self.v0 is None else None
        self.grad_last = None if grad_last is None else grad_last.permute(0, 2, 3, 1).contiguous()
        self.grad_v0 = torch.empty(n_samples, *shape.state_shape) if wants_v0 else None
        self.rate = torch.zeros((), dtype=torch.float64)

    def of_sample(self, n: int) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        v0 = self.rest if self.v0 is None else self.v0[n]
        assert v0 is not None
        grads = (None if a is None else a[n] for a in (self.grad_last, self.grad_v0))
        return v0, *grads  # type: ignore[return-value]

    def grad_rate(self, block: Block, folded: Folded) -> torch.Tensor | None:
        """The kernels sum gradients that hold the factor 1 - rate; where the input decays, also rate."""
        if block.rate is None:
            return None
        rate = folded.settings.rate
        factor = (1 - rate) * (rate if block.dynamics.decay_input else 1.0)
        return (self.rate / max(factor, 1e-30)).to(block.rate.dtype).reshape(block.rate.shape)
