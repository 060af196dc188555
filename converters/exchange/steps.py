"""A network as layers that see one step, which all libraries have, and back to layers of snnfer over time."""

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from snnfer.converters._functional import called_modules
from snnfer.converters.exchange.weights import Layer, rebuilt
from snnfer.errors import ConversionError
from snnfer.layers import (
    GlobalAvgPool2d,
    SEWBlock,
    SpikingAvgPool2d,
    SpikingConv2d,
    SpikingLinear,
    SpikingMaxPool2d,
    SpikingSequential,
    ThresholdDependentBatchNorm2d,
    TimeBatchNorm2d,
    TimeConstantDropout,
    TimeDistributed,
    VotingLayer,
)
from snnfer.layers.residual import CONNECT, Connect
from snnfer.models.spiking_classifier import SpikingClassifier
from snnfer.neurons import Neuron

MAPS: tuple[type[nn.Module], ...] = (
    *(nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d),
)
"""Layers on ``[N, C, ...]`` that have no time."""
ANYWHERE: tuple[type[nn.Module], ...] = (nn.Linear, nn.Identity, nn.Dropout, nn.ReLU)
"""Layers that do the same to ``[N, ...]`` and ``[T, N, ...]``."""
_TIMELESS = (*ANYWHERE, TimeConstantDropout, VotingLayer)
_OWN = ("torch.nn.", "snnfer.", "spikingjelly.activation_based.", "norse.")
_MODELS = ("spikingjelly.activation_based.model.", "norse.torch.models.")


class Residual(nn.Module):
    """Two chains that read one input, and how their outputs are joined.

    Args:
        branch: Chain of ``conv1`` and ``conv2``.
        shortcut: Chain, or identity.
        connect: How they are joined, see `SEWBlock`.
    """

    def __init__(self, branch: nn.Module, shortcut: nn.Module, connect: Connect) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut
        self.connect: Connect = connect

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return CONNECT[self.connect](self.branch(x), self.shortcut(x))


@dataclass(frozen=True)
class Reading:
    """How a network is read.

    Args:
        foreign: Reads what another library has; None for what it does not know.
        over_time: Whether plain layers of torch see ``[T, N, ...]``; otherwise ``[N, ...]``.
        seen: Layers with weights or a memory that were read.
    """

    foreign: Callable[[str, nn.Module, "Reading"], nn.Module | None] = lambda name, module, reading: None
    over_time: bool = True
    seen: set[int] = field(default_factory=set)

    def step(self) -> "Reading":
        """The same, for what sees one step."""
        return replace(self, over_time=False)

    def first_use(self, name: str, module: nn.Module) -> None:
        """Note that a layer was read.

        Raises:
            ConversionError: it was read before, and has weights or a memory.
        """
        if not any(True for _ in module.parameters()) and not isinstance(module, Neuron) and not _remembers(module):
            return
        if id(module) in self.seen:
            raise ConversionError(
                f"'{name}' is used more than once ({type(module).__name__})",
                expected="layers with weights or a memory of their own",
                cause="shared weights, or neurons that share their potential",
            )
        self.seen.add(id(module))


def read_steps(name: str, module: nn.Module, reading: Reading) -> nn.Module:
    """`module` as layers of torch on one step, snnfer neurons, dropout and votes, in nested `nn.Sequential`.

    Weights are copied, and each layer stays in its mode (training or evaluation).

    Raises:
        ConversionError: it, or something in it, has no counterpart.
    """
    known = reading.foreign(name, module, reading)
    if known is not None:
        return known
    if type(module) in _READERS:
        return _READERS[type(module)](name, module, reading)
    if isinstance(module, SpikingClassifier):
        return read_steps(name, module.layers, reading)
    if isinstance(module, Neuron) or type(module) in (*MAPS, *_TIMELESS):
        return _read_layer(name, module, reading)
    kind = type(module).__module__ + "."
    if kind.startswith(_OWN) and not kind.startswith(_MODELS):
        raise refused(name, module)
    return in_mode_of(module, read_chain(name, called_modules(name, module), reading))


