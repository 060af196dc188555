"""Networks of snnfer in norse (1.1 or later), and the other way round."""

import copy
from collections.abc import Callable
from typing import Any, Literal, cast

import torch
from torch import nn

from snnfer._check import check_choice
from snnfer._optional import require
from snnfer.converters.exchange.norse_neurons import Gain, norse_cell, read_cell
from snnfer.converters.exchange.steps import (
    Reading,
    Residual,
    as_chain,
    in_mode_of,
    lifted,
    lifted_chain,
    read_children,
    read_steps,
    refused,
)
from snnfer.layers import SpikingSequential, TimeConstantDropout
from snnfer.layers.residual import CONNECT, Connect
from snnfer.neurons import Neuron, Surrogate
from snnfer.neurons.adapters import ToNorse
from snnfer.neurons.adapters import to_norse as wrap_neuron


def to_norse(model: nn.Module, *, neurons: Literal["snnfer", "norse"] = "snnfer", over_time: bool = True) -> nn.Module:
    """A network of snnfer as a ``norse.torch.SequentialState``.

    norse has no learned time constant, no soft reset without leak, no input without decay, no ATan, and its gradient
    goes through the reset. So there are two kinds of neurons:

    - "snnfer": the neurons of the model behind norse's contract ``(x, state) -> (y, state)``. Spikes and gradients are
      the same, and time constants go on being learned.
    - "norse": ``IAFCell``, ``LIFBoxCell`` and ``LIBoxCell``, so that the network needs norse alone to be changed or
      exported. Spikes are the same but for rounding (norse multiplies where snnfer divides). Training is norse's: its
      ``super`` surrogate where it has none of that shape, a gradient through the reset, fixed time constants. Input
      that does not decay is multiplied by the time constant.

    Args:
        model: A `SpikingClassifier` such as ``au_snn``, a `SpikingSequential`, or a sequence of their layers.
        neurons: Whose neurons, see above.
        over_time: Whether the network sees ``[T, N, ...]``, as norse's ``LIF``. Otherwise it sees one step
            ``[N, ...]``, as ``LIFCell``, and in training normalises each step alone.

    Returns:
        A network from ``(x, state)`` to the scores of each step and the next state, with all layers in the mode they
        had; a state of None is rest. norse writes into the list that it is given as a state.

    Raises:
        ConversionError: a layer has no counterpart, or a neuron none in norse (the message names it).
        MissingExtraError: norse is not installed.

    Examples:
        >>> from snnfer.models import create_model
        >>> model = create_model("au_snn", size=(8, 8), n_classes=3, channels=4, hidden=16).eval()
        >>> x = torch.poisson(torch.rand(5, 2, 2, 8, 8))
        >>> scores, state = to_norse(model)(x)
        >>> torch.equal(scores, model.forward_steps(x))
        True
        >>> network, state = to_norse(model, neurons="norse", over_time=False), None
        >>> for frame in x:
        ...     scores, state = network(frame, state)
    """
    check_choice(neurons, ("snnfer", "norse"), name="neurons")
    sequential = require("norse.torch", extra="norse").SequentialState

    def build(name: str, step: nn.Module) -> nn.Module:
        return in_mode_of(step, make(name, step))

    def make(name: str, step: nn.Module) -> nn.Module:
        if isinstance(step, nn.Sequential):
            return sequential(*(build(f"{name}.{key}", child) for key, child in step.named_children()))
        if isinstance(step, Residual):
            parts = [build(f"{name}.{key}", getattr(step, key)) for key in ("branch", "shortcut")]
            return _JoinedStates(parts[0], parts[1], step.connect)
        if isinstance(step, Neuron) and neurons == "norse":
            return norse_cell(name.removeprefix("."), step, over_time=over_time)
        if isinstance(step, Neuron | TimeConstantDropout):  # the mask of dropout is a state too
            return wrap_neuron(cast(Neuron, step), over_time=over_time)
        return lifted(step) if over_time else step

    return build("", as_chain(read_steps("", model, Reading())))


