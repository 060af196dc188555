"""Networks of snnfer in spikingjelly (2.0 or later), and the other way round."""

import copy
import math
from collections import OrderedDict
from typing import Any, Literal

from torch import nn

from snnfer._check import check_choice
from snnfer._optional import require
from snnfer.converters.exchange.steps import (
    MAPS,
    Reading,
    Residual,
    as_chain,
    in_mode_of,
    lifted_chain,
    read_children,
    read_steps,
    refused,
)
from snnfer.converters.exchange.surrogates import find_surrogate, or_replaced
from snnfer.converters.exchange.weights import rebuilt
from snnfer.errors import ConversionError, SnnferError
from snnfer.layers import SpikingSequential, TimeConstantDropout, VotingLayer
from snnfer.neurons import IF, LIF, PLIF, ATan, Neuron, Sigmoid, SuperSpike, Surrogate, Triangle
from snnfer.neurons.adapters import FromSpikingJelly
from snnfer.neurons.adapters import to_spikingjelly as wrap_neuron

_ACTIVATION_BASED = "spikingjelly.activation_based"
_CONTAINERS = ("SeqToANNContainer", "MultiStepContainer", "StepModeContainer")
_REASONS = {
    "CUBALIFNode": "a synaptic current beside the potential",
    "AdaptLIFNode": "a threshold or potential that adapts",
    "IzhikevichNode": "a second state that adapts",
    "QIFNode": "a potential that is not linear",
    "EIFNode": "a potential that is not linear",
    "HalfThresholdIFNode": "a potential that starts at half the threshold",
    "LinearRecurrentContainer": "a recurrent connection",
    "ElementWiseRecurrentContainer": "a recurrent connection",
    "SynapseFilter": "a synaptic current beside the potential",
    "Dropout2d": "a mask of whole channels",
}


def to_spikingjelly(
    model: nn.Module, *, step_mode: Literal["s", "m"] = "m", replace_surrogate: Surrogate | None = None
) -> nn.Module:
    """A network of snnfer as a spikingjelly network with the same weights, spikes and gradients.

    Convolutions, pooling, batch normalisation and votes become those of ``spikingjelly.activation_based.layer``,
    ``IF``, ``LIF`` and ``PLIF`` its ``IFNode``, ``LIFNode`` and ``ParametricLIFNode``, `TimeConstantDropout` its
    ``Dropout``. Other neurons, such as `LI`, go along as they are, as a ``MemoryModule``.

    Names stay, so that weights trained there come back with `copy_weights`.

    Args:
        model: A `SpikingClassifier` such as ``au_snn``, a `SpikingSequential`, or a sequence of their layers.
        step_mode: "m" for a network on ``[T, N, ...]``, "s" for one that is called step by step on ``[N, ...]``. The
            latter normalises each step alone in training; in evaluation both are the same.
        replace_surrogate: What takes the place of a surrogate gradient that spikingjelly has not; an error where None.

    Returns:
        A network with all layers in the mode they had, whose output is the score of each step, as that of
        ``model.forward_steps``: spikingjelly takes the mean over the first dimension outside. It keeps potentials
        between calls, until ``spikingjelly.activation_based.functional.reset_net``.

    Raises:
        ConversionError: a layer or an option has no exact counterpart (the message names it).
        MissingExtraError: spikingjelly is not installed.

    Examples:
        >>> import torch
        >>> from snnfer.models import create_model
        >>> model = create_model("au_snn", size=(8, 8), n_classes=3, channels=4, hidden=16).eval()
        >>> network = to_spikingjelly(model)
        >>> network.conv1.neuron
        ParametricLIFNode(
          v_threshold=1.0, v_reset=0.0, detach_reset=True, step_mode=m, tau=2.0
          (surrogate_function): ATan(alpha=2.0, spiking=True)
        )
        >>> x = torch.poisson(torch.rand(5, 2, 2, 8, 8))
        >>> torch.equal(network(x), model.forward_steps(x))
        True
    """
    check_choice(step_mode, ("s", "m"), name="step_mode")
    builder = _Builder(step_mode, replace_surrogate)
    return builder.build("", as_chain(read_steps("", model, Reading())))


