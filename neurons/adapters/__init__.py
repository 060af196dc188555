"""Neurons of spikingjelly and norse inside snnfer models, and snnfer neurons inside theirs.

Neither library is needed to import this package; the functions that need one say which extra installs it.
"""

from snnfer.neurons.adapters.norse import FromNorse, ToNorse, from_norse, to_norse
from snnfer.neurons.adapters.spikingjelly import FromSpikingJelly, from_spikingjelly, to_spikingjelly

__all__ = [
    "FromNorse",
    "FromSpikingJelly",
    "ToNorse",
    "from_norse",
    "from_spikingjelly",
    "to_norse",
    "to_spikingjelly",
]
