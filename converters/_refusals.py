"""Why modules that people try have no counterpart in a graph, and what to do instead."""

from torch import nn

from snnfer.errors import ConversionError
from snnfer.layers import SEWBlock, TemporalSpatialAttention
from snnfer.models._timm import TimmEncoder
from snnfer.models.asynet import Asynet
from snnfer.models.cvae import CVAE
from snnfer.models.poster import Poster
from snnfer.models.rgbd_fer import RGBDFER
from snnfer.models.spiking_fer_ann import SpikingFERANN
from snnfer.models.unet import UNetGenerator
from snnfer.neurons import LI, SoftSpiking

_CHAIN = "use a network that is a chain: au_snn for chips, evtransfer for 'snnfer convert'"
_DIRECT = (
    "use snnfer.layers.FactorizedConv3d with causal=True, residual=False and spiking neurons such as PLIF, and train "
    "it again; a lava graph takes it then: snnfer.converters.lava.direct.run_block3d_lava"
)

REASONS: dict[type, tuple[str, str]] = {
    LI: ("a membrane that passes its potential on, without spikes", "end the network with spiking neurons and a vote"),
    SoftSpiking: ("neurons that pass values on, not spikes", "train the network with PLIF neurons"),
    SEWBlock: (
        "it joins a branch and a shortcut, and a graph is a chain without shortcuts",
        "use SpikingConv2d layers",
    ),
    TemporalSpatialAttention: (
        "attention multiplies maps by maps, and a graph has weights alone",
        "leave it out: cs3d_factorized is the network without it",
    ),
    UNetGenerator: ("skip connections", "convert its encoder: snnfer.models.unet.encoder_from(generator)"),
    CVAE: ("a decoder for images behind an encoder that samples", "use a classifier such as au_snn"),
    Asynet: ("submanifold layers compute only where events were, and chips compute everywhere", _CHAIN),
    Poster: ("attention between an image branch and a landmark branch", _CHAIN),
    RGBDFER: ("two branches, one of colour and one of depth, that attention joins, and a transformer", _CHAIN),
    SpikingFERANN: ("it reads all steps of a clip at once, and its residual blocks have shortcuts", _CHAIN),
    TimmEncoder: ("a network of timm with shortcuts or attention", _CHAIN),
    nn.LSTM: ("recurrence over windows", "use a model without LSTM, such as evtransfer"),
    nn.Conv3d: ("it sees later steps, and a chip has none", _DIRECT),
    nn.MaxPool3d: (
        "it pools over time, and a chip goes on step by step",
        "pool space alone: snnfer.layers.SpikingMaxPool2d",
    ),
}
"""Likely cause and fix."""


def unknown(name: str, module: nn.Module) -> ConversionError:
    """The error for a module without counterpart in a graph."""
    reason, fix = REASONS.get(type(module), ("", "replace it, or take it out of the part that is converted"))
    return ConversionError(
        f"'{name}' is a {type(module).__name__}" if name else f"the network is a {type(module).__name__}",
        expected="layers that a graph knows",
        cause=reason,
        fix=fix,
    )


def looks_ahead(name: str, module: nn.Module) -> ConversionError:
    """The error for a convolution over time that is not causal."""
    return ConversionError(
        f"'{name or type(module).__name__}' is a convolution over time that sees later steps",
        expected="a causal one: a chip has no later steps",
        fix=_DIRECT,
    )
