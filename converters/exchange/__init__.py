"""Networks and their weights, to spikingjelly and norse and back."""

from snnfer.converters.exchange.norse import from_norse, to_norse
from snnfer.converters.exchange.spikingjelly import from_spikingjelly, to_spikingjelly
from snnfer.converters.exchange.weights import copy_weights

__all__ = ["copy_weights", "from_norse", "from_spikingjelly", "to_norse", "to_spikingjelly"]
