"""Export to NIR in the portable profile."""

import itertools
import json
import math
import os
from typing import Any

import numpy as np
import torch
from torch import nn

from snnfer._files import atomic_path, in_memory
from snnfer._optional import require
from snnfer.converters.from_model import to_graph
from snnfer.converters.graph import Conv, Dense, Flatten, Graph, Node, Shape, Spike, Vote
from snnfer.converters.nir.portable import portable
from snnfer.converters.passes import drop_idle, fold_affine, fold_average, pools_as_or
from snnfer.errors import ConfigError, ExportError

PORTABLE_DT_S = 1e-4
"""Duration of a step that snnTorch assumes in every file, and spikingjelly where none is given."""
PROFILE = "snnfer-portable-1"


def to_nir(model: nn.Module | Graph, path: str | os.PathLike[str] | None = None, *, dt_s: float = PORTABLE_DT_S) -> Any:
    r"""Write a spiking network as NIR that spikingjelly, norse and snnTorch compute alike, spike for spike.

    Each layer of neurons is a ``nir.LIF``

    .. math::
        \tau \dot v = (v_\text{leak} - v) + r\,x, \qquad r = 1, \quad v_\text{leak} = v_\text{reset} = 0,

    which importers integrate by Euler steps of `dt_s`. Batch normalisation is folded into the weights, and so is the
    factor of an input that does not decay; average pooling is a convolution (norse does not read ``nir.AvgPool2d``),
    max pooling of spikes a convolution with the identity as kernel and neurons of threshold 0.5;
    `snnfer.converters.nir.portable.portable` says the rest. NIR fires *above* a threshold, snnfer *at* it: the file
    holds the next smaller float32. What has no exact counterpart is refused.

    The votes of the last layer are not in the graph; its ``metadata`` hold them (``votes``) with the duration of a step
    (``dt_s``) and the model's config (``config``, JSON).

    Args:
        model: A spiking network of snnfer, or its graph.
        path: File to write (HDF5), if any.
        dt_s: Duration of a step, in seconds: the unit of the time constants, and what a reader must be told (norse
            takes 1e-3, spikingjelly 1e-4 unless told). It changes nothing that is computed. The default is the one that
            snnTorch has fixed in its importer; `verify_nir` refuses another one there.

    Returns:
        The ``nir.NIRGraph``.

    Raises:
        ExportError: something in the network has no exact counterpart, or weights are not finite.
        ConversionError: the network is no chain of known layers.
        ConfigError: `dt_s` is not above zero.
        MissingExtraError: nir is not installed.

    References:
        Pedersen et al., "Neuromorphic intermediate representation: A unified instruction set for interoperable
        brain-inspired computing", Nature Communications 2024.

    Examples:
        >>> from snnfer.models import create_model
        >>> graph = to_nir(create_model("au_snn", size=(8, 8), channels=4, hidden=16).eval())
        >>> [type(node).__name__ for node in graph.nodes.values()][:5]
        ['Input', 'Conv2d', 'LIF', 'Conv2d', 'LIF']
        >>> graph.metadata["votes"]
        10
    """
    nir = require("nir", extra="nir")
    if not (dt_s > 0 and math.isfinite(dt_s)):
        raise ConfigError(f"dt_s = {dt_s}", expected="the duration of a step in seconds, above zero")
    graph = model if isinstance(model, Graph) else to_graph(model)
    exact = portable(pools_as_or(fold_average(fold_affine(drop_idle(graph)))))
    names = _names(exact.nodes)
    nodes = {"input": nir.Input(input_type={"input": np.array(exact.input_shape)})}
    shape = exact.input_shape
    for name, node, after in zip(names, exact.nodes, exact.shapes, strict=True):
        nodes[name] = _node(nir, _finite(node), shape, dt_s)
        shape = after
    nodes["output"] = nir.Output(output_type={"output": np.array(shape)})
    chain = ["input", *names, "output"]
    exported = nir.NIRGraph(nodes=nodes, edges=list(itertools.pairwise(chain)), metadata=_metadata(graph, dt_s))
    if path is not None:
        with atomic_path(path) as temporary, in_memory(temporary) as buffer:
            nir.write(buffer, exported)
    return exported


def _finite(node: Node) -> Node:
    """The node, unless its weights are NaN or infinite: nothing would fire, here and in every library alike."""
    tensors = (node.weight, node.bias) if isinstance(node, Conv | Dense) else ()
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors):
        raise ExportError(f"'{node.name}' has weights that are not finite", cause="training diverged")
    return node


def _node(nir: Any, node: Node, shape: Shape, dt_s: float) -> Any:
    """The counterpart of a node of the portable profile."""
    if isinstance(node, Conv):
        return nir.Conv2d(
            input_shape=shape[1:],
            weight=_array(node.weight),
            stride=node.stride,
            padding=node.padding,
            dilation=node.dilation,
            groups=1,
            bias=_array(node.bias),
        )
    if isinstance(node, Dense):
        return nir.Affine(weight=_array(node.weight), bias=_array(node.bias))
    if isinstance(node, Flatten):
        return nir.Flatten(input_type={"input": np.array(shape)}, start_dim=0, end_dim=-1)
    if isinstance(node, Spike):
        return nir.LIF(
            tau=np.full(shape, node.tau * dt_s, np.float32),
            r=np.ones(shape, np.float32),
            v_leak=np.zeros(shape, np.float32),
            v_threshold=np.full(shape, below(node.v_threshold), np.float32),
            v_reset=np.zeros(shape, np.float32),
        )
    raise ExportError(f"NIR has nothing for '{node.name}'")


def below(threshold: float) -> np.float32:
    """Largest float32 below `threshold`: a potential is above it where it is at or above `threshold`."""
    return np.nextafter(np.float32(threshold), np.float32(-np.inf))


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().to("cpu", torch.float32).numpy()


def _names(nodes: tuple[Node, ...]) -> list[str]:
    """Names of the nodes in the file, unique also where importers replace their dots."""
    names: list[str] = []
    taken = {"input", "output"}
    for node in nodes:
        name = node.name.replace("/", "_")
        while name.replace(".", "_") in taken:
            name += "_"
        taken.add(name.replace(".", "_"))
        names.append(name)
    return names


def _metadata(graph: Graph, dt_s: float) -> dict[str, Any]:
    """What a reader needs beside the graph; flat, because readers of NIR take no folders there."""
    votes = [node.votes for node in graph.nodes if isinstance(node, Vote)]
    return {
        "profile": PROFILE,
        "dt_s": dt_s,
        "votes": votes[-1] if votes else 1,
        "config": json.dumps(graph.metadata, default=str),
    }
