"""``snnfer simulate`` of a sigma-delta file."""

import argparse
from typing import Any


def run_sigma_delta_file(args: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Read the file, run it on clips, print; returns values for JSON and the exit code."""
    from snnfer.cli.simulate import print_certificate, read_for_file
    from snnfer.converters.lava.sigma_delta_file import read_sigma_delta, read_sigma_delta_certificate

    graph = read_sigma_delta(args.net)
    clips = read_for_file(args, graph)
    print_certificate(read_sigma_delta_certificate(args.net))
    x = hold_last(clips.x, clips.lengths)
    return (_run_lava if args.engine == "lava" else _run_twin)(args, graph, clips, x)


def hold_last(x: Any, lengths: Any) -> Any:
    """Clips ``[T, N, *]`` whose steps behind their length show the last valid one: nothing changes, nothing is sent."""
    import torch

    steps = torch.minimum(torch.arange(len(x))[:, None], lengths - 1)  # [T, N]
    return x[steps, torch.arange(x.shape[1])]


def _run_twin(args: argparse.Namespace, graph: Any, clips: Any, x: Any) -> tuple[dict[str, Any], int]:
    """The twin alone: what each layer did, and the accuracy."""
    import time

    from snnfer.converters.loihi.sigma_delta_twin import run_sigma_delta

    started = time.perf_counter()
    result = run_sigma_delta(graph, x, mode="free_running")
    seconds = time.perf_counter() - started
    frames = int(clips.lengths.sum())
    layers = [
        {
            "name": item.name,
            "neurons": item.neuron_steps // ((len(x) + len(graph.layers)) * x.shape[1]),
            "messages": item.messages,
            "messages_per_frame": item.messages / frames,
            "synaptic_operations": item.synaptic_operations,
            "peak": item.peak_accumulator / 2**23,
            "largest_message": item.peak_message,
            "overflows": item.overflows,
        }
        for item in result.activity
    ]
    print(_table(layers))
    share = _accuracy(result.output, clips)
    print(f"{_text(share)}; {frames / seconds:,.0f} frames per second")
    return {"engine": "twin", "layers": layers, "accuracy": share, "frames": frames, "seconds": seconds}, 0


def _run_lava(args: argparse.Namespace, graph: Any, clips: Any, x: Any) -> tuple[dict[str, Any], int]:
    """Lava and the twin, message for message."""
    from snnfer.cli.simulate import check_memory
    from snnfer.converters.lava.sigma_delta_compare import compare_sigma_delta

    check_memory(graph, clips, value_bytes=4)
    result = compare_sigma_delta(args.net, x, graph=graph)
    print(result.table())
    twin, lava = _accuracy(result.twin.output, clips), _accuracy(result.lava_output, clips)
    print(f"twin: {_text(twin)}; lava: {_text(lava)}")
    values = {"engine": "lava", **result.to_dict(), "accuracy_twin": twin, "accuracy_lava": lava}
    return values, int(result.first is not None)


def _accuracy(output: Any, clips: Any) -> float | None:
    """Share of clips whose class has the highest mean score over their valid steps; None where maps come out."""
    from snnfer.cli.simulate import accuracy
    from snnfer.models._input import time_mean

    return accuracy(time_mean(output, clips.lengths), clips.labels) if output.ndim == 3 else None


def _text(share: float | None) -> str:
    return "no accuracy, because the file ends in maps" if share is None else f"accuracy {share:.1%}"


def _table(layers: list[dict[str, Any]]) -> str:
    """One line per layer."""
    width = max(len("layer"), *(len(layer["name"]) for layer in layers))
    lines = [
        f"{'layer':<{width}} {'neurons':>9} {'messages':>12} {'per frame':>10} {'synaptic operations':>20} {'peak':>8}"
    ]
    for layer in layers:
        lines.append(
            f"{layer['name']:<{width}} {layer['neurons']:>9,} {layer['messages']:>12,} "
            f"{layer['messages_per_frame']:>10,.0f} {layer['synaptic_operations']:>20,} {layer['peak']:>8.2%}"
        )
    overflows = sum(layer["overflows"] for layer in layers)
    return "\n".join([*lines, f"{overflows:,} overflows; peak is the share of 24 bits"])
