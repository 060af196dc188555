"""The event-camera pixel model: light in, events out.

`DvsSensor` is the one emulator of snnfer; the synthetic data set records with it. It needs the ``synth`` extra (numba).
"""

from snnfer.events.emulate.parameters import DvsParameters
from snnfer.events.emulate.sensor import DvsSensor

__all__ = ["DvsParameters", "DvsSensor"]
