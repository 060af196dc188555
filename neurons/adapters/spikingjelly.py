"""Adapters between snnfer and spikingjelly (2.0 or later)."""

import functools
from typing import Any, Literal

import torch
from torch import nn

from snnfer._check import check_choice
from snnfer._optional import require
from snnfer.errors import StateError
from snnfer.neurons._base import Neuron
from snnfer.neurons.adapters._state import check_batch

_ACTIVATION_BASED = "spikingjelly.activation_based"


class FromSpikingJelly(Neuron):
    """A spikingjelly module with snnfer's contract; built by `from_spikingjelly`."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        require(f"{_ACTIVATION_BASED}.functional", extra="spikingjelly").set_step_mode(module, "m")
        self.module = module

    def forward_with_state(self, x: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, tuple[Any, ...]]:
        base = require(f"{_ACTIVATION_BASED}.base", extra="spikingjelly")
        reset_net = require(f"{_ACTIVATION_BASED}.functional", extra="spikingjelly").reset_net
        reset_net(self.module)
        if state is not None:
            self._load(base, state, x)
        y = self.module(x)
        after = tuple(
            value.clone() if isinstance(value, torch.Tensor) else value for value in base.memories(self.module)
        )
        reset_net(self.module)
        return y, after

    def _load(self, base: Any, state: Any, x: torch.Tensor) -> None:
        n_memories = len(list(base.memories(self.module)))
        if not isinstance(state, tuple) or len(state) != n_memories:
            raise StateError(
                f"a state of type {type(state).__name__}",
                expected=f"a tuple of {n_memories} spikingjelly memories",
                cause="the state of another module",
                fix="pass state=None to start from rest",
            )
        check_batch(state, x, library="spikingjelly")
        base.load_memories(self.module, list(state))


def from_spikingjelly(module: nn.Module) -> FromSpikingJelly:
    """Use a spikingjelly neuron, or a small network of them, inside a snnfer model.

    The module is switched to multi-step mode. Its memories are reset before and after every call, so that nothing is
    left in it; they are the state of `forward_with_state`.

    Args:
        module: A spikingjelly module, from ``[T, N, *]`` to ``[T, N, *]``.

    Raises:
        MissingExtraError: spikingjelly is not installed.

    Examples:
        >>> from spikingjelly.activation_based.neuron import LIFNode
        >>> neuron = from_spikingjelly(LIFNode(tau=2.0))
        >>> neuron(torch.full((4, 1), 1.5))[:, 0]
        tensor([0., 1., 0., 1.])
    """
    return FromSpikingJelly(module)


def to_spikingjelly(neuron: Neuron, *, step_mode: Literal["s", "m"] = "m") -> nn.Module:
    """Use a snnfer neuron inside a spikingjelly network.

    Args:
        neuron: A snnfer neuron.
        step_mode: "m" for inputs ``[T, N, *]``, "s" for one step ``[N, *]``.

    Returns:
        A spikingjelly `MemoryModule` that keeps the state between calls, until ``functional.reset_net``.

    Raises:
        MissingExtraError: spikingjelly is not installed.

    Examples:
        >>> from snnfer.neurons import LIF
        >>> neuron = to_spikingjelly(LIF(tau=2.0), step_mode="s")
        >>> neuron(torch.tensor([1.5])), neuron(torch.tensor([1.5]))
        (tensor([0.]), tensor([1.]))
    """
    check_choice(step_mode, ("s", "m"), name="step_mode")
    return _memory_module()(neuron, step_mode)


@functools.cache
def _memory_module() -> Any:
    """The wrapper class; made on demand, because its base is spikingjelly's."""
    base = require(f"{_ACTIVATION_BASED}.base", extra="spikingjelly")

    class ToSpikingJelly(base.MemoryModule):
        def __init__(self, neuron: Neuron, step_mode: str) -> None:
            super().__init__()
            self.neuron = neuron
            self.register_memory("state", None)
            self.step_mode = step_mode

        def single_step_forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.multi_step_forward(x.unsqueeze(0)).squeeze(0)

        def multi_step_forward(self, x_seq: torch.Tensor) -> torch.Tensor:
            y, self.state = self.neuron.forward_with_state(x_seq, self.state)
            return y

    return ToSpikingJelly
