"""One step after the other of one sample in compiled code: weights prepared and calls bound once, potentials in place.

It calls the kernels of `_trunk_cpu` on one step, on one thread, and gives the same bits. What is saved is the way
there: folding the weights, allocating, and turning arguments into those of C.
"""

import ctypes
import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch

from snnfer.neurons._dynamics import Dynamics
from snnfer.neurons.kernels import _library
from snnfer.neurons.kernels._bit_linear_cpu import n_words
from snnfer.neurons.kernels._events_cpu import EVENT_BYTES
from snnfer.neurons.kernels._neuron_cpu import make_settings
from snnfer.neurons.kernels._trunk_cpu import Block, Linear, prepare, shapes_of


def bind(name: str, *arguments: Any) -> Callable[[], None]:
    """``_library.call(name, *arguments)`` on one thread, made ready to be called again and again.

    The addresses of the tensors are taken now: the caller keeps them, and they must stay where they are.
    """
    converted = (_library._converted(argument) for argument in arguments)
    return functools.partial(_library.function(name), *converted, ctypes.c_int(1))


class NeuronStream:
    """One layer of neurons.

    Args:
        dynamics: Constants of the neurons.
        rate: Leak rate where it is learned, one number.
        current: What each step reads, contiguous float32.

    Attributes:
        spikes: What each step writes, of the shape of `current`.
        v: Potential, without the dimension of time.
    """

    def __init__(self, dynamics: Dynamics, rate: torch.Tensor | None, current: torch.Tensor) -> None:
        self.v_reset = dynamics.v_reset
        self.spikes = torch.zeros_like(current)
        self.v = torch.full_like(current[0], dynamics.v_reset)
        self._current = current
        tensors = (current, self.v, None, self.spikes, None, self.v)
        self.step = bind("neuron_forward_f32", *tensors, 1, current.numel(), make_settings(dynamics, rate))

    def set_state(self, state: torch.Tensor | None) -> None:
        """Go on from a potential ``[N, *]``; None: from rest."""
        if state is None:
            self.v.fill_(self.v_reset)
        else:
            self.v.copy_(state)


class TrunkStream:
    """The first layers of a network, as `snnfer.neurons.kernels._trunk.trunk` computes them.

    Args:
        blocks: At least one, with stored statistics.
        linear: Fully connected layer behind the flattened spikes, without dropout; or None.
        shape: C, H, W of the frames.

    Attributes:
        x: What each step reads: the frame ``[1, 1, C, H, W]``.
        out: What each step writes: the current ``[1, 1, O]``, or the spikes ``[1, 1, C, H, W]`` without `linear`.
    """

    def __init__(self, blocks: Sequence[Block], linear: Linear | None, shape: tuple[int, int, int]) -> None:
        self.x = torch.zeros(1, 1, *shape)
        self._resting = [block.dynamics.v_reset for block in blocks]
        self._calls: list[Callable[[], None]] = []
        self._kept: list[Any] = []  # what the calls point to
        bits = self._bind_blocks(blocks, shape)
        self.out = self._bind_spikes(bits) if linear is None else self._bind_linear(bits, linear)

    def step(self) -> None:
        """From `x` to `out`."""
        for call in self._calls:
            call()

    def states(self) -> list[torch.Tensor]:
        """Potentials ``[1, C, H, W]`` of the blocks, copied."""
        return [v.permute(0, 3, 1, 2).clone() for v in self._v]

    def set_states(self, states: Sequence[torch.Tensor | None]) -> None:
        """Go on from the potentials ``[1, C, H, W]``; None: from rest."""
        for v, state, resting in zip(self._v, states, self._resting, strict=True):
            if state is None:
                v.fill_(resting)
            else:
                v.copy_(state.permute(0, 2, 3, 1))

    def _bind_blocks(self, blocks: Sequence[Block], shape: tuple[int, int, int]) -> torch.Tensor:
        """Calls of all blocks; the bits ``[1, 1, H, W, C / 16]`` behind the last."""
        channels, height, width = shape
        prepared, shapes = prepare(blocks), shapes_of(blocks, height, width)
        self._v = [torch.full((1, *s.state_shape), v) for s, v in zip(shapes, self._resting, strict=True)]
        row_start = torch.zeros(height + 1, dtype=torch.int32)
        events = torch.zeros(self.x.numel(), EVENT_BYTES, dtype=torch.uint8)
        self._bind("events_from_frames", self.x, 1, 1, *shape, row_start, events, len(events))
        bits: torch.Tensor | None = None
        for i, (size, folded) in enumerate(zip(shapes, prepared.folded, strict=True)):
            out = torch.zeros(1, 1, *size.pooled_shape, dtype=torch.int16)
            weight, neuron = prepared.weights[i], (folded.bias, folded.settings, self._v[i], out)
            if bits is None:
                where = (row_start, events, height, width, channels)
                self._bind("event_block_forward", *where, 1, 1, size.channels, weight, *neuron)
            else:
                self._bind("bit_block_forward", bits, 1, 1, *size.sizes, weight, prepared.gains[i], *neuron)
            bits = out
        assert bits is not None
        return bits

    def _bind_rows(self, bits: torch.Tensor) -> tuple[torch.Tensor, int]:
        """The bits as one row in the order of `torch.nn.Flatten`, and its features."""
        _, _, height, width, units = bits.shape
        features = 16 * units * height * width
        rows = torch.zeros(n_words(features), dtype=torch.int32)
        self._bind("bit_rows", bits, 1, 1, height * width, 16 * units, None, rows)
        return rows, features

    def _bind_spikes(self, bits: torch.Tensor) -> torch.Tensor:
        rows, features = self._bind_rows(bits)
        _, _, height, width, units = bits.shape
        out = torch.zeros(1, 1, 16 * units, height, width)
        self._bind("bits_to_floats", rows, 1, features, out)
        return out

    def _bind_linear(self, bits: torch.Tensor, linear: Linear) -> torch.Tensor:
        rows, features = self._bind_rows(bits)
        out = torch.zeros(1, 1, len(linear.weight))
        transposed = linear.weight.detach().t().contiguous()
        bias = None if linear.bias is None else linear.bias.detach()
        self._bind("bit_linear", rows, 1, features, transposed, bias, linear.scale, len(linear.weight), 1, out)
        return out

    def _bind(self, name: str, *arguments: Any) -> None:
        self._calls.append(bind(name, *arguments))
        self._kept.append(arguments)
