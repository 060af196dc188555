"""From a trained network to a graph of a neuromorphic chip, to NIR, or to a spiking network."""

from snnfer.converters.ann_to_snn import ConversionReport, ann_to_snn
from snnfer.converters.nir import from_nir, to_nir, verify_nir

__all__ = ["ConversionReport", "ann_to_snn", "from_nir", "to_nir", "verify_nir"]
