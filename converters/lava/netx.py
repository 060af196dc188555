"""netx files: the HDF5 in which lava-dl exchanges networks, written and read with h5py alone."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from snnfer._files import atomic_path, in_memory
from snnfer._optional import require
from snnfer.converters.lava.netx_rules import check_layers, pair_of, text_of, weight_of
from snnfer.converters.loihi.graph import IntegerGraph, IntegerLayer
from snnfer.errors import ExportError

OWN_KEY = "snnfer"
"""Root key beside ``layer`` with what netx has no place for, as JSON; lava ignores it."""
FORMAT_VERSION = 1


def write_netx(
    graph: IntegerGraph, path: str | os.PathLike[str], *, certificate: Mapping[str, Any] | None = None
) -> None:
    """Write an integer network as a netx file, complete or not at all.

    The file is checked with `validate_netx` before it gets its name. Names of layers, scales, votes and metadata stand
    beside the layers, where lava does not look.

    Args:
        graph: The network.
        path: Usually ends in ``.net``.
        certificate: How well the file computes what the trained network computes, as JSON; for `read_certificate`.

    Raises:
        ExportError: netx, lava or a chip would compute something else than `graph` says; nothing is written.

    Examples:
        >>> import tempfile
        >>> weight, bias = np.array([[2, -4]], np.int32), np.zeros(1, np.int32)
        >>> layer = IntegerLayer("fc", "dense", weight, bias, 64, 4096, 2048, scale=64.0, shape=(1,))
        >>> path = Path(tempfile.mkdtemp()) / "one.net"
        >>> write_netx(IntegerGraph((layer,), (2,)), path)
        >>> read_netx(path).layers[0].weight
        array([[ 2, -4]], dtype=int32)
    """
    h5py = require("h5py", extra="lava")
    for layer in graph.layers:
        if layer.time_taps > 1:
            raise ExportError(
                f"'{layer.name}' sees {layer.time_taps} steps at once",
                expected="one step, because netx gives convolutions no delays",
                fix="run it without a file: snnfer.converters.lava.direct.run_block3d_lava, or run_twin",
            )
    own = {
        "format_version": FORMAT_VERSION,
        "layers": [{"name": layer.name, "scale": layer.scale, "exact": layer.exact} for layer in graph.layers],
        "votes": graph.votes,
        "metadata": graph.metadata,
        "certificate": certificate,
    }
    with atomic_path(path) as temporary:
        with in_memory(temporary) as buffer, h5py.File(buffer, "w") as file:
            _write_layers(file.create_group("layer"), graph)
            file[OWN_KEY] = json.dumps(own)
        validate_netx(temporary)


def read_netx(path: str | os.PathLike[str]) -> IntegerGraph:
    """Read a netx file, of snnfer or of another writer.

    Files of other writers tell no names, scales or votes: their layers are called ``layer1``, ..., with a scale of 1.

    Raises:
        ExportError: the file is no netx file, is damaged, breaks a rule of `validate_netx`, or holds what an integer
            network of snnfer cannot: recurrence, delays, a bias per neuron.
    """
    with _open(path) as file:
        check_layers(file["layer"])
        own = _own(file, path)
        groups = [file["layer"][str(number)] for number in range(len(file["layer"]))]
        with_neurons = [group for group in groups[1:] if text_of(group["type"]) != "flatten"]
        known: list[dict[str, Any]] = own.get("layers") or [{"name": f"layer{i + 1}"} for i in range(len(with_neurons))]
        if len(known) != len(with_neurons):
            raise ExportError(
                f"'{path}' names {len(known)} layers and holds {len(with_neurons)}",
                cause="it was edited after the export",
            )
        return IntegerGraph(
            tuple(_read_layer(group, **facts) for group, facts in zip(with_neurons, known, strict=True)),
            input_shape=_shape(groups[0]),
            votes=own.get("votes", 1),
            metadata=own.get("metadata") or {},
        )


def read_certificate(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The certificate that was written with a file; None where it has none."""
    with _open(path) as file:
        return _own(file, path).get("certificate")


def validate_netx(path: str | os.PathLike[str]) -> None:
    """Check that a file runs as it says: every rule of `snnfer.converters.lava.netx_rules`.

    Raises:
        ExportError: the first rule that it breaks, with the layer.
    """
    with _open(path) as file:
        check_layers(file["layer"])


