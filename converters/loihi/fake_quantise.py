"""A network that computes with the integers of its export while it is trained."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from snnfer.converters.from_model import to_graph
from snnfer.converters.graph import Affine, Conv, Dense, Graph, Spike
from snnfer.converters.loihi.graph import DECAY_ONE
from snnfer.converters.loihi.quantise import ChipStage, chip_stages, quantise
from snnfer.converters.loihi.rounding import RoundedLayer, RoundingSettings, round_layer
from snnfer.converters.passes import for_chip, is_or
from snnfer.errors import ExportError
from snnfer.neurons import LIF, PLIF

MAX_LOGIT = 20.0
"""Of a decay of 0 or 1, whose own would be infinite."""


class FakeQuantiser:
    r"""Runs a network with the weights, biases and decays that `quantise` would give it, as real numbers.

    .. math::
        w' = \frac{2}{s\,g} \left[\frac{s\, g\, w}{2}\right], \qquad b' = b + \frac{[s\,\tilde b] / s - \tilde b}{g},
        \qquad \frac{1}{\tau'} = \frac{1}{4096} \left[\frac{4096}{\tau}\right]

    with s and the folded bias :math:`\tilde b` as in `quantise`, computed anew in each call, and g the factor per
    output of the normalisation (with its stored statistics) and of neurons that scale their input. What follows the
    synapses then makes :math:`W / s` and :math:`B / s` of them: in evaluation mode the network is the integer one but
    for the fractions of a step that a chip cuts off its leaks. Gradients pass straight through the rounding to the
    parameters of the network, which keep all their bits; the network itself is never changed. So
    ``quantise(to_graph(model))`` gives the integers that it was trained with. Calibration may shrink a layer further,
    which its report says (``limited_by`` is ``accumulator``).

    Set batch normalisation to evaluation mode for training: with the statistics of a batch the fold would be another.

    Args:
        model: A spiking network that `quantise` takes, with its own normalisation, or none, behind each layer.

    Raises:
        ConversionError: a module is unknown.
        ExportError: the network cannot be exported, or weights of several layers become one on a chip.

    References:
        Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
        CVPR 2018, section 3 (folded normalisation); Bengio et al., "Estimating or Propagating Gradients Through
        Stochastic Neurons for Conditional Computation", 2013 (straight-through estimator).

    Examples:
        >>> from snnfer.models import create_model
        >>> model = create_model("au_snn", n_classes=3, size=(16, 16), channels=4, hidden=8, votes=2).eval()
        >>> quantised = FakeQuantiser(model)
        >>> scores = quantised((torch.rand(6, 1, 2, 16, 16) < 0.2).float())
        >>> scores.shape, sorted(quantised.parameters())[:2]
        (torch.Size([1, 3]), ['layers.conv1.conv.weight', 'layers.conv1.neuron.w'])
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        graph = to_graph(model)
        quantise(graph)  # says why, where it cannot
        self._settings = RoundingSettings()
        modules = dict(model.named_modules())
        for stage in _stages(graph):
            _check(_home(graph, stage), stage, modules)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What ``model(*args, **kwargs)`` gives with rounded parameters."""
        values, taus = self._rounded()
        with _time_constants(taus):
            return torch.func.functional_call(self.model, values, args, kwargs)

    def parameters(self) -> dict[str, torch.Tensor]:
        """The rounded parameters that stand in for those of the network, by name."""
        return self._rounded()[0]

    def _rounded(self) -> tuple[dict[str, torch.Tensor], dict[LIF, float]]:
        """Parameters, and the time constants of neurons that have no parameter for them."""
        graph, modules = to_graph(self.model), dict(self.model.named_modules())
        values: dict[str, torch.Tensor] = {}
        taus: dict[LIF, float] = {}
        for stage in _stages(graph):
            home = _home(graph, stage)
            rounded = round_layer(stage.synapses, stage.neurons, self._settings)
            values |= _synapses(home, rounded, modules)
            neuron, rate = modules[home.spike.name], rounded.voltage_decay / DECAY_ONE
            if isinstance(neuron, PLIF):
                logit = torch.logit(torch.tensor(rate, dtype=torch.float64)).clamp(-MAX_LOGIT, MAX_LOGIT)
                values[f"{home.spike.name}.w"] = _StraightThrough.apply(neuron.w, logit)
            elif isinstance(neuron, LIF) and 0 < rate < 1:
                taus[neuron] = 1 / rate
        return values, taus


@dataclass(frozen=True)
class _Home:
    """The nodes of a network that become one layer of a chip."""

    layer: Conv | Dense
    affine: Affine | None
    spike: Spike

    def gain(self, rate: float) -> torch.Tensor:
        """Factor ``[O]`` between the weights of the network and those of the chip, with 1 / tau = `rate`."""
        gain = torch.ones_like(self.layer.bias) if self.affine is None else self.affine.scale
        return gain.double() * self.input_gain(rate)

    def input_gain(self, rate: float) -> float:
        """Factor of neurons that scale their input."""
        return rate if self.spike.decay_input else 1.0

    def bias(self) -> torch.Tensor:
        """What the neurons receive without spikes ``[O]``."""
        bias = self.layer.bias.double()
        return bias if self.affine is None else bias * self.affine.scale.double() + self.affine.shift.double()


def _stages(graph: Graph) -> list[ChipStage]:
    """Layers with weights of their own."""
    stages, _ = chip_stages(for_chip(graph))
    return [stage for stage in stages if not is_or(stage.synapses, stage.neurons)]


def _home(graph: Graph, stage: ChipStage) -> _Home:
    """Where a layer of the chip comes from.

    Raises:
        ExportError: from more than one layer with its normalisation and its neurons.
    """
    start = next((i for i, node in enumerate(graph.nodes) if node.name == stage.synapses.name), 0)
    layer, *behind = graph.nodes[start : start + 3]
    affine = behind[0] if isinstance(behind[0], Affine) else None
    spike = behind[0] if affine is None else behind[-1]
    if isinstance(layer, Conv | Dense) and isinstance(spike, Spike):
        return _Home(layer, affine, spike)
    raise _joined(stage)


def _check(home: _Home, stage: ChipStage, modules: dict[str, nn.Module]) -> None:
    """Raise `ExportError` unless the weights of the chip are those of one module times a gain."""
    module = modules.get(home.layer.name)
    gain = home.gain(1 / home.spike.tau)
    own, chip = home.layer.weight, stage.synapses.weight
    if module is None or own.shape != chip.shape or getattr(module, "weight", chip[:0]).shape != chip.shape:
        raise _joined(stage)
    if not torch.allclose(_per_output(gain, own) * own.double(), chip.double(), rtol=1e-4, atol=1e-9):
        raise _joined(stage)
    if _bias_owner(home, modules) is None and bool(home.bias().any()):
        raise _joined(stage)


def _joined(stage: ChipStage) -> ExportError:
    return ExportError(
        f"the weights of '{stage.synapses.name}' on a chip are made of several layers",
        expected="one layer, with a normalisation behind it or none, and its neurons",
        cause="average pooling or convolutions without neurons between them",
        fix="train without quantisation, and export: rounding alone costs little at 8 bits",
    )


def _synapses(home: _Home, rounded: RoundedLayer, modules: dict[str, nn.Module]) -> dict[str, torch.Tensor]:
    """Weight and bias by name, from which the network makes those of the chip."""
    rate = rounded.voltage_decay / DECAY_ONE
    gain, layer = home.gain(rate), modules[home.layer.name]
    wanted = rounded.weight / rounded.scale / _per_output(gain, rounded.weight)
    kept = _per_output(gain, rounded.weight) == 0  # nothing that such an output receives reaches its neurons
    weight: torch.Tensor = layer.weight  # type: ignore[assignment]
    values = {f"{home.layer.name}.weight": _StraightThrough.apply(weight, torch.where(kept, weight.double(), wanted))}
    owner = _bias_owner(home, modules)
    if owner is not None:
        name, factor = owner
        bias: torch.Tensor = modules[name].bias  # type: ignore[assignment]
        change = (rounded.bias / rounded.scale / (home.input_gain(rate) or 1.0) - home.bias()) / factor
        change = torch.where(factor == 0, torch.zeros_like(change), change)
        values[f"{name}.bias"] = _StraightThrough.apply(bias, bias.double() + change)
    return values


def _bias_owner(home: _Home, modules: dict[str, nn.Module]) -> tuple[str, torch.Tensor] | None:
    """Name of the module whose bias is rounded, and the factor ``[O]`` behind that bias; the normalisation first."""
    if home.affine is not None and getattr(modules[home.affine.name], "bias", None) is not None:
        return home.affine.name, torch.ones_like(home.affine.scale).double()
    if getattr(modules[home.layer.name], "bias", None) is None:
        return None
    return home.layer.name, home.gain(1.0)


def _per_output(gain: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return gain.reshape(-1, *(1,) * (weight.ndim - 1))


class _StraightThrough(torch.autograd.Function):
    """Another value for a parameter, with the gradient of the value."""

    @staticmethod
    def forward(ctx: Any, parameter: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return value.to(parameter)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradients[0], None


@contextmanager
def _time_constants(taus: dict[LIF, float]) -> Iterator[None]:
    """Neurons with other time constants for a while."""
    before = {neuron: neuron.tau for neuron in taus}
    try:
        for neuron, tau in taus.items():
            neuron.tau = tau
        yield
    finally:
        for neuron, tau in before.items():
            neuron.tau = tau
