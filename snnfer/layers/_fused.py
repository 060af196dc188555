"""When the first members of a chain run as one compiled trunk, and how.

The trunk stands in for blocks (convolution 3 x 3, normalisation, neuron, max pooling 2 x 2), and for the flattening,
the dropout and the fully connected layer behind them. It is an optimisation and must not be seen: where anything
watches or changes one of these modules, they run themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from snnfer.layers import _block
from snnfer.layers._streaming import apply_with_state
from snnfer.layers.blocks import SpikingConv2d, SpikingLinear
from snnfer.layers.norm import ThresholdDependentBatchNorm2d, TimeBatchNorm2d
from snnfer.layers.pooling import SpikingMaxPool2d
from snnfer.layers.time import TimeConstantDropout
from snnfer.neurons import IF, LIF, PLIF
from snnfer.neurons.kernels import _neuron_cpu
from snnfer.neurons.kernels._bit_block_cpu import CHANNELS_PER_UNIT, LARGEST_CHANNELS
from snnfer.neurons.kernels._events_cpu import LARGEST_SIDE, find_events
from snnfer.neurons.kernels._select import chosen_kernel
from snnfer.neurons.kernels._trunk import trunk
from snnfer.neurons.kernels._trunk_cache import Cache
from snnfer.neurons.kernels._trunk_cpu import Block, Linear

LARGEST_INPUT_CHANNELS = 16
"""The statistics of more channels cost more than they save."""
LARGEST_SHARE = 0.5
"""Share of values that are not zero above which a training step is left to the dense layers."""

_CACHES: WeakKeyDictionary[nn.Module, Cache] = WeakKeyDictionary()
"""What inference computes from the weights of a chain, by its first member; never part of a module, which is copied and
stored without it."""


@dataclass
class Head:
    """The members that the trunk stands in for.

    Args:
        blocks: At least one, at the beginning of the chain.
        flatten: Whether a flattening follows.
        dropout: What follows it, or None.
        linear: And then, or None.
    """

    blocks: list[SpikingConv2d]
    flatten: bool = False
    dropout: TimeConstantDropout | None = None
    linear: SpikingLinear | None = None

    def __len__(self) -> int:
        return len(self.blocks) + self.flatten + (self.dropout is not None) + (self.linear is not None)


def run_head(
    members: Sequence[nn.Module], x: torch.Tensor, states: Sequence[Any], *, training: bool
) -> tuple[torch.Tensor, list[Any]] | None:
    """Output of the first members of a chain and their states, as they would give them; None where they must run."""
    if not _takes(x):
        return None
    head = _find_head(members, x, training=training)
    if head is None or not _fit(states, head, x):
        return None
    events = find_events(x, largest_share=LARGEST_SHARE if training else 1.0)
    if events is None:
        return None
    blocks = [_describe(block, training=training) for block in head.blocks]
    mask_state = _mask(head, x, states, training=training)
    linear = _describe_linear(head, mask_state)
    cache = _CACHES.setdefault(head.blocks[0], Cache())
    out, last = trunk(events, blocks, linear, states[: len(blocks)], _updater(head.blocks), cache)
    after: list[Any] = list(last)
    if head.linear is None:
        return out, after
    after.append(None)  # of the flattening
    if head.dropout is not None:
        after.append(mask_state)
    out, neuron_state = apply_with_state(head.linear.neuron, out, states[len(head) - 1])
    after.append(neuron_state)
    return (out, after) if training else _run_linear_layers(members, out, states, after)


def _run_linear_layers(
    members: Sequence[nn.Module], x: torch.Tensor, states: Sequence[Any], after: list[Any]
) -> tuple[torch.Tensor, list[Any]]:
    """Go on with fully connected layers in evaluation mode: their products step by step, as the chain does, because
    they round differently for other sizes; their neurons over all steps at once, which gives the same bits."""
    while True:
        rest: list[Any] = list(members[len(after) : len(after) + 2])
        drops = bool(rest) and type(rest[0]) is TimeConstantDropout and not (rest[0].training or _watched(rest[0]))
        layer: Any = rest[drops] if len(rest) > drops else None
        if not _is_linear(layer, x.shape[-1], training=False):
            return x, after
        current = torch.cat([layer.linear(step) for step in x.split(1)])
        x, state = apply_with_state(layer.neuron, current, states[len(after) + drops])
        after += [None, state] if drops else [state]


def _takes(x: torch.Tensor) -> bool:
    return (
        type(x) in (torch.Tensor, nn.Parameter)
        and x.dtype == torch.float32
        and x.layout == torch.strided
        and x.ndim == 5
        and 0 < x.numel() < 2**31
        and not (x.requires_grad and torch.is_grad_enabled())
        and x.shape[2] <= LARGEST_INPUT_CHANNELS
        and x.shape[4] <= LARGEST_SIDE
        and not torch._C._is_any_autocast_enabled()
        and not _block._is_traced()
        and chosen_kernel(x)[0] == "cpu"
    )


def _find_head(members: Sequence[nn.Module], x: torch.Tensor, *, training: bool) -> Head | None:
    """The longest beginning of the chain that the trunk can be."""
    channels, (height, width) = x.shape[2], x.shape[3:]
    head = Head([])
    rest = list(members)
    while rest and min(height, width) >= 2 and _is_block(rest[0], channels, training=training):
        block: Any = rest.pop(0)
        head.blocks.append(block)
        channels, height, width = block.conv.out_channels, height // 2, width // 2
    if not head.blocks or (training and x.numel() == x.shape[2]):  # one value has no variance: torch says so
        return None
    _find_tail(head, rest, channels * height * width, training=training)
    return head


def _find_tail(head: Head, rest: list[Any], features: int, *, training: bool) -> None:
    """Add flattening, dropout and fully connected layer, or none of them."""
    if not rest or not _is_flatten(rest.pop(0)):
        return
    dropout: Any = None
    if rest and type(rest[0]) is TimeConstantDropout:
        dropout = rest.pop(0)
        if dropout.training != training or _watched(dropout):
            return
    linear: Any = rest[0] if rest else None
    if _is_linear(linear, features, training=training) and linear.linear.out_features % CHANNELS_PER_UNIT == 0:
        head.flatten, head.dropout, head.linear = True, dropout, linear


def _is_flatten(module: nn.Module) -> bool:
    return type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (2, -1) and not _watched(module)


def _is_block(block: Any, channels: int, *, training: bool) -> bool:
    if type(block) is not SpikingConv2d or "current" in block.__dict__:
        return False
    conv, norm, neuron, pool = block.conv, block.norm, block.neuron, block.pool
    return (
        _is_convolution(conv, channels)
        and _is_norm(norm)
        and _is_neuron(neuron)
        and type(pool) is SpikingMaxPool2d
        and pool.kernel_size == 2
        and _block._is_tiling(pool)
        and not _watched(block, conv, norm, neuron, pool)
        and all(module.training == training for module in (block, conv, norm, neuron, pool))
        and _are_plain(conv.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var)
    )


def _is_convolution(conv: Any, channels: int) -> bool:
    return (
        type(conv) is nn.Conv2d
        and conv.in_channels == channels
        and conv.out_channels % CHANNELS_PER_UNIT == 0
        and conv.out_channels <= LARGEST_CHANNELS
        and conv.bias is None
        and (conv.kernel_size, conv.stride, conv.dilation, conv.groups) == ((3, 3), (1, 1), (1, 1), 1)
        and conv.padding in ("same", (1, 1))
        and conv.padding_mode == "zeros"
    )


def _is_norm(norm: Any) -> bool:
    return type(norm) in (TimeBatchNorm2d, ThresholdDependentBatchNorm2d) and norm.affine and norm.track_running_stats


def _is_neuron(neuron: Any) -> bool:
    if type(neuron) not in (IF, LIF, PLIF) or neuron.reset != "hard" or not neuron.detach_reset:
        return False
    rate = getattr(neuron, "w", None)
    known = type(neuron.surrogate) in _neuron_cpu._SURROGATES
    return known and (rate is None or (rate.numel() == 1 and _are_plain(rate)))


def _is_linear(layer: Any, features: int, *, training: bool) -> bool:
    if type(layer) is not SpikingLinear or type(layer.linear) is not nn.Linear:
        return False
    linear, neuron = layer.linear, layer.neuron
    return (
        linear.in_features == features
        and type(neuron) in (IF, LIF, PLIF)
        and not _watched(layer, linear, neuron)
        and all(module.training == training for module in (layer, linear, neuron))
        and _are_plain(linear.weight, *([] if linear.bias is None else [linear.bias]))
    )


def _watched(*modules: nn.Module) -> bool:
    return _block._is_watched(modules) or any(module._compiled_call_impl is not None for module in modules)


def _are_plain(*tensors: Any) -> bool:
    return all(
        type(a) in (torch.Tensor, nn.Parameter) and a.dtype == torch.float32 and a.device.type == "cpu" for a in tensors
    )


def _fit(states: Sequence[Any], head: Head, x: torch.Tensor) -> bool:
    """Whether the states are those of this chain and batch: otherwise the members say what is wrong."""
    height, width = x.shape[3:]
    for block, state in zip(head.blocks, states, strict=False):
        shape = (x.shape[1], block.conv.out_channels, height, width)
        if state is not None and not (_are_plain(state) and state.shape == shape):
            return False
        height, width = height // 2, width // 2
    rest = states[len(head.blocks) : len(head) - 1]
    if head.linear is None or all(state is None for state in rest):
        return True
    mask = rest[-1]
    shape = (x.shape[1], head.linear.linear.in_features)
    if head.dropout is None or rest[0] is not None or not _are_plain(mask) or mask.shape != shape:
        return False
    return not mask.requires_grad and bool(((mask == 0) | (mask == mask.max())).all())


def _describe(block: SpikingConv2d, *, training: bool) -> Block:
    norm: Any = block.norm
    neuron: Any = block.neuron
    mean, variance = (None, None) if training else (norm.running_mean, norm.running_var)
    return Block(block.conv.weight, norm.weight, norm.bias, mean, variance, norm.eps, *neuron.dynamics())


def _mask(head: Head, x: torch.Tensor, states: Sequence[Any], *, training: bool) -> torch.Tensor | None:
    """The mask that the dropout layer draws, or was given."""
    if head.dropout is None or head.linear is None:
        return None
    like = x.new_empty(()).expand(1, x.shape[1], head.linear.linear.in_features)
    return head.dropout.forward_with_state(like, states[len(head.blocks) + 1])[1]


def _describe_linear(head: Head, mask: torch.Tensor | None) -> Linear | None:
    if head.linear is None:
        return None
    layer = head.linear.linear
    return Linear(layer.weight, layer.bias, mask, 1.0 if mask is None else mask.max().item())


def _updater(blocks: Sequence[SpikingConv2d]) -> Any:
    def update(i: int, mean: torch.Tensor, variance: torch.Tensor) -> None:
        _block._update(blocks[i].norm, mean, variance)

    return update
