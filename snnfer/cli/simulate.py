"""``snnfer simulate``: run an exported file, on the integer twin or on lava."""

import argparse
import math
from typing import Any

from snnfer._words import count
from snnfer.cli._export_input import add_data_arguments
from snnfer.errors import ConfigError

MEMORY = 1 << 31
"""Bytes of recorded spikes that a comparison may hold, per engine."""


def add_commands(subparsers: argparse._SubParsersAction) -> None:
    """Add ``simulate``."""
    parser = subparsers.add_parser(
        "simulate",
        help="run an exported network on the integer twin or on lava",
        description="Runs a netx or sigma-delta file on clips that the model was not trained on. The twin computes "
        "what a chip does, bit for bit; the engine lava runs Intel's own fixed-point simulator as well and compares "
        "every spike or message of every layer: zero mismatches, or the layer and the step of the first one (exit "
        "code 1).",
    )
    parser.add_argument("net", nargs="?",
                        help="file made by 'snnfer export lava' or 'snnfer convert --method sigma-delta'")  # fmt: skip
    add_data_arguments(parser)
    parser.add_argument("--steps", type=int, metavar="N", help="first steps of each clip (default: all)")
    parser.add_argument("--engine", choices=("twin", "lava"), default="twin", help="simulator (default: twin)")
    parser.add_argument("--json", metavar="FILE", help="write the result as JSON")
    parser.add_argument("--setup-lava", action="store_true",
                        help="build lava's own environment in the cache, once (331 MB)")  # fmt: skip
    parser.set_defaults(run=simulate)


def simulate(args: argparse.Namespace) -> int:
    """Set lava up, run the file, print and write what was asked for."""
    from snnfer._files import check_target, write_json

    if args.json:
        check_target(args.json)
    if args.setup_lava:
        from snnfer.converters.lava.environment import build_lava_environment

        print("building the environment of lava, unless it is there ...", flush=True)
        print(f"lava runs in {build_lava_environment()}")
        if args.net is None:
            return 0
    if args.net is None:
        raise ConfigError("no file to simulate", fix="name a netx file, or give --setup-lava alone")
    if args.data is None:
        raise ConfigError("no --data", expected="a data set to run the network on", fix="add --data DIR")
    if args.steps is not None and args.steps < 1:
        raise ConfigError(f"--steps {args.steps}", expected="a number above 0")
    values, code = run_engine(args)
    if args.json:
        write_json(args.json, values)
        print(f"result: {args.json}")
    return code


