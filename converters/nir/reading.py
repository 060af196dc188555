"""Files of NIR and the chains in them."""

import os
from typing import Any

from snnfer._optional import require
from snnfer.errors import ConversionError


def read_nir(source: str | os.PathLike[str] | Any) -> Any:
    """The ``nir.NIRGraph`` of a file, or `source` itself where it is one.

    Raises:
        ConversionError: there is no such file, or it holds no graph.
    """
    nir = require("nir", extra="nir")
    if isinstance(source, nir.NIRGraph):
        return source
    if not isinstance(source, str | os.PathLike):
        raise ConversionError(f"a {type(source).__name__}", expected="a file of NIR or a nir.NIRGraph")
    if not os.path.isfile(source):
        raise ConversionError(f"there is no file '{source}'", expected="a file of NIR (HDF5)")
    try:
        return nir.read(source)
    except Exception as error:  # h5py and nir raise whatever the damaged place leads to
        raise ConversionError(
            f"'{source}' cannot be read as NIR ({type(error).__name__}: {error})",
            expected="a file written by nir.write",
            cause="a truncated file, or HDF5 of another kind such as netx",
            fix="export it again",
        ) from error


def duration_of_step(graph: Any, dt_s: float | None = None) -> float:
    """`dt_s`, or what the metadata of the graph say.

    Raises:
        ConversionError: neither is there.
    """
    value = graph.metadata.get("dt_s") if dt_s is None else dt_s
    if value is None:
        raise ConversionError(
            "the NIR graph does not say how long a step lasts",
            cause="it was written by another library",
            fix="pass dt_s (1e-4 for files of spikingjelly and snnTorch)",
        )
    if not float(value) > 0:
        raise ConversionError(f"a step of the NIR graph lasts {float(value):g} s", expected="a duration above zero")
    return float(value)


def input_shape_of(graph: Any) -> tuple[int, ...]:
    """Shape ``(C, H, W)`` of one step of the input.

    Raises:
        ConversionError: the graph is no chain, or reads something else.
    """
    known = graph.nodes[chain_of(graph)[0]].input_type["input"]
    shape = tuple(int(n) for n in known) if known is not None else ()
    if len(shape) != 3:
        raise ConversionError(f"the NIR graph reads inputs of shape {list(shape)}", expected="maps (C, H, W)")
    return shape


def chain_of(graph: Any) -> list[str]:
    """Names of the nodes from input to output.

    Raises:
        ConversionError: the graph branches, is recurrent, or has not one input and one output.
    """
    for kind, ends in (("inputs", graph.inputs), ("outputs", graph.outputs)):
        if len(ends) != 1:
            raise ConversionError(f"the NIR graph has {len(ends)} {kind}", expected="one")
    following: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for before, after in graph.edges:
        following[before].append(after)
    chain = list(graph.inputs)
    end = next(iter(graph.outputs))
    while chain[-1] != end:
        after = following[chain[-1]]
        if len(after) != 1 or after[0] in chain:
            found = "is recurrent" if any(name in chain for name in after) else f"goes on to {len(after)} nodes"
            raise ConversionError(f"the NIR node '{chain[-1]}' {found}", expected="a chain of nodes")
        chain.append(after[0])
    if apart := set(graph.nodes) - set(chain):
        raise ConversionError(f"the NIR node '{min(apart)}' is not between input and output", expected="a chain")
    return chain


def module_name(name: str) -> str:
    """Name of a node as a member of a torch module."""
    return name.replace(".", "_")
