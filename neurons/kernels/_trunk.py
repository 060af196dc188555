"""The trunk as one autograd node."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from snnfer.neurons.kernels import _bit_linear_cpu as bit_linear
from snnfer.neurons.kernels import _trunk_backward_cpu as backward
from snnfer.neurons.kernels._events_cpu import Events
from snnfer.neurons.kernels._trunk_cache import Cache
from snnfer.neurons.kernels._trunk_cpu import Block, Found, Linear, infer, run_forward

States = Sequence[torch.Tensor | None]


def trunk(
    events: Events, blocks: Sequence[Block], linear: Linear | None, states: States, found: Found, cache: Cache
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """Run the first layers of a network on its events.

    Args:
        events: Of frames ``[T, N, C, H, W]``.
        blocks: At least one.
        linear: Fully connected layer behind the flattened spikes, or None.
        states: Potentials ``[N, C, H, W]`` that the blocks start from; at rest where None.
        found: Called with the statistics of every block that normalises by its batch.
        cache: What earlier calls with the same weights have left.

    Returns:
        Current of the fully connected layer ``[T, N, O]``, or the spikes ``[T, N, C, H, W]`` where there is none; and
        the last potentials of all blocks.
    """
    tensors = [a for b, s in zip(blocks, states, strict=True) for a in (b.weight, b.gamma, b.beta, b.rate, s)]
    tensors += [None, None] if linear is None else [linear.weight, linear.bias]
    if torch.is_grad_enabled() and any(a is not None and a.requires_grad for a in tensors):
        out, *last = _Trunk.apply(events, blocks, linear, states, found, *tensors)  # type: ignore[misc]
        return out, tuple(last)
    if all(block.mean is not None for block in blocks):
        bits, last = infer(events, blocks, cache.prepared(blocks), states)
    else:
        _, bits, last = run_forward(events, blocks, states, found)
    transposed = None
    if linear is not None and bits.shape[:2].numel() < bit_linear.LISTED_ROWS:
        transposed = cache.transposed(linear.weight)
    return _output(bits, blocks, linear, transposed)[0], tuple(last)


def _output(
    bits: torch.Tensor, blocks: Sequence[Block], linear: Linear | None, transposed: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """What follows the last block, and the rows of bits that it was computed from."""
    if linear is None:
        rows = bit_linear.rows_from_maps(bits)
        maps = (len(blocks[-1].weight), *bits.shape[2:4])
        return bit_linear.rows_to_floats(rows, maps[0] * maps[1] * maps[2]).unflatten(2, maps), rows
    rows = linear.rows(bits)
    bias = None if linear.bias is None else linear.bias.detach()
    return bit_linear.bit_linear(rows, linear.weight.detach().contiguous(), bias, linear.scale, transposed), rows


class _Trunk(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        events: Events,
        blocks: Sequence[Block],
        linear: Linear | None,
        states: States,
        found: Found,
        *tensors: torch.Tensor | None,
    ) -> Any:
        tape, bits, last = run_forward(events, blocks, states, found)
        out, tape.rows = _output(bits, blocks, linear)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors)  # so that torch notices when one has changed
        ctx.run = tape, blocks, linear
        return out, *last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor | None, *grad_last: torch.Tensor | None) -> Any:  # type: ignore[override]
        tape, blocks, linear = ctx.run
        _ = ctx.saved_tensors
        if grad is None:
            grad = _no_gradient(tape.events, blocks, linear)
        of_tail: list[torch.Tensor | None] = [None, None]
        if linear is None:
            of_sample = backward.of_spikes(grad)
        else:
            grad_weight, grad_bias, of_sample = backward.of_linear(linear, tape, grad)
            of_tail = [grad_weight, None if linear.bias is None else grad_bias]
        needed = ctx.needs_input_grad[5:]
        found = backward.run_backward(tape, blocks, of_sample, grad_last, needed[4:-2:5])
        of_blocks: list[torch.Tensor | None] = []
        for g in found:
            of_blocks += [g.weight, g.gamma, g.beta, g.rate, None if g.v0 is None else g.v0.permute(0, 3, 1, 2)]
        return (None,) * 5 + tuple(g if n else None for g, n in zip([*of_blocks, *of_tail], needed, strict=True))


def _no_gradient(events: Events, blocks: Sequence[Block], linear: Linear | None) -> torch.Tensor:
    """Zeros, where the loss depends on the last potentials alone."""
    n_steps, n_samples, _, height, width = events.shape
    if linear is not None:
        return torch.zeros(n_steps, n_samples, len(linear.weight))
    shrunk = 2 ** len(blocks)
    return torch.zeros(n_steps, n_samples, len(blocks[-1].weight), height // shrunk, width // shrunk)
