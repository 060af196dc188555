"""Sigma-delta networks as HDF5 files in the layout of netx, with one key more where netx has none."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from snnfer._files import atomic_path, in_memory
from snnfer._optional import require
from snnfer.converters.loihi.sigma_delta import SigmaDeltaGraph, SigmaDeltaLayer
from snnfer.errors import ExportError

OWN_KEY = "snnfer"
FORMAT = "sigma-delta 1"
_LAYER_KEYS = ("shape", "weight", "bias", "neuron/vThMant", "neuron/stateExp")


def write_sigma_delta(
    graph: SigmaDeltaGraph, path: str | os.PathLike[str], *, certificate: Mapping[str, Any] | None = None
) -> None:
    """Write a sigma-delta network as netx groups ``layer/0`` (delta encoder) to ``layer/L``.

    Each layer has the keys of netx's ``SDNN`` neurons, and ``neuron/stateExp``: netx ignores it and gives every layer
    6. A file is marked ``superset`` where another exponent is needed: an unmodified netx would load it without a word
    and compute something else, and `snnfer.converters.lava.direct.run_sigma_delta_lava` runs it. A file marked
    ``netx`` runs in an unmodified netx, with ``Network(path, spike_exp=0)``.

    Scales, names, the pairing of populations and the certificate stand as JSON in ``/snnfer``, where lava does not
    look.

    Args:
        graph: The network.
        path: Usually ends in ``.net``.
        certificate: How well the file computes what the trained network computes, as JSON; for
            `read_sigma_delta_certificate`.

    Examples:
        >>> import tempfile, torch
        >>> from snnfer.converters.loihi.sigma_delta import sigma_delta
        >>> network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LeakyReLU(0.2), torch.nn.Linear(4, 2))
        >>> graph = sigma_delta(network, calibration=torch.rand(2, 8, 3))
        >>> path = Path(tempfile.mkdtemp()) / "encoder.net"
        >>> write_sigma_delta(graph, path)
        >>> read_sigma_delta(path).layers[1].state_exp == graph.layers[1].state_exp
        True
    """
    h5py = require("h5py", extra="lava")
    own = {
        "format": FORMAT,
        "dialect": "netx" if graph.fits_netx else "superset: neuron/stateExp",
        "input_scale": graph.input_scale,
        "spike_exp": 0,
        "metadata": graph.metadata,
        "certificate": certificate,
        "layers": [
            {
                "name": layer.name,
                "payload_scale": layer.payload_scale,
                "input_pairs": layer.input_pairs,
                "paired_output": layer.paired_output,
            }
            for layer in graph.layers
        ],
    }
    with atomic_path(path) as temporary, in_memory(temporary) as buffer, h5py.File(buffer, "w") as file:
        encoder = file.create_group("layer/0")
        _put_type(encoder, "input")
        encoder["shape"] = np.array(graph.input_shape)
        _put_neuron(encoder, graph.input_threshold, None)
        before, number = len(graph.input_shape), 0
        for layer in graph.layers:
            number += 1
            if layer.kind == "dense" and before == 3:
                _put_type(file.create_group(f"layer/{number}"), "flatten")
                number += 1
            _put_layer(file.create_group(f"layer/{number}"), layer)
            before = len(layer.shape)
        file[OWN_KEY] = json.dumps(own)


def is_sigma_delta(path: str | os.PathLike[str]) -> bool:
    """Whether a file is one of `write_sigma_delta`; not of one that is missing or damaged."""
    h5py = require("h5py", extra="lava")
    try:
        with h5py.File(Path(path), "r") as file:
            return "format" in json.loads(file[OWN_KEY][()])
    except (OSError, KeyError, ValueError, TypeError):
        return False


def read_sigma_delta_certificate(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The certificate that was written with a file; None where it has none.

    Raises:
        ExportError: the file is missing, damaged, or of another writer.
    """
    with _open(path) as file:
        return _own(file, path).get("certificate")


