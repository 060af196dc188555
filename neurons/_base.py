"""What all neuron modules share."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from snnfer import _registry
from snnfer.neurons._dynamics import Dynamics, Reset
from snnfer.neurons.surrogate import Surrogate

_NEURONS: dict[str, Callable[..., "Neuron"]] = {}


def register_neuron(cls: Any) -> Any:
    """Class decorator: make a neuron known to `create_neuron` and `list_neurons` under its class name."""
    return _registry.register(_NEURONS, cls)


def create_neuron(name: str, **kwargs: Any) -> "Neuron":
    """Build a registered neuron by name.

    Examples:
        >>> create_neuron("LI", tau=3.0)
        LI(tau=3.0, v_rest=0.0, decay_input=True)
    """
    return _registry.look_up(_NEURONS, name, kind="neuron")(**kwargs)


def list_neurons(pattern: str = "*") -> list[str]:
    """Names of the registered neurons that match a shell pattern.

    Examples:
        >>> list_neurons("*LIF")
        ['LIF', 'PLIF']
    """
    return _registry.names(_NEURONS, pattern)


class Neuron(nn.Module):
    """Base of the neurons: a map from ``[T, N, *]`` to ``[T, N, *]`` with an explicit state.

    `forward` starts from rest and keeps nothing. `forward_with_state` continues from a state; cutting a sequence into
    chunks of any length and passing the state on gives the same bits as the whole sequence.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Output ``[T, N, *]`` for the input ``[T, N, *]``, from rest."""
        return self.forward_with_state(x)[0]

    def forward_with_state(self, x: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        """Output ``[T, N, *]`` and the state after the last step; `state` None means rest."""
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """The constructor arguments of this neuron; empty for a wrapper around another module."""
        return {}

    def extra_repr(self) -> str:
        return ", ".join(f"{key}={value!r}" for key, value in self.settings().items())


class SpikingNeuron(Neuron):
    """Base of the neurons with threshold and reset."""

    def __init__(
        self, *, v_threshold: float, v_reset: float, reset: Reset, detach_reset: bool, surrogate: Surrogate
    ) -> None:
        super().__init__()
        Dynamics(surrogate, v_threshold, v_reset, reset)
        self.v_threshold = v_threshold
        self.v_reset = v_reset
        self.reset: Reset = reset
        self.detach_reset = detach_reset
        self.surrogate = surrogate

    def dynamics(self) -> tuple[Dynamics, torch.Tensor | None]:
        """Constants of the membrane equation, and the leak rate where it is learned: what a fused kernel needs."""
        raise NotImplementedError

    def _firing(self) -> dict[str, Any]:
        """The arguments of threshold, reset and surrogate."""
        return {
            "v_threshold": self.v_threshold,
            "v_reset": self.v_reset,
            "reset": self.reset,
            "detach_reset": self.detach_reset,
            "surrogate": self.surrogate,
        }
