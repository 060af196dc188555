"""What is particular to ``snnfer convert --method sigma-delta``: the graph file, and encoders without classifier."""

import argparse
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from snnfer._words import count
from snnfer.errors import ConfigError

BATCH = 32
GRAPH_FILE = "network.net"
REPORT_FILE = "report.json"


def save_graph(folder: str, exported: Any, snn: Any, values: dict[str, Any]) -> None:
    """Write the file with its certificate, and the certificate beside it; says what reads the file.

    Args:
        folder: Where to.
        exported: The network without spikes.
        snn: The `SigmaDeltaSNN` that was made of it.
        values: The certificate.
    """
    from snnfer._files import write_json
    from snnfer.cli._netx_metadata import describe_training
    from snnfer.converters.lava.sigma_delta_file import write_sigma_delta

    graph = replace(snn.graph, metadata=describe_training(exported))
    write_sigma_delta(graph, Path(folder, GRAPH_FILE), certificate=values)
    write_json(Path(folder, REPORT_FILE), values)
    print(f"graph file, for 'snnfer simulate': {folder}/{GRAPH_FILE}")
    print(f"certificate: {folder}/{REPORT_FILE}, and in the file")
    if not graph.fits_netx:
        exponents = sorted({layer.state_exp for layer in graph.layers})
        print(
            f"its layers have state exponents of {exponents[0]} to {exponents[-1]}: an unmodified netx gives all of "
            "them 6 and computes something else"
        )


def convert_encoder(
    args: argparse.Namespace, exported: Any, calibration: Any, measured: Any, labels: Any, where: str
) -> int:
    """Convert the encoder alone, measure the classifier in floats on top of it, and write file and certificate."""
    from snnfer._files import write_json
    from snnfer.converters.ann_to_snn import ann_to_snn

    encoder = _encoder_of(exported)
    snn, report = ann_to_snn(encoder, calibration=calibration, evaluation=measured, method="sigma_delta")
    print(f"encoder of {exported.name}: ranges from {count(len(calibration), 'image')} of training subjects; {where}\n")
    print(report.table())
    on_top = _measure_on_top(exported.model, snn, measured, labels)
    print(
        f"the classifier in floats on top: accuracy {on_top['ann_accuracy']:.1%}, on the integers "
        f"{on_top['accuracy']:.1%}; same prediction {on_top['agreement']:.1%}"
    )
    values = {"model": args.model, "part": "encoder", "measured_on": where, **report.to_dict(), **on_top}
    save_graph(args.out, exported, snn, values)
    print(
        "the classifier stays outside: snnfer.converters.loihi.sigma_delta_report.SigmaDeltaEncoder puts the file in "
        "the place of its encoder"
    )
    if args.json:
        write_json(args.json, values)
        print(f"report: {args.json}")
    return 0


def _encoder_of(exported: Any) -> Any:
    from snnfer.models import WindowClassifier

    if not isinstance(exported.model, WindowClassifier):
        raise ConfigError(
            f"--part encoder of '{exported.name}'",
            expected="a classifier of windows with an encoder, such as evtransfer_lstm",
            fix="convert the whole network: leave --part out",
        )
    return exported.model.encoder


def _measure_on_top(model: Any, snn: Any, images: Any, labels: Any) -> dict[str, float]:
    """Accuracy of a classifier on its own encoder and on `snn`, each image a clip of one step, and their agreement."""
    import torch

    from snnfer.converters.loihi.sigma_delta_report import SigmaDeltaEncoder

    integer = deepcopy(model)
    integer.encoder = SigmaDeltaEncoder(snn.graph, config=model.encoder.config)
    with torch.no_grad():
        wanted, found = (
            torch.cat([network(batch[None]).argmax(1) for batch in images.split(BATCH)]) for network in (model, integer)
        )
    shares = {"ann_accuracy": wanted == labels, "accuracy": found == labels, "agreement": found == wanted}
    return {name: float(right.double().mean()) for name, right in shares.items()}
