"""The first layers of a spiking network in one piece: event lists in, bits between the blocks, and at the end either
spikes or the current of a fully connected layer.

It works sample by sample, so that little is stored: for the backward pass the events, the bits between the blocks and
one convolution per block whose input are bits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from snnfer.neurons._dynamics import Dynamics
from snnfer.neurons.kernels import _bit_block_cpu as bit_block
from snnfer.neurons.kernels import _bit_linear_cpu as bit_linear
from snnfer.neurons.kernels import _events_cpu as event_block
from snnfer.neurons.kernels._bit_block_cpu import BitShape
from snnfer.neurons.kernels._events_cpu import Events
from snnfer.neurons.kernels._neuron_cpu import Settings, make_settings

Found = Callable[[int, torch.Tensor, torch.Tensor], None]
"""Told of every block: its index, mean and unbiased variance of its convolution (training)."""
CHUNK = 32
"""Steps of a sample that are computed together where nothing is kept, so that bits between the blocks stay small."""


@dataclass(frozen=True)
class Block:
    """Tensors and constants of one block: convolution 3 x 3, normalisation, neuron, max pooling 2 x 2.

    Args:
        weight: ``[C, C_in, 3, 3]``.
        gamma: Weight of the normalisation ``[C]``.
        beta: Its bias ``[C]``.
        mean: Stored mean ``[C]``; None to take that of the batch.
        variance: Stored variance ``[C]``, or None.
        eps: Added to the variance.
        dynamics: Constants of the neuron.
        rate: Leak rate of the neuron where it is learned, one number.
    """

    weight: torch.Tensor
    gamma: torch.Tensor
    beta: torch.Tensor
    mean: torch.Tensor | None
    variance: torch.Tensor | None
    eps: float
    dynamics: Dynamics
    rate: torch.Tensor | None


@dataclass(frozen=True)
class Linear:
    """Fully connected layer behind the flattened spikes ``[C * H * W]``.

    Args:
        weight: ``[O, C * H * W]``.
        bias: ``[O]`` or None.
        mask: Dropout mask ``[N, C * H * W]`` of zeros and `scale`, or None.
        scale: Factor of what is not dropped.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None
    mask: torch.Tensor | None
    scale: float

    def rows(self, bits: torch.Tensor) -> torch.Tensor:
        """The flattened bits ``[T, N, words]`` without what is dropped."""
        keep = None if self.mask is None else bit_linear.rows_from_floats(self.mask)
        return bit_linear.rows_from_maps(bits, keep)


@dataclass(frozen=True)
class Folded:
    """What the kernels take of a block: its current is convolution * gain + bias, the leak being one rate.

    Args:
        mean: Of the convolution ``[C]``, float64.
        spread: 1 / standard deviation ``[C]``, float64.
        gain: ``[C]``, float64; scales the input where it decays.
        bias: ``[C]``, float32.
        input_scale: 1, or the leak rate where the input decays.
        settings: Of the neuron.
    """

    mean: torch.Tensor
    spread: torch.Tensor
    gain: torch.Tensor
    bias: torch.Tensor
    input_scale: float
    settings: Settings


def fold(block: Block, mean: torch.Tensor, variance: torch.Tensor) -> Folded:
    """Normalisation by `mean` and `variance`, leak and input scale of a block as gain and bias."""
    dynamics = block.dynamics
    rate = block.rate.item() if block.rate is not None else 1 / dynamics.tau if dynamics.tau is not None else 0.0
    settings = make_settings(dynamics, block.rate)
    settings.rate = rate
    input_scale = rate if dynamics.decay_input else 1.0
    spread = (variance.double() + block.eps).rsqrt()
    gain = block.gamma.detach().double() * spread
    bias = input_scale * (block.beta.detach().double() - gain * mean.double()) + rate * dynamics.v_reset
    return Folded(mean.double(), spread, gain * input_scale, bias.float(), input_scale, settings)


def fold_weight(block: Block, folded: Folded) -> torch.Tensor:
    """Weights ``[C_in, 3, 3, C]`` of a block of events, with its gain."""
    return (block.weight.detach().double() * folded.gain[:, None, None, None]).float().permute(1, 2, 3, 0).contiguous()


def shapes_of(blocks: Sequence[Block], height: int, width: int) -> list[BitShape]:
    """Sizes of all blocks for maps of a size."""
    shapes = []
    for block in blocks:
        shapes.append(BitShape(height, width, block.weight.shape[1], len(block.weight)))
        height, width = height // 2, width // 2
    return shapes


def start_potentials(
    blocks: Sequence[Block], shapes: Sequence[BitShape], states: Sequence[torch.Tensor | None], n_samples: int
) -> list[torch.Tensor]:
    """Potentials ``[N, H, W, C]`` of all blocks, new tensors, from the states ``[N, C, H, W]``."""
    return [
        torch.full((n_samples, *shape.state_shape), block.dynamics.v_reset)
        if state is None
        else state.detach().permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format)
        for block, shape, state in zip(blocks, shapes, states, strict=True)
    ]


@dataclass(frozen=True)
class Prepared:
    """A trunk whose weights stay as they are: what inference takes."""

    folded: list[Folded]
    weights: list[torch.Tensor]
    gains: list[torch.Tensor]


def prepare(blocks: Sequence[Block]) -> Prepared:
    """Fold the stored statistics into the weights."""
    folded = [fold(block, block.mean, block.variance) for block in blocks]  # type: ignore[arg-type]
    first, *others = blocks
    weights = [fold_weight(first, folded[0]), *(bit_block.group_weights(block.weight.detach()) for block in others)]
    return Prepared(folded, weights, [f.gain.float() for f in folded])