def run_engine(args: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Run and print; returns values for JSON and the exit code."""
    from snnfer.cli._simulate_sigma_delta import run_sigma_delta_file
    from snnfer.converters.lava.environment import find_lava_python
    from snnfer.converters.lava.netx import read_certificate, read_netx
    from snnfer.converters.lava.sigma_delta_file import is_sigma_delta

    if args.engine == "lava":
        find_lava_python()  # says at once that there is none
    if is_sigma_delta(args.net):
        return run_sigma_delta_file(args)
    graph = read_netx(args.net)
    clips = read_for_file(args, graph)
    print_certificate(read_certificate(args.net))
    graded = bool(graph.metadata.get("message_bits"))
    return (run_lava if args.engine == "lava" else run_twin)(args, graph, clips, graded)


def read_for_file(args: argparse.Namespace, graph: Any) -> Any:
    """The clips that a file is run on; says which."""
    import dataclasses

    from snnfer.cli._export_input import load_clips
    from snnfer.cli._netx_metadata import source_of

    clips = load_clips(source_of(graph.metadata, args.net), args.data, n_clips=args.clips)
    if args.steps is not None:
        clips = dataclasses.replace(clips, x=clips.x[: args.steps], lengths=clips.lengths.clamp(max=args.steps))
    steps, n_clips = clips.x.shape[:2]
    whom = f"{count(n_clips, 'clip')} of {', '.join(clips.subjects)}"
    print(f"{args.net}: {count(len(graph.layers), 'layer')}, {whom}, {count(steps, 'step')} each")
    return clips


def print_certificate(certificate: Any) -> None:
    """One line of what the file says of itself: accuracies, on what; another where layers sent no spikes."""
    from snnfer.converters._silence import warn_of_silence

    if not certificate:
        print("certificate: none in the file")
        return
    is_clips = "accuracy_float" in certificate
    names = ("ann_accuracy", "accuracy", "agreement")
    if is_clips:
        names = ("accuracy_float", "accuracy_integer", "same_prediction")
    values = dict(zip(("float", "integer", "same prediction"), map(certificate.get, names), strict=True))
    parts = [f"{word} {value:.1%}" for word, value in values.items() if value is not None]
    number = count(certificate["n_samples"], "clip") if is_clips else count(certificate["n_evaluation"], "image")
    print(f"certificate of {number}: {', '.join(parts)}")
    if warning := warn_of_silence(certificate.get("silent_layers", ()), len(certificate.get("layers", ()))):
        print(warning)


def run_twin(args: argparse.Namespace, graph: Any, clips: Any, graded: bool) -> tuple[dict[str, Any], int]:
    """The twin alone: what each layer did, and the accuracy."""
    import time

    from snnfer.converters.loihi.twin import run_twin

    started = time.perf_counter()
    result = run_twin(graph, clips.x, graded=graded, record="output")
    seconds = time.perf_counter() - started
    frames = clips.x.shape[0] * clips.x.shape[1]
    layers = [
        {
            "name": layer.name,
            "neurons": layer.n_neurons,
            "spikes": layer.n_spikes,
            "rate": layer.n_spikes / (layer.n_neurons * frames),
            "synaptic_operations": layer.synaptic_operations,
            "peak": layer.peak,
            "wraps": layer.wraps,
            "clips": layer.clips,
        }
        for layer in result.layers
    ]
    print(twin_table(layers))
    share = accuracy(result.scores(clips.lengths), clips.labels)
    print(f"accuracy {share:.1%}; {frames / seconds:,.0f} frames per second")
    return {"engine": "twin", "layers": layers, "accuracy": share, "frames": frames, "seconds": seconds}, 0


def run_lava(args: argparse.Namespace, graph: Any, clips: Any, graded: bool) -> tuple[dict[str, Any], int]:
    """Lava and the twin, spike for spike."""
    from snnfer.converters.lava.simulate import compare

    check_memory(graph, clips)
    result = compare(args.net, clips.x, graded=graded, graph=graph)
    print(result.table())
    twin = accuracy(result.twin.scores(clips.lengths), clips.labels)
    lava = accuracy(result.lava_scores(clips.lengths), clips.labels)
    print(f"accuracy: twin {twin:.1%}, lava {lava:.1%}")
    values = {"engine": "lava", **result.to_dict(), "accuracy_twin": twin, "accuracy_lava": lava}
    return values, int(result.first is not None)


def check_memory(graph: Any, clips: Any, *, value_bytes: int = 1) -> None:
    """Raise `ConfigError` where what all layers send, `value_bytes` each, does not fit into memory."""
    n_steps, n_clips = clips.x.shape[:2]
    per_clip = n_steps * value_bytes * sum(math.prod(layer.shape) for layer in graph.layers)
    if per_clip * n_clips > MEMORY:
        raise ConfigError(
            f"{count(n_clips, 'clip')} would make {per_clip * n_clips / 2**30:.1f} GB of spikes to compare",
            fix=f"compare fewer, --clips {max(1, MEMORY // per_clip)}",
        )


def twin_table(layers: list[dict[str, Any]]) -> str:
    """One line per layer."""
    width = max(len("layer"), *(len(layer["name"]) for layer in layers))
    lines = [f"{'layer':<{width}} {'neurons':>9} {'spikes':>12} {'rate':>7} {'synaptic operations':>20} {'peak':>8}"]
    for layer in layers:
        lines.append(
            f"{layer['name']:<{width}} {layer['neurons']:>9,} {layer['spikes']:>12,} {layer['rate']:>7.2%} "
            f"{layer['synaptic_operations']:>20,} {layer['peak']:>8.2%}"
        )
    overflows = sum(layer["wraps"] + layer["clips"] for layer in layers)
    return "\n".join([*lines, f"{overflows:,} overflows; peak is the share of 24 bits"])


def accuracy(scores: Any, labels: Any) -> float:
    """Share of clips whose class has the highest score."""
    return float((scores.argmax(1).cpu() == labels).double().mean())
