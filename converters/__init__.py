"""From a trained network to a graph of a neuromorphic chip, to NIR, or to a spiking network."""

from snnfer.converters.ann_to_snn import ConversionReport, ann_to_snn
from snnfer.converters.certificate import Certificate, certify
from snnfer.converters.check import ExportCheck, check_export
from snnfer.converters.from_model import to_graph
from snnfer.converters.nir import from_nir, to_nir, verify_nir

__all__ = [
    "Certificate",
    "ConversionReport",
    "ExportCheck",
    "ann_to_snn",
    "certify",
    "check_export",
    "from_nir",
    "to_graph",
    "to_nir",
    "verify_nir",
]
