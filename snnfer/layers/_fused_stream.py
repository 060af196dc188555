"""A chain that streams one sample with prepared weights: the same bits as `SpikingSequential`, without the way there.

It is an optimisation and must not be seen: `FusedStream.is_current` says whether anything that it was prepared from has
changed since, and its states are those of the chain.
"""

from typing import Any

import torch
from torch import nn

from snnfer.layers import _block, _fused
from snnfer.layers._input import check_state
from snnfer.layers._stream_members import Member, make_member, make_neurons
from snnfer.layers._streaming import SpikingSequential
from snnfer.layers._watch import ChangeWatch
from snnfer.neurons.kernels._select import chosen_kernel
from snnfer.neurons.kernels._stream_cpu import TrunkStream

State = tuple[Any, ...]


class FusedStream:
    """A chain whose first members run as one trunk, step by step; `prepare_stream` builds it where it can be.

    Args:
        chain: In evaluation mode.
        head: What the trunk stands in for.
        shape: C, H, W of the frames.

    Attributes:
        x: Where the next frame is written, ``[1, 1, C, H, W]``.
    """

    def __init__(self, chain: SpikingSequential, head: _fused.Head, shape: tuple[int, int, int]) -> None:
        self._chain, self._watch = chain, ChangeWatch(chain)
        self._n_blocks, self._n_head = len(head.blocks), len(head)
        blocks = [_fused._describe(block, training=False) for block in head.blocks]
        self._trunk = TrunkStream(blocks, _fused._describe_linear(head, None), shape)
        self.x = self._trunk.x
        self._out = self._trunk.out
        self._members: list[Member] = []
        if head.linear is not None:
            self._add(make_neurons(head.linear.neuron, self._out))
        for module in list(chain)[self._n_head :]:
            self._add(make_member(module, self._out))
        self.set_state(None)

    def step(self) -> torch.Tensor:
        """Output ``[1, 1, *]`` of the frame in `x`; the next step overwrites it."""
        self._trunk.step()
        for member in self._members:
            member.step()
        return self._out

    def is_current(self) -> bool:
        """Whether weights, modules and the choice of kernels are those that it was prepared from."""
        return chosen_kernel(self.x)[0] == "cpu" and not _block._is_traced() and not self._watch.has_changed()

    def state(self) -> State:
        """The state of the chain, as `SpikingSequential.forward_with_state` gives it."""
        of_blocks = self._trunk.states()
        of_members = [member.state() for member in self._members]
        n_stateless = self._n_head - self._n_blocks - self._has_linear  # flattening and dropout
        return (*of_blocks, *(None for _ in range(n_stateless)), *of_members)

    def set_state(self, state: State | None) -> None:
        """Go on from a state of the chain; None: from rest. `StateError` where it is that of another."""
        first = self._n_head - self._has_linear
        states = self._chain._split_state(state)
        if state is not None:
            for given, own in zip(states, self.state(), strict=True):
                if isinstance(own, torch.Tensor) and given is not None:
                    check_state(given, own.shape, x=self.x)
        self._trunk.set_states(states[: self._n_blocks])
        for member, member_state in zip(self._members, states[first:], strict=True):
            member.set_state(member_state)

    @property
    def _has_linear(self) -> bool:
        return self._n_head > self._n_blocks

    def _add(self, member: Member) -> None:
        self._members.append(member)
        self._out = member.step()


def prepare_stream(chain: nn.Module, shape: tuple[int, int, int]) -> FusedStream | None:
    """A stream of frames ``[C, H, W]`` through `chain`; None where its members must run themselves."""
    if type(chain) is not SpikingSequential or chain.training or _fused._watched(*chain.modules()):
        return None
    x = torch.zeros(1, 1, *shape)
    head = _fused._find_head(list(chain), x, training=False) if _fused._takes(x) else None
    return None if head is None else FusedStream(chain, head, shape)
