"""What the exporters of other libraries make of au_snn, and what other libraries make of snnfer's file.

    python benchmarks/nir_exporters.py [--size 16] [--steps 20] [--model DIR --data DIR]

The same network (convolution, batch normalisation, PLIF, max pooling, twice; dropout, fully connected, PLIF, twice; a
vote) is built from the modules of spikingjelly and of snnTorch, with the weights of snnfer's, and given to their own
exporters; every spike of the copies is compared with the original first. Then one part after the other is taken out, in
the order in which exporters stumble, until a file comes out; files are read by three importers, and the spikes of the
last layer compared with those of the network that was exported. ``lava_exchange`` needs lava-dl beside torch: it is
taken from the environment that ``snnfer simulate --setup-lava`` builds.
"""

import argparse
import contextlib
import importlib.metadata
import io
import logging
import platform
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from nir_copies import in_snntorch, in_spikingjelly, settled, steps
from torch import nn

from snnfer.converters.lava import worker
from snnfer.converters.lava.environment import find_lava_python
from snnfer.converters.nir import libraries
from snnfer.converters.nir.export import PORTABLE_DT_S, to_nir
from snnfer.converters.nir.reading import chain_of
from snnfer.converters.nir.spikes import spikes_of
from snnfer.converters.nir.verify import NirVerification, verify_nir

READERS = ("spikingjelly", "norse", "snntorch")
NIR_PARTS = ("voting", "dropout", "batch normalisation", "max pooling", "pooling")
"""What is taken out, in this order: left out, folded, replaced by average pooling, left out."""
LAVA_PARTS = ("voting", "dropout", "batch normalisation", "max pooling", "biases", "learned time constants", "pooling")
"""The same for ``lava_exchange``; without biases it is another network."""


