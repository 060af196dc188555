"""What ``snnfer convert --method sigma-delta`` writes beside the model folder: the graph file for lava and Loihi 2."""

from dataclasses import replace
from pathlib import Path
from typing import Any

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
