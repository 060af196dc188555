"""Reading NIR into snnfer models."""

import math
import os
from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from torch import nn

from snnfer.converters.nir.reading import chain_of, duration_of_step, input_shape_of, module_name, read_nir
from snnfer.errors import ConversionError
from snnfer.layers import SpikingSequential, TimeDistributed, VotingLayer
from snnfer.models.spiking_classifier import SpikingClassifier
from snnfer.neurons import IF, LI, LIF, Neuron


def from_nir(source: str | os.PathLike[str] | Any, *, dt_s: float | None = None) -> SpikingClassifier:
    r"""Read a chain of NIR into a network of snnfer.

    ``Affine``, ``Linear``, ``Conv2d``, ``AvgPool2d``, ``SumPool2d``, ``Flatten``, ``IF``, ``LIF`` and ``LI`` are read;
    anything else is refused by its name. Neurons integrate by Euler steps,

    .. math::
        v_t = v_{t-1} + \tfrac{dt}{\tau}\,(v_\text{leak} - v_{t-1} + r\,x_t)

    with the resistance in the weights before them where it is neither 1 nor :math:`\tau / dt`. NIR fires above its
    threshold, snnfer at it: the threshold becomes the next larger float32. Inferred: ``IF`` of r = 1 adds its input
    whole, as norse and snnTorch mean it (the equation of NIR would have it scaled by dt, which spikingjelly undoes with
    r = 1 / dt).

    Args:
        source: File, or a ``nir.NIRGraph``, whose input is ``(C, H, W)``.
        dt_s: Duration of a step, in seconds; by default what the file says (``dt_s`` of its metadata).

    Returns:
        The network in evaluation mode, with the votes that the metadata name.

    Raises:
        ConversionError: the file is damaged, its graph no chain, or one of its nodes unknown or of parameters that
            snnfer has not.
        MissingExtraError: nir is not installed.

    Examples:
        >>> from snnfer.converters.nir.export import to_nir
        >>> from snnfer.models import create_model
        >>> model = create_model("au_snn", size=(8, 8), channels=4, hidden=16).eval()
        >>> again = from_nir(to_nir(model))
        >>> x = torch.poisson(torch.rand(5, 2, 2, 8, 8))
        >>> torch.equal(again(x), model(x))
        True
    """
    graph = read_nir(source)
    step_s = duration_of_step(graph, dt_s)
    chain = chain_of(graph)
    shape = input_shape_of(graph)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for name in chain[1:-1]:
        _append(layers, name, graph.nodes[name], step_s)
    if not any(True for layer in layers.values() for _ in layer.parameters()):
        raise ConversionError("the NIR graph has no weights", expected="a network with some")
    votes = int(graph.metadata.get("votes", 1))
    if votes > 1:
        layers["voting"] = VotingLayer(votes)
    network = SpikingSequential(layers)
    for parameter in network.parameters():
        parameter.data = parameter.data.clone()  # of its own memory, not numpy's
    return SpikingClassifier(network, in_channels=shape[0], size=shape[1:]).eval()


def _append(layers: OrderedDict[str, nn.Module], name: str, node: Any, dt_s: float) -> None:
    kind = type(node).__name__
    if kind in _WEIGHTS:
        layers[module_name(name)] = _WEIGHTS[kind](name, node)
    elif kind in _NEURONS:
        neuron, gain = _NEURONS[kind](name, node, dt_s)
        if gain != 1:
            _scale_weights(layers, name, gain)
        layers[module_name(name)] = neuron
    else:
        raise ConversionError(
            f"the NIR node '{name}' is a {kind}", expected=", ".join(sorted({*_WEIGHTS, *_NEURONS})),
            cause="snnfer has no such layer",
        )  # fmt: skip


def _scale_weights(layers: OrderedDict[str, nn.Module], name: str, gain: float) -> None:
    """Put the resistance of a neuron into the weights before it."""
    for layer in reversed(layers.values()):
        module = layer.module if isinstance(layer, TimeDistributed) else layer
        if isinstance(module, nn.Conv2d | nn.Linear):
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter.mul_(gain)
            return
        if not isinstance(module, nn.Flatten):
            break
    raise ConversionError(
        f"the NIR node '{name}' has a resistance of {gain:g} and no weights before it", expected="a resistance of 1"
    )


def _affine(name: str, node: Any) -> nn.Module:
    bias = getattr(node, "bias", None)
    if node.weight.ndim != 2:
        raise ConversionError(f"the weight of the NIR node '{name}' has {node.weight.ndim} dimensions", expected="two")
    layer = nn.utils.skip_init(nn.Linear, node.weight.shape[1], node.weight.shape[0], bias=bias is not None)
    return _with_weights(layer, node.weight, bias)


