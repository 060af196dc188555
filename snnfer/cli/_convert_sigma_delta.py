"""``snnfer convert --method sigma-delta``: a trained network as integers whose neurons send changes."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

BATCH = 32
GRAPH_FILE = "network.net"
REPORT_FILE = "report.json"


def convert_sigma_delta(
    args: argparse.Namespace, exported: Any, calibration: Any, measured: Any, labels: Any, where: str
) -> int:
    """Convert, print errors per layer and accuracies, and write graph file and report into ``args.out``."""
    from snnfer._files import write_json
    from snnfer.converters.from_model import to_graph
    from snnfer.converters.lava.sigma_delta_file import write_sigma_delta
    from snnfer.converters.loihi.sigma_delta import sigma_delta
    from snnfer.converters.loihi.sigma_delta_report import report_sigma_delta
    from snnfer.converters.passes import drop_idle, equalise, fold_affine

    graph = equalise(fold_affine(drop_idle(to_graph(exported.model))))  # one scale per layer then fits all channels
    integer = sigma_delta(graph, calibration=calibration[None])  # [1, M, C, H, W]: each image is a clip of one step
    report = report_sigma_delta(graph, integer, measured[None], batch_size=BATCH)
    accuracies = {
        "float_accuracy": _share(_float_scores(exported.model, measured), labels),
        "integer_accuracy": _share(report.output[0], labels),
    }
    values = {"model": args.model, "method": args.method, "measured_on": where, **accuracies, **report.to_dict()}
    integer = dataclasses.replace(integer, metadata={**integer.metadata, "certificate": values})
    print(f"{exported.name}: ranges from {len(calibration)} images of training subjects; {where}\n")
    print(report.table())
    print(
        f"\naccuracy of {len(measured)} images: float {accuracies['float_accuracy']:.1%}, "
        f"integer {accuracies['integer_accuracy']:.1%}; "
        f"{sum(layer.messages for layer in report.layers):,.0f} messages and "
        f"{sum(layer.synaptic_operations for layer in report.layers):,.0f} synaptic operations per image"
    )
    write_sigma_delta(integer, Path(args.out, GRAPH_FILE))
    write_json(Path(args.out, REPORT_FILE), values)
    print(
        f"graph: {args.out}/{GRAPH_FILE} (netx with a state exponent per layer: an unmodified netx computes otherwise)"
    )
    if args.json:
        write_json(args.json, values)
        print(f"report: {args.json}")
    return 0


def _float_scores(model: Any, images: Any) -> Any:
    import torch

    with torch.no_grad():
        return torch.cat([model(batch[None]) for batch in images.split(BATCH)])


def _share(scores: Any, labels: Any) -> float:
    return float((scores.argmax(1) == labels).float().mean())