def from_spikingjelly(network: nn.Module, *, replace_surrogate: Surrogate | None = None) -> SpikingSequential:
    """A network of spikingjelly as a snnfer chain with the same weights, spikes and gradients.

    Args:
        network: ``nn.Sequential``, or a module whose forward pass is a chain (it is traced), of ``Conv1d``, ``Conv2d``,
            ``Linear``, ``BatchNorm1d``, ``BatchNorm2d``, ``GroupNorm``, max and average pooling, ``Flatten``,
            ``Dropout``, ``VotingLayer``, ``IFNode``, ``LIFNode`` and ``ParametricLIFNode``, in single-step or
            multi-step mode. It stays as it is; its potentials are not taken over.
        replace_surrogate: What takes the place of a surrogate gradient that snnfer has not; an error where None.

    Returns:
        A chain from ``[T, N, ...]`` to the output of each step, with all layers in the mode they had. For a classifier,
        put it into `snnfer.models.SpikingClassifier`.

    Raises:
        ConversionError: a module or an option has no exact counterpart (the message names it).
        MissingExtraError: spikingjelly is not installed.

    Examples:
        >>> import torch
        >>> from spikingjelly.activation_based import layer, neuron, surrogate
        >>> network = nn.Sequential(
        ...     layer.Conv2d(2, 4, 3, bias=False),
        ...     layer.BatchNorm2d(4),
        ...     neuron.LIFNode(tau=2.0, surrogate_function=surrogate.ATan()),
        ...     layer.Flatten(),
        ...     layer.Linear(4 * 6 * 6, 3),
        ... )
        >>> chain = from_spikingjelly(network)
        >>> chain[2]
        LIF(tau=2.0, decay_input=True, v_threshold=1.0, v_reset=0.0, reset='hard', detach_reset=False, \
surrogate=ATan(alpha=2.0))
        >>> from snnfer.models import SpikingClassifier
        >>> SpikingClassifier(chain, in_channels=2, size=(8, 8))(torch.rand(5, 1, 2, 8, 8)).shape
        torch.Size([1, 3])
    """
    reader = _Reader(replace_surrogate)
    over_time = any(getattr(module, "step_mode", "s") == "m" for module in network.modules())
    return lifted_chain(read_steps("", network, Reading(reader.read, over_time)))


class _Builder:
    """Makes modules of spikingjelly from layers of one step."""

    def __init__(self, step_mode: Literal["s", "m"], replace_surrogate: Surrogate | None) -> None:
        self.layer = require(f"{_ACTIVATION_BASED}.layer", extra="spikingjelly")
        self.neuron = require(f"{_ACTIVATION_BASED}.neuron", extra="spikingjelly")
        self.surrogate = require(f"{_ACTIVATION_BASED}.surrogate", extra="spikingjelly")
        self.step_mode: Literal["s", "m"] = step_mode
        self.replace_surrogate = replace_surrogate

    def build(self, name: str, step: nn.Module) -> nn.Module:
        return in_mode_of(step, self._build(name, step))

    def _build(self, name: str, step: nn.Module) -> nn.Module:
        if isinstance(step, nn.Sequential):
            children = step.named_children()
            return nn.Sequential(OrderedDict((key, self.build(f"{name}.{key}", child)) for key, child in children))
        if isinstance(step, Residual):
            parts = [self.build(f"{name}.{key}", getattr(step, key)) for key in ("branch", "shortcut")]
            return Residual(parts[0], parts[1], step.connect)
        if isinstance(step, Neuron):
            return self._neuron(name.removeprefix("."), step)
        if isinstance(step, TimeConstantDropout):
            return self.layer.Dropout(step.p, step_mode=self.step_mode)
        if isinstance(step, VotingLayer):
            return self.layer.VotingLayer(step.votes, step_mode=self.step_mode)
        if type(step) in (*MAPS, nn.Linear, nn.Flatten):
            return rebuilt(getattr(self.layer, type(step).__name__), step, step_mode=self.step_mode)
        return step

    def _neuron(self, name: str, neuron: Any) -> nn.Module:
        if isinstance(neuron, FromSpikingJelly):
            require(f"{_ACTIVATION_BASED}.functional", extra="spikingjelly").set_step_mode(
                neuron.module, self.step_mode
            )
            return neuron.module
        if type(neuron) not in (IF, LIF, PLIF):
            return wrap_neuron(neuron, step_mode=self.step_mode)
        if neuron.reset == "soft" and neuron.v_reset != 0:
            raise refused(name, neuron, f"a soft reset with v_reset = {neuron.v_reset:g}, where spikingjelly has 0")
        arguments: dict[str, Any] = {
            "v_threshold": float(neuron.v_threshold),
            "v_reset": float(neuron.v_reset) if neuron.reset == "hard" else None,
            "surrogate_function": self._surrogate(name, neuron.surrogate),
            "detach_reset": neuron.detach_reset,
            "step_mode": self.step_mode,
        }
        if isinstance(neuron, IF):
            return self.neuron.IFNode(**arguments)
        arguments["decay_input"] = neuron.decay_input
        if isinstance(neuron, LIF):
            return self.neuron.LIFNode(float(neuron.tau), **arguments)
        node = self.neuron.ParametricLIFNode(float(neuron.init_tau), **arguments)
        node.w = neuron.w
        return node

    def _surrogate(self, name: str, surrogate: Surrogate) -> nn.Module:
        candidates = [s for s in (surrogate, self.replace_surrogate) if s is not None and _name_of(s)]
        known = or_replaced(candidates[0] if candidates else None, name, repr(surrogate), None)
        return getattr(self.surrogate, _name_of(known))(alpha=known.alpha)


