"""From a trained network to a graph of a neuromorphic chip, NIR, a spiking network, or a network of another library."""

from snnfer.converters.ann_to_snn import ConversionReport, ann_to_snn
from snnfer.converters.certificate import Certificate, certify
from snnfer.converters.check import ExportCheck, check_export
from snnfer.converters.exchange import copy_weights, from_norse, from_spikingjelly, to_norse, to_spikingjelly
from snnfer.converters.from_model import to_graph
from snnfer.converters.nir import from_nir, to_nir, verify_nir

__all__ = [
    "Certificate",
    "ConversionReport",
    "ExportCheck",
    "ann_to_snn",
    "certify",
    "check_export",
    "copy_weights",
    "from_nir",
    "from_norse",
    "from_spikingjelly",
    "to_graph",
    "to_nir",
    "to_norse",
    "to_spikingjelly",
    "verify_nir",
]