@dataclass
class Row:
    """What one exporter makes of one network."""

    exporter: str
    network: str
    outcome: str
    read_by: dict[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the notes of other libraries."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def reason(error: BaseException) -> str:
    """An error in one line."""
    text = " ".join(str(error).split()).replace("|", "/") or "no message"
    return f"{type(error).__name__}: {text[:110]}{'...' if len(text) > 110 else ''}"


def read_everywhere(graph: Any, x: torch.Tensor, expected: torch.Tensor) -> dict[str, str]:
    """Share of the last layer's spikes that differ in each importer, which reads the graph from a file."""
    import nir

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.nir"
        nir.write(path, graph)
        graph = nir.read(path)
    last = chain_of(graph)[-2]
    found = {}
    for reader in READERS:
        try:
            spikes = libraries.run_library(reader, graph, x, [last], dt_s=PORTABLE_DT_S)[last]
            found[reader] = f"{(spikes.reshape(expected.shape) != expected.bool()).float().mean():.3%}"
        except Exception as error:
            found[reader] = reason(error.__cause__ or error)
    return found


def try_exporter(
    name: str, network: str, build: Callable[[], nn.Sequential], export: Callable[[nn.Sequential], Any], x: torch.Tensor
) -> Row:
    """One row: build, export, and read what comes out."""
    with quiet():
        try:
            graph = export(build())
        except Exception as error:
            return Row(name, network, reason(error))
        return Row(name, network, "written", read_everywhere(graph, x, steps(build(), x)))


CHANGES = {
    "max pooling": "average pooling instead of max",
    "learned time constants": "fixed instead of learned time constants",
}


def removals(parts: tuple[str, ...]) -> Iterator[tuple[str, set[str]]]:
    """Networks with one part less each time, and what they are called."""
    yield "whole", set()
    for i, part in enumerate(parts):
        yield ("and " if i else "") + CHANGES.get(part, f"without {part}"), set(parts[: i + 1])


def nir_rows(model: nn.Module, x: torch.Tensor) -> list[Row]:
    """Exporters to NIR of spikingjelly and snnTorch."""
    from snntorch.export_nir import export_to_nir
    from spikingjelly.activation_based import nir_exchange

    rows = []
    for name, without in removals(NIR_PARTS):
        rows.append(
            try_exporter(
                "spikingjelly nir_exchange", name, lambda w=without: in_spikingjelly(model, w),
                lambda net: nir_exchange.export_to_nir(net, x[0, :1], dt=PORTABLE_DT_S), x,
            )
        )  # fmt: skip
    for name, without in removals(NIR_PARTS[1:]):
        rows.append(
            try_exporter(
                "snnTorch export_to_nir", "whole, but for voting" if not without else name,
                lambda w=without: in_snntorch(model, w), lambda net: export_to_nir(net, x[0, :1], ignore_dims=[0]), x,
            )
        )  # fmt: skip
    return rows


def add_lava() -> str:
    """Make lava-dl of its own environment importable beside torch; returns its version."""
    python = find_lava_python()
    site = next((Path(python).parent.parent / "lib").glob("python*/site-packages"))
    folder = Path(tempfile.mkdtemp())
    for package in ("lava", "asteval", "networkx"):
        (folder / package).symlink_to(site / package)
    sys.path.append(str(folder))
    worker._tolerate_start_method()
    worker._make_defaults_hashable()
    sys.modules["lava.lib.dl.slayer.object_detection"] = type(sys)("object_detection")  # needs torchvision and cv2
    worker._repair_reshape()
    return next(importlib.metadata.distributions(name="lava-dl", path=[str(site)])).version


def lava_rows(model: nn.Module) -> list[Row]:
    """``lava_exchange`` of spikingjelly: to blocks of slayer, and from them to netx."""
    from spikingjelly.activation_based import functional, lava_exchange

    rows = []
    for name, without in removals(LAVA_PARTS):
        with quiet():
            network = in_spikingjelly(model, without)
            functional.set_step_mode(network, "m")
            try:
                blocks = lava_exchange.to_lava_blocks(network)
                outcome = f"{len(blocks)} blocks"
            except Exception as error:
                outcome = reason(error)
        rows.append(Row("spikingjelly lava_exchange", name, outcome))
    return rows


def in_sinabs(graph: Any, x: torch.Tensor, expected: torch.Tensor) -> str:
    """Share of the last layer's spikes that differ in sinabs."""
    import sinabs.nir

    try:
        with quiet(), torch.inference_mode():
            network = sinabs.nir.from_nir(graph, batch_size=x.shape[1])
            y, _ = network(x.transpose(0, 1).flatten(0, 1))  # [N * T, C, H, W], as its layers are squeezed
        spikes = y.unflatten(0, (x.shape[1], -1)).transpose(0, 1)
        return f"{(spikes.bool() != expected).float().mean():.3%} of the last layer differ"
    except Exception as error:
        return reason(error)


def trained_rows(folder: str, data: str) -> list[str]:
    """snnfer's file of a trained network on clips of a data set."""
    from snnfer.cli._export_input import load_clips, load_exported

    exported = load_exported(folder)
    clips = load_clips(exported, data)
    graph, x = to_nir(exported.model), clips.x
    found = [verify_nir(graph, x, reader, model=exported.model) for reader in READERS]
    config: Any = exported.model.config
    return [
        f"{config['name']} as published, {config['size'][0]} x {config['size'][1]} pixels, trained on SynthAU, on "
        f"{x.shape[1]} clips of {x.shape[0]} steps of a person who was held out ({', '.join(clips.subjects)}):",
        "",
        *ours_table(found),
        "",
    ]


def ours_table(found: list[NirVerification]) -> list[str]:
    """What readers made of snnfer's file."""
    rows = (f"| {o.library} | {o.n_updates:,} | {o.n_mismatches} ({o.n_mismatches / o.n_updates:.3%}) |" for o in found)
    return ["| read by | spikes compared | differ |", "|---|---|---|", *rows]


def check_copies(model: Any, x: torch.Tensor) -> tuple[int, int]:
    """Spikes of the last layer that the copies in spikingjelly and snnTorch do not share with the original."""
    expected = spikes_of(model, x)["layers.fc2.neuron"]
    with quiet():
        return tuple(
            int((steps(build(model, {"voting"}), x).bool() != expected).sum())
            for build in (in_spikingjelly, in_snntorch)
        )


def table(rows: list[Row]) -> list[str]:
    lines = ["| exporter | network | outcome | " + " | ".join(READERS) + " |", "|---|---|---|" + "---|" * len(READERS)]
    for row in rows:
        read = " | ".join(row.read_by.get(reader, "") for reader in READERS)
        lines.append(f"| {row.exporter} | {row.network} | {row.outcome} | {read} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--model", help="model folder made by 'snnfer train', to be compared on clips of --data too")
    parser.add_argument("--data", help="data set with clips of people whom it has not seen")
    parser.add_argument("--out", default="benchmarks/results/nir_exporters.md")
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    lava_version = add_lava()
    model, x = settled(args.size, args.steps)
    copies = check_copies(model, x)
    assert copies == (0, 0), f"the copies are no copies: {copies}"
    graph = to_nir(model)
    ours = [verify_nir(graph, x, reader, model=model) for reader in READERS]
    last = spikes_of(model, x)["layers.fc2.neuron"]
    rows = [*nir_rows(model, x), *lava_rows(model)]
    sinabs_found = in_sinabs(to_nir(model), x, last)
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in (*READERS, "sinabs", "nir", "nirtorch")
    )
    more = " --model DIR --data DIR" if args.model else ""
    lines = [
        "# NIR: au_snn in the exporters of other libraries, and in ours",
        "",
        f"`python benchmarks/nir_exporters.py --size {args.size} --steps {args.steps}{more}`: au_snn with 8 channels "
        f"and 64 hidden neurons on {args.size} x {args.size} pixels, 2 clips of {args.steps} steps of random counts; "
        f"its last layer fires {last.float().mean():.3f} spikes per neuron and step.",
        f"Python {platform.python_version()}, torch {torch.__version__}, {versions}, lava-dl {lava_version}.",
        "",
        "## snnfer's file, the whole network",
        "",
        "Batch normalisation, max pooling and learned time constants included; spikes of all four layers compared.",
        "",
        *ours_table(ours),
        f"| sinabs {importlib.metadata.version('sinabs')} | | {sinabs_found} |",
        "",
        "sinabs gives every neuron a soft reset and an exponential leak, and takes time constants for numbers of "
        "steps: no file can make it compute this network.",
        "",
        *(trained_rows(args.model, args.data) if args.model else []),
        "## Other exporters, the same network",
        "",
        "Copies of the network in the modules of spikingjelly and snnTorch fire the same spikes as the original. "
        "The last three columns: spikes of the last layer that differ when the file is read, or why it is not. An "
        "error of `lava_exchange` names the layer behind which it did not find what it takes (IF or LIF neurons, no "
        "biases); what came out has not been loaded by netx.",
        "",
        *table(rows),
        "",
    ]  # fmt: skip
    Path(args.out).write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
