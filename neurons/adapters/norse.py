"""Adapters between snnfer and norse (1.1 or later)."""

from typing import Any

import torch
from torch import nn

from snnfer._optional import require
from snnfer.neurons._base import Neuron
from snnfer.neurons.adapters._state import check_batch


class FromNorse(Neuron):
    """A norse module with snnfer's contract; built by `from_norse`."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        snn = require("norse.torch.module.snn", extra="norse")
        self.module = module
        self.over_time = isinstance(module, snn.SNN | snn.SNNRecurrent)

    def forward_with_state(self, x: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        if isinstance(state, tuple):
            check_batch(state, x, library="norse")
        if self.over_time:
            return self.module(x, state)
        outputs = []
        for step in x.unbind(0):
            y, state = self.module(step, state)
            outputs.append(y)
        return torch.stack(outputs), state


def from_norse(module: nn.Module) -> FromNorse:
    """Use a norse module inside a snnfer model.

    Args:
        module: A norse cell (``LIFBoxCell``, called once per step), a norse module over time (``LIF``), or any module
            that maps ``(x, state)`` of one step to ``(y, state)``.

    Raises:
        MissingExtraError: norse is not installed.

    Examples:
        >>> from norse.torch import LIFBoxCell
        >>> neuron = from_norse(LIFBoxCell(dt=0.005))  # tau = 10 ms / 5 ms = 2 steps
        >>> neuron(torch.full((4, 1), 1.5))[:, 0].detach()
        tensor([0., 1., 0., 1.])
    """
    return FromNorse(module)


class ToNorse(nn.Module):
    """A snnfer neuron with norse's contract ``(x, state) -> (y, state)``; built by `to_norse`."""

    def __init__(self, neuron: Neuron, *, over_time: bool) -> None:
        super().__init__()
        self.neuron = neuron
        self.over_time = over_time

    def forward(self, input_tensor: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        if self.over_time:
            return self.neuron.forward_with_state(input_tensor, state)
        y, state = self.neuron.forward_with_state(input_tensor.unsqueeze(0), state)
        return y.squeeze(0), state


def to_norse(neuron: Neuron, *, over_time: bool = False) -> ToNorse:
    """Use a snnfer neuron inside a norse network, such as ``norse.torch.SequentialState``.

    Args:
        neuron: A snnfer neuron.
        over_time: Whether it is called with ``[T, N, *]``, as norse's ``LIF``, or one step ``[N, *]``, as its cells.

    Examples:
        >>> from norse.torch import SequentialState
        >>> from snnfer.neurons import LIF
        >>> network = SequentialState(nn.Linear(3, 2), to_norse(LIF()))
        >>> spikes, state = network(torch.rand(1, 3))
        >>> spikes, state = network(torch.rand(1, 3), state)
    """
    return ToNorse(neuron, over_time=over_time)