def read_sigma_delta(path: str | os.PathLike[str]) -> SigmaDeltaGraph:
    """Read a file of `write_sigma_delta`.

    Raises:
        ExportError: the file is missing, damaged, or of another writer.
    """
    with _open(path) as file:
        own = _own(file, path)
        groups = [file[f"layer/{i}"] for i in range(len(file["layer"]))]
        synapses = [group for group in groups[1:] if group["type"][0] != b"flatten"]
        layers = tuple(_read_layer(*item) for item in zip(synapses, own["layers"], strict=True))
        shape = tuple(int(extent) for extent in groups[0]["shape"][()])
        threshold = int(groups[0]["neuron/vThMant"][()])
        return SigmaDeltaGraph(layers, shape, float(own["input_scale"]), threshold, own["metadata"])


@contextmanager
def _open(path: str | os.PathLike[str]) -> Iterator[Any]:
    h5py = require("h5py", extra="lava")
    try:
        with h5py.File(Path(path), "r") as file:
            yield file
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise ExportError(
            f"'{path}' cannot be read as a sigma-delta network",
            expected="a whole file that write_sigma_delta wrote",
            cause=f"it is missing, truncated or another kind of file ({error})",
        ) from error


def _own(file: Any, path: str | os.PathLike[str]) -> dict[str, Any]:
    own = json.loads(file[OWN_KEY][()]) if OWN_KEY in file else {}
    if own.get("format") != FORMAT:
        raise ExportError(
            f"'{path}' is no sigma-delta file of snnfer",
            expected=f"the format '{FORMAT}'",
            cause="a netx file of spiking neurons, or of another writer",
            fix="see snnfer.converters.lava.netx.read_netx for networks of spiking neurons",
        )
    return own


def _put_type(group: Any, kind: str) -> None:
    group.create_dataset("type", (1,), "S10", [kind.encode()])


def _put_neuron(group: Any, threshold: int, state_exp: int | None) -> None:
    group["neuron/type"] = b"SDNN"
    group["neuron/vThMant"] = threshold
    if state_exp is not None:
        group["neuron/stateExp"] = state_exp


def _put_layer(group: Any, layer: SigmaDeltaLayer) -> None:
    _put_type(group, layer.kind)
    group["shape"] = np.array(layer.shape)
    group.create_dataset("weight", data=layer.synapses, compression="gzip", compression_opts=1)
    group["bias"] = layer.bias
    if layer.kind == "conv":
        for key in ("stride", "padding", "dilation"):
            group[key] = np.array(getattr(layer, key))
        group["groups"] = layer.groups
    _put_neuron(group, layer.threshold, layer.state_exp)


def _read_layer(group: Any, own: dict[str, Any]) -> SigmaDeltaLayer:
    shape, weight, bias, threshold, state_exp = (group[key][()] for key in _LAYER_KEYS)
    kind = group["type"][0].decode()
    geometry: dict[str, Any] = {}
    groups, pairs = 1, int(own["input_pairs"])
    if kind == "conv":
        geometry = {key: tuple(int(v) for v in group[key][()]) for key in ("stride", "padding", "dilation")}
        geometry["groups"] = groups = int(group["groups"][()])
    if pairs:
        split = weight.reshape(len(weight), pairs // groups, 2, -1)[:, :, 0]  # the second population is its negative
        weight = split.reshape(len(weight), weight.shape[1] // 2, *weight.shape[2:])
    return SigmaDeltaLayer(
        name=own["name"],
        kind=kind,
        weight=weight.astype(np.int32),
        bias=bias.astype(np.int32),
        threshold=int(threshold),
        state_exp=int(state_exp),
        payload_scale=float(own["payload_scale"]),
        shape=tuple(int(extent) for extent in shape),
        input_pairs=pairs,
        paired_output=bool(own["paired_output"]),
        **geometry,
    )
