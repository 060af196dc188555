"""The members of a chain behind its trunk, one step of one sample after the other, on tensors that stay in place."""

from typing import Any, Protocol

import torch
from torch import nn

from snnfer.layers._streaming import apply_with_state
from snnfer.layers.blocks import SpikingLinear
from snnfer.layers.time import TimeConstantDropout, VotingLayer
from snnfer.neurons import IF, LIF, PLIF
from snnfer.neurons.kernels import _neuron_cpu
from snnfer.neurons.kernels._stream_cpu import NeuronStream


class Member(Protocol):
    """One member: reads the tensor that it was made for, writes the same tensor in every step."""

    def step(self) -> torch.Tensor:
        """The output ``[1, 1, *]``."""
        ...

    def state(self) -> Any:
        """Its state after the last step, not shared with what comes."""
        ...

    def set_state(self, state: Any) -> None:
        """Go on from a state; None: from rest."""
        ...


def make_member(module: nn.Module, x: torch.Tensor) -> Member:
    """The member for a module that reads `x`."""
    if type(module) is TimeConstantDropout:
        return NothingDropped(x)
    if type(module) is VotingLayer and x.shape[-1] % module.votes == 0:
        return Votes(module, x)
    if type(module) is SpikingLinear and is_plain_linear(module.linear, x) and is_known(module.neuron):
        return LinearNeurons(module, x)
    return make_neurons(module, x)


def is_plain_linear(linear: nn.Module, x: torch.Tensor) -> bool:
    """Whether `linear` is torch's own, for the features ``[1, 1, F]`` of `x`."""
    return type(linear) is nn.Linear and x.ndim == 3 and x.shape[-1] == linear.in_features


def make_neurons(module: Any, x: torch.Tensor) -> Member:
    """The member for a module that may be a layer of neurons."""
    return Neurons(module, x) if is_known(module) else Whatever(module, x)


def is_known(neuron: Any) -> bool:
    """Whether the compiled kernel of one layer of neurons with one leak rate can run it."""
    if type(neuron) not in (IF, LIF, PLIF):
        return False
    dynamics, rate = neuron.dynamics()
    return not _neuron_cpu.surrogate_obstacle(dynamics) and (
        rate is None or (rate.numel() == 1 and rate.dtype == torch.float32)
    )


class NothingDropped:
    """Dropout in evaluation mode."""

    def __init__(self, x: torch.Tensor) -> None:
        self._x = x

    def step(self) -> torch.Tensor:
        return self._x

    def state(self) -> None:
        return None

    def set_state(self, state: Any) -> None:
        """There is none."""


class Votes(NothingDropped):
    """A voting layer, without memory."""

    def __init__(self, layer: VotingLayer, x: torch.Tensor) -> None:
        super().__init__(x.unflatten(-1, (-1, layer.votes)))  # [1, 1, K, votes]
        self._out = torch.empty(self._x.shape[:-1])

    def step(self) -> torch.Tensor:
        return torch.mean(self._x, -1, out=self._out)


class Neurons:
    """A layer of neurons."""

    def __init__(self, neuron: Any, x: torch.Tensor) -> None:
        dynamics, rate = neuron.dynamics()
        self._neurons = NeuronStream(dynamics, rate, x)

    def step(self) -> torch.Tensor:
        self._neurons.step()
        return self._neurons.spikes

    def state(self) -> torch.Tensor:
        return self._neurons.v.clone()

    def set_state(self, state: torch.Tensor | None) -> None:
        self._neurons.set_state(state)


class LinearNeurons(Neurons):
    """A fully connected layer and its neurons."""

    def __init__(self, layer: SpikingLinear, x: torch.Tensor) -> None:
        linear = layer.linear
        self._current = x.new_zeros(1, 1, linear.out_features)
        super().__init__(layer.neuron, self._current)
        self._input, self._output = x[0], self._current[0]
        self._weight, self._bias = linear.weight.detach().t(), None if linear.bias is None else linear.bias.detach()

    def step(self) -> torch.Tensor:
        if self._bias is None:
            torch.mm(self._input, self._weight, out=self._output)
        else:
            torch.addmm(self._bias, self._input, self._weight, out=self._output)  # what torch.nn.Linear calls
        return super().step()


class Whatever:
    """Any module, called as a chain does."""

    def __init__(self, module: nn.Module, x: torch.Tensor) -> None:
        self._module, self._x, self._state = module, x, None
        self._out = apply_with_state(module, x.clone())[0].clone()

    def step(self) -> torch.Tensor:
        y, self._state = apply_with_state(self._module, self._x.clone(), self._state)  # which may keep its input
        return self._out.copy_(y)

    def state(self) -> Any:
        return self._state

    def set_state(self, state: Any) -> None:
        self._state = state
