"""From a trained spiking network to a netx file whose certificate says what it computes."""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from snnfer.converters.certificate import Certificate, certify
from snnfer.converters.from_model import to_graph
from snnfer.converters.lava.netx import write_netx
from snnfer.converters.lava.simulate import compare
from snnfer.converters.loihi.quantise import quantise


def to_lava(
    model: nn.Module,
    path: str | os.PathLike[str],
    *,
    sample: torch.Tensor,
    labels: torch.Tensor | None = None,
    lengths: torch.Tensor | None = None,
    calibration: torch.Tensor | None = None,
    weight_bits: int = 8,
    graded: bool = False,
    allow_approximate: bool = False,
    verify: bool = False,
    metadata: Mapping[str, Any] | None = None,
) -> Certificate:
    """Fold, quantise and certify a network, and write it as a netx file.

    Args:
        model: A spiking network; it is certified in evaluation mode, whatever mode it has.
        path: File to write, usually ``.net``.
        sample: Clips ``[T, N, C, H, W]`` of people whom the network has not seen, for the certificate.
        labels, lengths: Their classes and valid steps ``[N]``.
        calibration: Clips of training subjects ``[T, N, C, H, W]`` that keep the accumulators within 24 bits; without
            them nothing is adapted, and the certificate says whether anything overflowed.
        weight_bits: Bits of a weight, 2 to 8.
        graded: Whether inputs are whole numbers up to 255 (Loihi 2) instead of spikes.
        allow_approximate: Whether layers without an exact counterpart are exported too, with their error measured.
        verify: Whether lava runs the file as well, its mismatches and accuracy going into the certificate.
        metadata: Further facts for the file, as JSON.

    Returns:
        The certificate, which the file holds too (`read_certificate`).

    Raises:
        ConversionError: a module is unknown.
        ExportError: a layer cannot be represented, or netx would change it.
        ShapeError: clips, labels or lengths do not fit the network or each other.
        MissingExtraError: `verify` without an environment of lava.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from snnfer.converters.lava.netx import read_netx
        >>> from snnfer.models import create_model
        >>> model = create_model("au_snn", n_classes=3, size=(16, 16), channels=4, hidden=8, votes=2).eval()
        >>> sample = torch.rand(6, 4, 2, 16, 16, generator=torch.Generator().manual_seed(0)) < 0.2
        >>> path = Path(tempfile.mkdtemp()) / "net.net"
        >>> certificate = to_lava(model, path, sample=sample)
        >>> certificate.graph_error < 1e-6, len(read_netx(path).layers)
        (True, 6)
    """
    graph = to_graph(model)
    integer = quantise(
        graph, weight_bits=weight_bits, graded=graded, allow_approximate=allow_approximate, calibration=calibration
    )
    integer = replace(integer, metadata={**integer.metadata, **(metadata or {})})
    certificate = certify(model, graph, integer, sample, labels, lengths=lengths, graded=graded)
    write_netx(integer, path, certificate=certificate.to_dict())
    if not verify:
        return certificate
    found = compare(path, sample, graded=graded)
    accuracy = None
    if labels is not None:
        accuracy = float((found.lava_scores(lengths).argmax(1) == labels.cpu()).double().mean())
    certificate = certificate.with_simulator(accuracy=accuracy, mismatches=found.n_mismatches)
    write_netx(integer, path, certificate=certificate.to_dict())
    return certificate