def read_chain(name: str, children: Iterable[tuple[str, nn.Module]], reading: Reading) -> nn.Sequential:
    """Layers one after the other."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for child, layer in children:
        key = free = child.replace(".", "_")
        while free in layers:  # called again
            free = f"{key}_{len(layers)}"
        layers[free] = read_steps(f"{name}.{child}" if name else child, layer, reading)
    return nn.Sequential(layers)


def read_children(name: str, module: nn.Module, reading: Reading) -> nn.Sequential:
    """All children of `module` one after the other, those that stand there twice too."""
    children = [(key, child) for key, child in module._modules.items() if child is not None]
    return in_mode_of(module, read_chain(name, children, reading))


def in_mode_of(module: nn.Module, new: Layer) -> Layer:
    """`new`, itself but not its children, in training or evaluation mode as `module` is."""
    new.training = module.training
    return new


def as_chain(step: nn.Module) -> nn.Sequential:
    """A chain, of one layer where it is none."""
    return step if isinstance(step, nn.Sequential) else nn.Sequential(step).train(step.training)


def refused(name: str, module: nn.Module, reason: str = "") -> ConversionError:
    """The error for a module without an exact counterpart."""
    return ConversionError(
        f"'{name or 'the network'}' is a {type(module).__name__}",
        expected="layers that both libraries have",
        cause=reason,
        fix="replace it, or convert the part of the network without it",
    )


def lifted_chain(steps: nn.Module) -> SpikingSequential:
    """What `read_steps` found, as a chain of snnfer on ``[T, N, ...]``."""
    layers = as_chain(steps).named_children()
    chain = SpikingSequential(OrderedDict((name, lifted(layer)) for name, layer in layers))
    chain.training = steps.training  # its own mode; layers have theirs
    return chain


def lifted(step: nn.Module) -> nn.Module:
    """A layer of `read_steps` as a layer of snnfer on ``[T, N, ...]``."""
    if isinstance(step, nn.Sequential):
        return lifted_chain(step)
    if isinstance(step, Residual):
        return _sew_block(step)
    if isinstance(step, nn.BatchNorm2d) and step.affine and step.track_running_stats:
        return rebuilt(TimeBatchNorm2d, step)
    if isinstance(step, nn.Flatten):
        return nn.Flatten(2)
    return TimeDistributed(step) if type(step) in MAPS else step


def _sew_block(step: Residual) -> SEWBlock:
    """norse gives numbers for names, so that layers are taken in their order."""
    parts: list[Any] = [*step.branch.children()]
    conv = parts[0][0]
    block = SEWBlock(conv.in_channels, conv.out_channels, stride=conv.stride[0], connect=step.connect)
    own: list[Any] = [block.conv1, block.conv2]
    if isinstance(step.shortcut, nn.Sequential):
        parts.append(step.shortcut)
        own.append(block.shortcut)
    for layer, part in zip(own, parts, strict=True):
        layer.conv, layer.norm, layer.neuron = part[0], lifted(part[1]), part[2]
    return block


def _read_layer(name: str, module: nn.Module, reading: Reading) -> nn.Module:
    if reading.over_time and type(module) in MAPS:
        raise refused(name, module, "a layer of torch without time, in a network over time")
    reading.first_use(name, module)
    plain = type(module) in (*MAPS, nn.Linear)
    return copy.deepcopy(rebuilt(type(module), module, name=name) if plain else module)


def _remembers(module: nn.Module) -> bool:
    """Whether it is a module of spikingjelly with a memory, or one of norse with a state."""
    return hasattr(module, "_memories") or hasattr(module, "state_fallback")


def _read_flatten(name: str, module: nn.Flatten, reading: Reading) -> nn.Module:
    first = 2 if reading.over_time else 1
    if module.start_dim != first or module.end_dim != -1:
        raise refused(name, module, f"it does not join all dimensions from {first} on")
    return nn.Flatten(1)


def _read_block(name: str, block: SEWBlock, reading: Reading) -> nn.Module:
    branch = read_chain(name, [("conv1", block.conv1), ("conv2", block.conv2)], reading)
    return Residual(branch, read_steps(f"{name}.shortcut", block.shortcut, reading), block.connect)


def _as(cls: type[nn.Module]) -> Callable[[str, Any, Reading], nn.Module]:
    def read(name: str, module: nn.Module, reading: Reading) -> nn.Module:
        reading.first_use(name, module)
        return copy.deepcopy(rebuilt(cls, module, name=name))

    return read


_READERS: dict[type, Callable[[str, Any, Reading], nn.Module]] = {
    nn.Sequential: read_children,
    SpikingSequential: read_children,
    SpikingLinear: read_children,
    SpikingConv2d: lambda name, block, reading: read_chain(
        name,
        [("conv", TimeDistributed(block.conv)), *((key, getattr(block, key)) for key in ("norm", "neuron", "pool"))],
        reading,
    ),
    SEWBlock: _read_block,
    TimeDistributed: lambda name, layer, reading: read_steps(name, layer.module, reading.step()),
    TimeBatchNorm2d: _as(nn.BatchNorm2d),
    ThresholdDependentBatchNorm2d: _as(nn.BatchNorm2d),
    SpikingMaxPool2d: _as(nn.MaxPool2d),
    SpikingAvgPool2d: lambda name, layer, reading: read_chain(
        name, [("pool", TimeDistributed(nn.AvgPool2d(layer.kernel_size))), ("neuron", layer.neuron)], reading
    ),
    GlobalAvgPool2d: lambda name, layer, reading: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1)),
    nn.Flatten: _read_flatten,
}
"""Exact classes: a subclass may do something else."""