def from_norse(network: nn.Module, *, replace_surrogate: Surrogate | None = None) -> SpikingSequential:
    """A network of norse as a snnfer chain with the same weights, and, but for rounding, spikes and gradients.

    norse multiplies by ``dt * tau_mem_inv`` where snnfer divides by ``tau = 1 / (dt * tau_mem_inv)`` steps, and fires
    above its threshold where snnfer fires at the next larger number.

    Args:
        network: ``SequentialState``, ``Lift``, ``nn.Sequential``, or a module whose forward pass is a chain without
            state, of layers of torch (as norse uses them: on ``[N, ...]``), ``LIFBoxCell``, ``IAFCell``, ``IAF``,
            ``LIBoxCell``, and ``LIFCell`` or ``LIF`` where the synaptic current is gone after a step
            (``dt * tau_syn_inv == 1``).
        replace_surrogate: What takes the place of a surrogate gradient that snnfer has not; an error where None.

    Returns:
        A chain from ``[T, N, ...]`` to the output of each step, with all layers in the mode they had. For a classifier,
        put it into `snnfer.models.SpikingClassifier`.

    Raises:
        ConversionError: a module or an option has no exact counterpart (the message names it).
        MissingExtraError: norse is not installed.

    Examples:
        >>> from norse.torch import LIFBoxCell, SequentialState
        >>> network = SequentialState(nn.Conv2d(2, 4, 3), LIFBoxCell(dt=0.005), nn.Flatten(), nn.Linear(4 * 6 * 6, 3))
        >>> chain = from_norse(network)
        >>> round(chain[1].tau, 3), chain[1].surrogate
        (2.0, SuperSpike(alpha=1.0))
        >>> chain(torch.rand(5, 1, 2, 8, 8)).shape
        torch.Size([5, 1, 3])
    """
    reader = _Reader(replace_surrogate)
    steps = read_steps("", network, Reading(reader.read, reader.sees_time(network)))
    return lifted_chain(steps)


class _JoinedStates(nn.Module):
    """Two networks of norse that read one input, and how their outputs are joined; see `Residual`."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module, connect: Connect) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut
        self.connect: Connect = connect

    def forward(self, x: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        first, second = (None, None) if state is None else state
        branch, first = self.branch(x, first)
        if isinstance(self.shortcut, nn.Identity):
            return CONNECT[self.connect](branch, x), (first, None)
        shortcut, second = self.shortcut(x, second)
        return CONNECT[self.connect](branch, shortcut), (first, second)


class _Reader:
    """Reads modules of norse as layers of one step."""

    def __init__(self, replace_surrogate: Surrogate | None) -> None:
        self.torch = require("norse.torch", extra="norse")
        self.snn = require("norse.torch.module.snn", extra="norse")
        self.replace_surrogate = replace_surrogate
        self.readers: list[tuple[Any, Callable[[str, Any, Reading], nn.Module]]] = [
            (self.torch.SequentialState, self._chain),
            (self.torch.Lift, lambda name, module, reading: read_steps(name, module.lifted_module, reading.step())),
            (ToNorse, self._own),
            (_JoinedStates, self._joined),
            ((self.snn.SNNCell, self.snn.SNN), self._cell),
            ((self.snn.SNNRecurrentCell, self.snn.SNNRecurrent), self._recurrent),
        ]

    def sees_time(self, network: nn.Module) -> bool:
        """Whether the layers of `network` see ``[T, N, ...]``."""
        if isinstance(network, self.torch.Lift):
            return False
        for module in network.modules():
            if isinstance(module, self.snn.SNN | self.torch.Lift) or (isinstance(module, ToNorse) and module.over_time):
                return True
        return False

    def read(self, name: str, module: nn.Module, reading: Reading) -> nn.Module | None:
        for kinds, reader in self.readers:
            if isinstance(module, kinds):
                return reader(name, module, reading)
        return None

    def _chain(self, name: str, module: nn.Module, reading: Reading) -> nn.Module:
        children = dict(module.named_children())
        if not any(isinstance(child, Gain) for child in children.values()):
            return read_children(name, module, reading)
        neuron: Any = self._cell(f"{name}.1", children["1"], reading)  # the two stand for one neuron
        neuron.decay_input = False
        return neuron

    def _own(self, name: str, module: ToNorse, reading: Reading) -> nn.Module:
        reading.first_use(name, module)
        return copy.deepcopy(module.neuron)

    def _joined(self, name: str, module: _JoinedStates, reading: Reading) -> nn.Module:
        parts = [read_steps(f"{name}.{key}", getattr(module, key), reading) for key in ("branch", "shortcut")]
        return Residual(parts[0], parts[1], module.connect)

    def _cell(self, name: str, module: Any, reading: Reading) -> nn.Module:
        reading.first_use(name, module)
        return read_cell(name, module, self.replace_surrogate)

    def _recurrent(self, name: str, module: nn.Module, reading: Reading) -> nn.Module:
        raise refused(name, module, "a recurrent connection")
