"""Loihi-style integer networks."""

from snnfer.converters.loihi.energy import LoihiEnergy, estimate_energy
from snnfer.converters.loihi.graph import IntegerGraph, IntegerLayer
from snnfer.converters.loihi.resources import LayerResources, Resources, estimate_resources

__all__ = [
    "IntegerGraph",
    "IntegerLayer",
    "LayerResources",
    "LoihiEnergy",
    "Resources",
    "estimate_energy",
    "estimate_resources",
]
