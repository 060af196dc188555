"""Runs on lava's fixed-point simulator that netx files alone do not describe, in lava's own environment."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from snnfer.converters.lava.launch import run_worker
from snnfer.converters.lava.sigma_delta_file import read_sigma_delta
from snnfer.converters.loihi.graph import IntegerGraph, IntegerLayer
from snnfer.converters.loihi.sigma_delta import SigmaDeltaGraph, check_calibration
from snnfer.converters.loihi.twin import prepare_input
from snnfer.errors import ExportError, ShapeError


@dataclass(frozen=True)
class LavaMessages:
    """What lava simulated of a sigma-delta network.

    Args:
        messages: int32 ``[T + L, 1, *shape]`` of the encoder and of each of the L layers.
        build_s: Time that lava took to read the file and compile the network, in seconds.
        run_s: Time of the simulation alone.
    """

    messages: tuple[torch.Tensor, ...]
    build_s: float
    run_s: float


def run_sigma_delta_lava(
    path: str | os.PathLike[str], x: torch.Tensor, *, graph: SigmaDeltaGraph | None = None
) -> LavaMessages:
    """Messages of lava's simulator for a file of `write_sigma_delta`.

    The counterpart of ``run_sigma_delta(read_sigma_delta(path), x, mode="free_running", record=True).messages``: both
    must be equal in every message.

    Args:
        path: The file.
        x: One clip ``[T, 1, *input_shape]``; lava's sigma-delta neurons cannot be reset between clips.
        graph: What `read_sigma_delta` gave for the file; read where None.

    Raises:
        MissingExtraError: there is no environment with lava.
        ShapeError: `x` has another layout or more than one clip.
        ExportError: lava failed.
    """
    graph = read_sigma_delta(path) if graph is None else graph
    check_calibration(x, graph.input_shape, name="the input")
    if x.shape[1] != 1:
        raise ShapeError(
            f"the input has {x.shape[1]} clips", expected="one", fix="pass them one by one: x[:, i : i + 1]"
        )
    frames = (x[:, 0].double() * graph.input_scale).round().long().numpy()
    frames = np.concatenate([frames, np.repeat(frames[-1:], len(graph.layers), axis=0)])  # held, as the twin does
    job = {"path": str(Path(path).absolute()), "x": frames}
    result = run_worker("sigma_delta_worker.py", job, what=f"'{path}'")
    messages = tuple(torch.from_numpy(result[f"layer{i}"]).int()[:, None] for i in range(len(graph.layers) + 1))
    return LavaMessages(messages, float(result["build_s"]), float(result["run_s"]))


def run_block3d_lava(graph: IntegerGraph, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Spikes of lava's simulator for convolutions with time taps, which netx files cannot carry.

    A causal `snnfer.layers.FactorizedConv3d` becomes two layers: the depthwise filter over time, the first pointwise
    convolution and normalisation together are a convolution of three taps, which are synapses with delays of 2, 1 and 0
    steps; the depthwise filter over space, the second pointwise convolution and normalisation are one of 3 x 3 pixels.
    The counterpart of `snnfer.converters.loihi.twin.run_twin`: both must be equal in every spike.

    Args:
        graph: Convolutions; only the first layer may have time taps where `x` has several clips.
        x: Spikes ``[T, N, C, H, W]``, 0 and 1; every clip starts from rest.

    Returns:
        Name of each layer to its spikes, booleans ``[T, N, *shape]``.

    Raises:
        MissingExtraError: there is no environment with lava.
        ExportError: the graph has a layer that is no convolution, or taps that would reach into the clip before.
        ShapeError: `x` has another layout.
        ExportError: lava failed.
    """
    x = prepare_input(graph, x, graded=False)
    job: dict[str, np.ndarray] = {"x": x.to(torch.uint8).numpy(), "n_layers": np.array(len(graph.layers))}
    for i, layer in enumerate(graph.layers):
        if layer.kind != "conv":
            raise ExportError(f"'{layer.name}' is a {layer.kind} layer", expected="convolutions only")
        if i and layer.time_taps > 1 and x.shape[1] > 1:
            raise ExportError(
                f"'{layer.name}' has {layer.time_taps} time taps behind neurons, and the input {x.shape[1]} clips",
                expected="one clip",
                cause="delay lines are not reset between clips",
                fix="pass the clips one by one: x[:, i : i + 1]",
            )
        job |= _describe(layer, i)
    result = run_worker("block3d.py", job, what="convolutions over time")
    return {layer.name: torch.from_numpy(result[f"layer{i}"]) for i, layer in enumerate(graph.layers)}


def _describe(layer: IntegerLayer, i: int) -> dict[str, np.ndarray]:
    weight = layer.weight if layer.time_taps > 1 else layer.weight[:, :, None]  # [O, I / groups, K, kH, kW]
    decays = (layer.current_decay, layer.voltage_decay)
    settings = (layer.threshold, *decays, layer.groups, *layer.stride, *layer.padding, *layer.dilation)
    return {
        f"{i}.weight": weight,
        f"{i}.bias": layer.bias,
        f"{i}.shape": np.array(layer.shape),
        f"{i}.settings": np.array(settings),
    }
