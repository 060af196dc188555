"""From a trained network to a graph of a neuromorphic chip, to NIR, or to a spiking network."""

from snnfer.converters.nir import from_nir, to_nir, verify_nir

__all__ = ["from_nir", "to_nir", "verify_nir"]