def infer(
    events: Events, blocks: Sequence[Block], prepared: Prepared, states: Sequence[torch.Tensor | None]
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Bits ``[N, T, H, W, C / 16]`` behind the last block and last potentials ``[N, C, H, W]``, without gradients.

    Any cut of the sequence gives the same bits.
    """
    n_steps, n_samples, _, height, width = events.shape
    shapes = shapes_of(blocks, height, width)
    v = start_potentials(blocks, shapes, states, n_samples)
    out = torch.empty(n_samples, n_steps, *shapes[-1].pooled_shape, dtype=torch.int16)
    for sample in range(n_samples):
        for step in range(0, n_steps, CHUNK):
            chunk = slice(step, min(step + CHUNK, n_steps))
            _infer_chunk(events, prepared, shapes, [a[sample] for a in v], sample, out[sample, chunk], step)
    return out, [a.permute(0, 3, 1, 2) for a in v]


def _infer_chunk(
    events: Events,
    prepared: Prepared,
    shapes: Sequence[BitShape],
    v: Sequence[torch.Tensor],
    sample: int,
    out: torch.Tensor,
    step: int,
) -> None:
    """Some steps of one sample into `out` ``[t, H, W, C / 16]``."""
    n_steps, last = len(out), len(shapes) - 1
    bits: torch.Tensor | None = None
    for i, (shape, folded) in enumerate(zip(shapes, prepared.folded, strict=True)):
        target = out if i == last else torch.empty(n_steps, *shape.pooled_shape, dtype=torch.int16)
        weight, bias, settings = prepared.weights[i], folded.bias, folded.settings
        if bits is None:
            event_block.event_block_forward(
                *(events, weight, bias, settings, v[i], target), sample=sample, step=step, n_samples=1, n_steps=n_steps
            )
        else:
            bit_block.bit_block_forward(
                bits[None], shape, weight, prepared.gains[i], bias, settings, v[i], target[None]
            )
        bits = target


@dataclass
class Tape:
    """What the forward pass leaves for the backward pass."""

    events: Events
    shapes: list[BitShape]
    folded: list[Folded]
    moments: tuple[torch.Tensor, torch.Tensor] | None  # of the patches of the first block, where the batch normalises
    bits: list[torch.Tensor]  # behind every block but the last
    currents: list[torch.Tensor | None]  # convolutions of the blocks behind the first; used up by a backward pass
    v0: list[torch.Tensor | None]  # potentials at the start, where a state was given
    rows: torch.Tensor | None = None  # flattened bits in front of the fully connected layer


def run_forward(
    events: Events, blocks: Sequence[Block], states: Sequence[torch.Tensor | None], found: Found
) -> tuple[Tape, torch.Tensor, list[torch.Tensor]]:
    """Forward pass that can be gone back: bits behind the last block, last potentials ``[N, C, H, W]``."""
    n_steps, n_samples, _, height, width = events.shape
    shapes = shapes_of(blocks, height, width)
    v = start_potentials(blocks, shapes, states, n_samples)
    v0 = [a.clone() if state is not None else None for a, state in zip(v, states, strict=True)]
    tape = Tape(events, shapes, [], None, [], [], v0)
    bits: torch.Tensor | None = None
    for i, (block, shape) in enumerate(zip(blocks, shapes, strict=True)):
        out = torch.empty(n_samples, n_steps, *shape.pooled_shape, dtype=torch.int16)
        if bits is None:
            _first_block(tape, block, v[i], out, found)
        else:
            tape.bits.append(bits)
            _next_block(tape, block, shape, bits, v[i], out, found, i)
        bits = out
    assert bits is not None
    return tape, bits, [a.permute(0, 3, 1, 2) for a in v]


def _first_block(tape: Tape, block: Block, v: torch.Tensor, out: torch.Tensor, found: Found) -> None:
    n_steps, n_samples, _, height, width = tape.events.shape
    mean, variance = block.mean, block.variance
    if mean is None or variance is None:
        sums, products = tape.moments = event_block.patch_moments(tape.events)
        weight, count = patch_weights(block.weight), n_steps * n_samples * height * width
        mean = weight @ sums / count
        variance = (((weight @ products) * weight).sum(1) / count - mean * mean).clamp(min=0)
        found(0, mean, variance * (count / (count - 1)))
    folded = fold(block, mean, variance)
    tape.folded.append(folded)
    weight, settings = fold_weight(block, folded), folded.settings
    event_block.event_block_forward(
        *(tape.events, weight, folded.bias, settings, v, out), n_samples=n_samples, n_steps=n_steps
    )


def _next_block(
    tape: Tape, block: Block, shape: BitShape, bits: torch.Tensor, v: torch.Tensor, out: torch.Tensor, found: Found,
    index: int,
) -> None:  # fmt: skip
    current = torch.empty(*bits.shape[:2], *shape.state_shape)
    mean, variance = block.mean, block.variance
    sums = torch.zeros(2, shape.channels, dtype=torch.float64) if mean is None else None
    bit_block.bit_convolution(bits, shape, bit_block.group_weights(block.weight.detach()), current, sums)
    if sums is not None:
        count = current.numel() // shape.channels
        mean = sums[0] / count
        variance = (sums[1] / count - mean * mean).clamp(min=0)
        found(index, mean, variance * (count / (count - 1)))
    folded = fold(block, mean, variance)  # type: ignore[arg-type]
    tape.folded.append(folded)
    tape.currents.append(current)
    bit_block.bit_block_fire(current, shape, folded.gain.float(), folded.bias, folded.settings, v, out)


def patch_weights(weight: torch.Tensor) -> torch.Tensor:
    """Weights ``[C, C_in, 3, 3]`` in the order of `patch_moments` ``[C, 9 C_in]``, float64."""
    return weight.detach().double().permute(0, 2, 3, 1).flatten(1)