def _name_of(surrogate: Surrogate) -> str:
    """Name of a surrogate in spikingjelly, or nothing."""
    if isinstance(surrogate, SuperSpike):  # where the functions of its shape have its height
        return {1.0: "SuperSpike", 2.0: "SoftSign"}.get(surrogate.alpha, "")
    return {ATan: "ATan", Sigmoid: "Sigmoid", Triangle: "PiecewiseQuadratic"}.get(type(surrogate), "")


class _Reader:
    """Reads modules of spikingjelly as layers of one step."""

    def __init__(self, replace_surrogate: Surrogate | None) -> None:
        self.layer = require(f"{_ACTIVATION_BASED}.layer", extra="spikingjelly")
        self.neuron = require(f"{_ACTIVATION_BASED}.neuron", extra="spikingjelly")
        self.replace_surrogate = replace_surrogate
        self.of_torch = {getattr(self.layer, cls.__name__): cls for cls in (*MAPS, nn.Linear)}
        self.containers = {getattr(self.layer, name) for name in _CONTAINERS}

    def read(self, name: str, module: nn.Module, reading: Reading) -> nn.Module | None:
        kind: Any = type(module)
        if kind in self.of_torch:
            reading.first_use(name, module)
            return copy.deepcopy(rebuilt(self.of_torch[kind], module, name=name))
        if kind in (self.neuron.IFNode, self.neuron.LIFNode, self.neuron.ParametricLIFNode):
            reading.first_use(name, module)
            return self._neuron(name, module)
        if kind is self.layer.ThresholdDependentBatchNorm2d:
            reading.first_use(name, module)
            return copy.deepcopy(rebuilt(nn.BatchNorm2d, module, name=name))
        if kind is self.layer.Flatten:
            return read_steps(name, nn.Flatten(module.start_dim, module.end_dim), reading.step())  # type: ignore[arg-type]
        if kind is self.layer.Dropout:
            reading.first_use(name, module)
            return in_mode_of(module, TimeConstantDropout(module.p))  # type: ignore[arg-type]
        if kind is self.layer.VotingLayer:
            return VotingLayer(module.voting_size)  # type: ignore[arg-type]
        if kind in self.containers:
            return read_children(name, module, reading.step())
        return self._read_rest(name, module, reading)

    def _read_rest(self, name: str, module: nn.Module, reading: Reading) -> nn.Module | None:
        if isinstance(module, Residual):
            parts = [read_steps(f"{name}.{key}", getattr(module, key), reading) for key in ("branch", "shortcut")]
            return Residual(parts[0], parts[1], module.connect)
        own = getattr(module, "neuron", None)
        if hasattr(module, "_memories"):
            if isinstance(own, Neuron):  # one of snnfer, which went along
                reading.first_use(name, module)
                return copy.deepcopy(own)
            raise refused(name, module, _REASONS.get(type(module).__name__, "a memory that snnfer has not"))
        return None

    def _neuron(self, name: str, node: Any) -> Neuron:
        rest = 0.0 if node.v_reset is None else node.v_reset
        if node.get_reset_value("v") != rest:
            raise refused(name, node, f"its potential starts at {node.get_reset_value('v')}, not at {rest:g}")
        step, alpha = node.surrogate_function, getattr(node.surrogate_function, "alpha", 1.0)
        surrogate = or_replaced(find_surrogate(step, alpha), name, type(step).__name__, self.replace_surrogate)
        arguments: dict[str, Any] = {
            "v_threshold": node.v_threshold,
            "v_reset": rest,
            "reset": "soft" if node.v_reset is None else "hard",
            "detach_reset": node.detach_reset,
            "surrogate": surrogate,
        }
        try:
            if isinstance(node, self.neuron.IFNode):
                return IF(**arguments)
            if isinstance(node, self.neuron.LIFNode):
                return LIF(tau=node.tau, decay_input=node.decay_input, **arguments)
            return _parametric(node, arguments)
        except SnnferError as error:
            raise ConversionError(f"'{name}' cannot be a neuron of snnfer ({error.given})") from error


def _parametric(node: Any, arguments: dict[str, Any]) -> PLIF:
    tau = 1 / node.w.detach().double().sigmoid().item()
    neuron = PLIF(init_tau=tau if 1 < tau < math.inf else 2.0, decay_input=node.decay_input, **arguments)
    neuron.w = copy.deepcopy(node.w)
    return neuron
