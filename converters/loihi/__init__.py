"""Loihi-style integer networks."""

from snnfer.converters.loihi.energy import LoihiEnergy, estimate_energy
from snnfer.converters.loihi.graph import IntegerGraph, IntegerLayer
from snnfer.converters.loihi.quantise import quantise
from snnfer.converters.loihi.resources import LayerResources, Resources, estimate_resources
from snnfer.converters.loihi.twin import LayerTrace, TwinResult, run_twin

__all__ = [
    "IntegerGraph",
    "IntegerLayer",
    "LayerResources",
    "LayerTrace",
    "LoihiEnergy",
    "Resources",
    "TwinResult",
    "estimate_energy",
    "estimate_resources",
    "quantise",
    "run_twin",
]