@contextmanager
def _open(path: str | os.PathLike[str]) -> Iterator[Any]:
    h5py = require("h5py", extra="lava")
    if Path(path).is_dir():
        raise ExportError(
            f"'{path}' is a folder",
            expected="a file of 'snnfer export lava' or 'snnfer convert --method sigma-delta'",
            fix="name the file in it, such as network.net",
        )
    if not Path(path).is_file():
        raise ExportError(f"there is no file '{path}'", fix="make one with 'snnfer export lava MODEL --out net.net'")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ExportError(
            f"'{path}' cannot be read as HDF5",
            expected="a netx file",
            cause="it was not copied to its end, or it is of another format",
        ) from error
    with file:
        if not isinstance(file.get("layer"), h5py.Group):
            raise ExportError(
                f"'{path}' is an HDF5 file without layers",
                expected="a netx file, whose group 'layer' holds 0, 1 and so on",
                cause="an event file or another format inside HDF5",
            )
        try:
            yield file
        except (OSError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            detail = " ".join(str(error).split())
            raise ExportError(f"'{path}' is a damaged netx file", cause=detail) from error


def _own(file: Any, path: str | os.PathLike[str]) -> dict[str, Any]:
    if OWN_KEY not in file:
        return {}
    try:
        own = json.loads(file[OWN_KEY].asstr()[()])
    except ValueError as error:
        raise ExportError(f"what snnfer wrote into '{path}' is damaged", cause=str(error)) from error
    if own.get("format_version") != FORMAT_VERSION:
        raise ExportError(
            f"'{path}' has format version {own.get('format_version')}",
            expected=str(FORMAT_VERSION),
            cause="it was written by another version of snnfer",
            fix="export the model again",
        )
    return own


def _write_layers(root: Any, graph: IntegerGraph) -> None:
    group = _next(root, "input")
    group["shape"] = np.array(graph.input_shape, np.int64)
    shape = graph.input_shape
    for layer in graph.layers:
        if layer.kind == "dense" and len(shape) == 3:
            _next(root, "flatten")["shape"] = np.array([np.prod(shape)], np.int64)
        _write_layer(_next(root, layer.kind), layer)
        shape = layer.shape


def _next(root: Any, kind: str) -> Any:
    group = root.create_group(str(len(root)))
    group.create_dataset("type", (1,), "S10", [kind.encode("ascii")])
    return group


def _write_layer(group: Any, layer: IntegerLayer) -> None:
    group["shape"] = np.array(layer.shape, np.int64)
    group.create_dataset("weight", data=layer.weight.astype(np.int64), compression="gzip", shuffle=True)
    if layer.bias.any():
        group["bias"] = layer.bias.astype(np.int64)
    if layer.kind == "conv":
        for key in ("stride", "padding", "dilation"):
            group[key] = np.array(getattr(layer, key), np.int64)
        group["groups"] = np.int64(layer.groups)
    neuron = group.create_group("neuron")
    neuron["type"] = b"CUBA"
    neuron["iDecay"] = np.int64(layer.current_decay)
    neuron["vDecay"] = np.int64(layer.voltage_decay)
    neuron["vThMant"] = np.int64(layer.threshold)


def _read_layer(group: Any, *, name: str, scale: float = 1.0, exact: bool = False) -> IntegerLayer:
    kind = text_of(group["type"])
    if kind == "dense_rec":
        raise ExportError(f"'{name}' is recurrent", expected="layers that follow each other")
    if "delay" in group and np.any(group["delay"][()]):
        raise ExportError(f"'{name}' has synaptic delays", expected="synapses without delay")
    shape = _shape(group) if kind == "conv" else (int(np.prod(_shape(group))),)
    geometry: dict[str, Any] = {}
    if kind == "conv":
        geometry = {key: pair_of(group[key], name, key) for key in ("stride", "padding", "dilation")}
        geometry["groups"] = int(group["groups"][()])
    neuron = {key: int(np.asarray(group["neuron"][key][()]).reshape(-1)[0]) for key in ("iDecay", "vDecay", "vThMant")}
    return IntegerLayer(
        name,
        "conv" if kind == "conv" else "dense",
        weight=weight_of(group, kind, shape[0]),
        bias=_bias_of(group, shape, name),
        threshold=neuron["vThMant"],
        current_decay=neuron["iDecay"],
        voltage_decay=neuron["vDecay"],
        scale=scale,
        shape=shape,
        exact=exact,
        **geometry,
    )


def _bias_of(group: Any, shape: tuple[int, ...], name: str) -> np.ndarray:
    if "bias" not in group:
        return np.zeros(shape[0], np.int32)
    bias = group["bias"][()].astype(np.int32)
    if bias.ndim == 1:
        return bias
    if (bias != bias[:1, :1]).any():  # [W, H, C]
        raise ExportError(f"'{name}' has a bias per neuron", expected="one per channel")
    return bias[0, 0]


def _shape(group: Any) -> tuple[int, ...]:
    return tuple(np.asarray(group["shape"][()]).reshape(-1).astype(np.int64).tolist())