def _convolution(name: str, node: Any) -> nn.Module:
    groups = int(node.groups)
    layer = nn.utils.skip_init(
        nn.Conv2d,
        node.weight.shape[1] * groups,
        *(node.weight.shape[0], node.weight.shape[2:]),
        stride=_pair(node.stride),
        padding=_text(node.padding) or _pair(node.padding),
        dilation=_pair(node.dilation),
        groups=groups,
        bias=node.bias is not None,
    )
    return TimeDistributed(_with_weights(layer, node.weight, node.bias))


def _with_weights(layer: Any, weight: np.ndarray, bias: np.ndarray | None) -> nn.Module:
    layer.weight.data = torch.as_tensor(np.array(weight, np.float32))
    if bias is not None:
        layer.bias.data = torch.as_tensor(np.array(bias, np.float32))
    return layer


def _pool(name: str, node: Any) -> nn.Module:
    divisor = 1 if type(node).__name__ == "SumPool2d" else None
    sizes = (_pair(node.kernel_size), _pair(node.stride), _pair(node.padding))
    return TimeDistributed(nn.AvgPool2d(*sizes, divisor_override=divisor))


def _flatten(name: str, node: Any) -> nn.Module:
    whole = node.output_type["output"]
    if whole is not None and len(whole) > 1:
        raise ConversionError(
            f"the NIR node '{name}' keeps {len(whole)} dimensions", expected="one that flattens (C, H, W) to one"
        )
    return nn.Flatten(2)


def _lif(name: str, node: Any, dt_s: float) -> tuple[Neuron, float]:
    values = _uniform(name, node, ("tau", "r", "v_leak", "v_threshold", "v_reset"))
    tau = _time_constant(name, values["tau"], dt_s)
    if values["v_leak"] != values["v_reset"]:
        raise ConversionError(
            f"the NIR node '{name}' leaks to {values['v_leak']:g} and resets to {values['v_reset']:g}",
            expected="one potential for both",
        )
    whole = math.isclose(values["r"], tau, rel_tol=1e-6)  # the input is added as it is
    firing = {"v_threshold": _above(values["v_threshold"]), "v_reset": values["v_reset"]}
    return LIF(tau=tau, decay_input=not whole, **firing), 1.0 if whole else values["r"]


def _if(name: str, node: Any, dt_s: float) -> tuple[Neuron, float]:
    values = _uniform(name, node, ("r", "v_threshold", "v_reset"))
    gain = 1.0 if math.isclose(values["r"] * dt_s, 1, rel_tol=1e-6) or values["r"] == 1 else values["r"] * dt_s
    return IF(v_threshold=_above(values["v_threshold"]), v_reset=values["v_reset"]), gain


def _li(name: str, node: Any, dt_s: float) -> tuple[Neuron, float]:
    values = _uniform(name, node, ("tau", "r", "v_leak"))
    return LI(tau=_time_constant(name, values["tau"], dt_s), v_rest=values["v_leak"]), values["r"]


def _time_constant(name: str, tau_s: float, dt_s: float) -> float:
    tau = tau_s / dt_s
    if not tau > 1:
        raise ConversionError(
            f"the NIR node '{name}' has a time constant of {tau_s:g} s, and a step lasts {dt_s:g} s",
            expected="a time constant above one step", cause="another duration of a step", fix="pass the right dt_s",
        )  # fmt: skip
    return tau


def _above(threshold: float) -> float:
    """Smallest float32 above `threshold`: a potential is at or above it where it is above `threshold`."""
    return float(np.nextafter(np.float32(threshold), np.float32(np.inf)))


def _uniform(name: str, node: Any, keys: tuple[str, ...]) -> dict[str, float]:
    values = {}
    for key in keys:
        different = np.unique(getattr(node, key))
        if len(different) != 1:
            raise ConversionError(
                f"the neurons of the NIR node '{name}' differ in {key}", expected="one value for a layer"
            )
        values[key] = float(different[0])
    return values


def _pair(value: Any) -> tuple[int, int]:
    numbers = np.broadcast_to(np.asarray(value), 2)
    return int(numbers[0]), int(numbers[1])


def _text(value: Any) -> str:
    """A padding given in words, or nothing."""
    return value.decode() if isinstance(value, bytes) else value if isinstance(value, str) else ""


_WEIGHTS = {
    "Affine": _affine,
    "Linear": _affine,
    "Conv2d": _convolution,
    "AvgPool2d": _pool,
    "SumPool2d": _pool,
    "Flatten": _flatten,
}
_NEURONS = {"LIF": _lif, "IF": _if, "LI": _li}
