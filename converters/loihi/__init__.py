"""Loihi-style integer networks."""

from snnfer.converters.loihi.graph import IntegerGraph, IntegerLayer

__all__ = ["IntegerGraph", "IntegerLayer"]
