"""SynthAU: people who do not exist act Action Units in front of an event camera and frame cameras.

A procedural head with Waters muscles follows an acting script; a software renderer shows it to the pixel model of
`snnfer.events.emulate` and to gray, colour and depth cameras. Generation needs the ``synth`` extra.
"""

from snnfer.synth.config import PRESETS, SYNTH_AUS, SynthConfig
from snnfer.synth.generator import GENERATOR_VERSION, generate
from snnfer.synth.sheet import contact_sheet

__all__ = ["GENERATOR_VERSION", "PRESETS", "SYNTH_AUS", "SynthConfig", "contact_sheet", "generate"]
