"""From a graph without spikes and a threshold per channel to the spiking network, exactly."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from snnfer.converters.ann_to_snn.network import RateSNN, module_name
from snnfer.converters.graph import Activation, Affine, Conv, Dense, Flatten, Graph, Node, Pool, Shape, Vote
from snnfer.layers import TimeDistributed

Tensors = dict[str, torch.Tensor]


@dataclass
class _Chain:
    """Layers so far, their tensors, and what one unit of the present output stands for, per channel (None: one)."""

    layers: list[dict[str, Any]] = field(default_factory=list)
    tensors: Tensors = field(default_factory=dict)
    unit: torch.Tensor | None = None

    def add(self, spec: dict[str, Any], **tensors: torch.Tensor) -> None:
        self.layers.append(spec)
        inside = "module." if spec["kind"] == "conv" else ""
        name = module_name(spec["name"])
        self.tensors.update({f"layers.{name}.{inside}{key}": value.contiguous() for key, value in tensors.items()})


def build_network(
    graph: Graph, thresholds: Tensors, *, n_steps: int, initial_charge: float = 0.5, about: dict[str, Any] | None = None
) -> RateSNN:
    """The spiking network of a graph whose activations are all ReLU.

    Spikes are 0 or 1: what a spike of channel c stands for, its threshold, goes into the weights behind it.

    Args:
        graph: A graph without spikes; LeakyReLU is split before.
        thresholds: For each activation, by name, the threshold per channel ``[C]``, above 0.
        n_steps: Simulation steps per image.
        initial_charge: Potential before the first step, in thresholds.
        about: Entries of the config that say where the network comes from.
    """
    chain = _Chain()
    before = (graph.input_shape, *graph.shapes)
    for node, shape in zip(graph.nodes, before, strict=False):
        _add(chain, node, shape, thresholds, initial_charge)
    _decode(chain, "decode")
    snn = RateSNN(layers=chain.layers, input_shape=graph.input_shape, n_steps=n_steps, **(about or {}))
    snn.load_state_dict(chain.tensors)
    like = next(iter(chain.tensors.values()))
    return snn.to(like.device, like.dtype).eval().requires_grad_(False)


def _add(chain: _Chain, node: Node, shape: Shape, thresholds: Tensors, charge: float) -> None:
    if isinstance(node, Conv):
        chain.add(_conv_spec(node), weight=node.weight * _of_inputs(chain.unit, node), bias=node.bias)
        chain.unit = None
    elif isinstance(node, Dense):
        weight = node.weight if chain.unit is None else node.weight * chain.unit
        chain.add({"kind": "dense", "name": node.name, "features": list(node.weight.shape[::-1])},
                  weight=weight, bias=node.bias)  # fmt: skip
        chain.unit = None
    elif isinstance(node, Affine):
        scale = node.scale if chain.unit is None else node.scale * chain.unit
        chain.add({"kind": "scale", "name": node.name, "channels": len(scale)}, scale=scale, shift=node.shift)
        chain.unit = None
    elif isinstance(node, Activation):
        threshold = thresholds[node.name]
        in_units = threshold if chain.unit is None else threshold / chain.unit
        chain.add({"kind": "spike", "name": node.name, "channels": len(threshold), "initial_charge": charge},
                  threshold=in_units)  # fmt: skip
        chain.unit = threshold
    else:
        _add_without_tensors(chain, node, shape)


def _add_without_tensors(chain: _Chain, node: Node, shape: Shape) -> None:
    if isinstance(node, Pool):
        chain.add({"kind": node.kind, "name": node.name, "kernel_size": list(node.kernel_size),
                   "stride": list(node.stride), "padding": list(node.padding)})  # fmt: skip
    elif isinstance(node, Flatten):
        chain.add({"kind": "flatten", "name": node.name})
        if chain.unit is not None and len(shape) == 3:
            chain.unit = chain.unit.repeat_interleave(shape[1] * shape[2])  # [C * H * W]
    elif isinstance(node, Vote):
        _decode(chain, f"{node.name}_decode")
        chain.add({"kind": "vote", "name": node.name, "votes": node.votes})


def _decode(chain: _Chain, name: str) -> None:
    """Spikes back to values, where no weights behind them can do it."""
    if chain.unit is not None:
        chain.add({"kind": "scale", "name": name, "channels": len(chain.unit)},
                  scale=chain.unit, shift=torch.zeros_like(chain.unit))  # fmt: skip
        chain.unit = None


def _of_inputs(unit: torch.Tensor | None, conv: Conv) -> torch.Tensor | float:
    """`unit` ``[I]`` in the shape of the weight ``[O, I / groups, kH, kW]``."""
    if unit is None:
        return 1.0
    per_group = unit.view(conv.groups, 1, -1).expand(-1, len(conv.weight) // conv.groups, -1)  # [G, O / G, I / G]
    return per_group.reshape(len(conv.weight), -1, 1, 1)


def _conv_spec(conv: Conv) -> dict[str, Any]:
    return {
        "kind": "conv",
        "name": conv.name,
        "channels": [conv.weight.shape[1] * conv.groups, len(conv.weight)],
        "kernel_size": list(conv.weight.shape[-2:]),
        "stride": list(conv.stride),
        "padding": list(conv.padding),
        "dilation": list(conv.dilation),
        "groups": conv.groups,
    }


def layers_of(snn: RateSNN) -> dict[str, nn.Module]:
    """Members of the chain by the names of the graph's nodes."""
    names = {module_name(spec["name"]): spec["name"] for spec in snn.config["layers"]}
    return {names[name]: layer.module if isinstance(layer, TimeDistributed) else layer
            for name, layer in snn.layers.named_children()}  # fmt: skip
