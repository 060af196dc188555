"""What the tables of the paper say about the systems that they compare, and how ours are named beside them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

VARIANTS = ("t_t", "t_t0", "t0_t", "t0_t0")
"""TIE variants in the published order, as far as it can be inferred."""

TRAININGS = {"scratch": "trained from scratch", "transferred": "transferred", "fine_tuned": "transferred & fine-tuned"}
NETWORKS = {"evtransfer": "without LSTM", "evtransfer_lstm": "with LSTM"}
LSTM_WINDOWS = 3


@dataclass(frozen=True)
class System:
    """A row of the paper's comparison (Table 8).

    Args:
        method: Its name there.
        representation: Of the events.
        architecture: Of the network.
        training: Published encoder training; FT: fine-tuned, FR: face reconstruction.
    """

    method: str
    representation: str
    architecture: str
    training: str


SYSTEMS = {
    "asynet_vgg13": System("Asynet, CNN", "SSR", "VGG-13", "FT"),
    "asynet_vgg13_sparse": System("Asynet, SSC", "SSR", "VGG-13, submanifold sparse", "FT"),
    "est_resnet34": System("EST", "EST", "ResNet-34", "FT"),
    "vit_b16": System("ViT", "TIE", "ViT-B/16", "FT"),
    "evtransfer": System("evTransFER", "TIE", "U-Net encoder", "FR & FT"),
    "est_resnet34_lstm": System("EST", "EST", "ResNet-34", "FT"),
    "vit_b16_lstm": System("ViT", "TIE", "ViT-B/16", "FT"),
    "evtransfer_lstm": System("evTransFER", "TIE", "U-Net encoder", "FR & FT"),
}
"""Rows of Table 8, in its order."""


def place_of(system: str, representation: str, training: str) -> tuple[int, int, int]:
    """Where a network stands: by system, TIE variant and encoder training as published, others behind.

    Examples:
        >>> place_of("evtransfer", "t0_t", "scratch") < place_of("evtransfer", "t0_t", "transferred")
        True
    """
    orders = (list(SYSTEMS), VARIANTS, list(TRAININGS))
    names = (system, representation, training)
    return tuple(o.index(n) if n in o else len(o) for o, n in zip(orders, names, strict=True))  # type: ignore[return-value]


def has_lstm(system: str) -> bool:
    """Whether a system sees several windows through an LSTM.

    Examples:
        >>> has_lstm("evtransfer_lstm"), has_lstm("evtransfer")
        (True, False)
    """
    return system.endswith("_lstm")


def training_text(name: str) -> str:
    """How an encoder training is written; other names stay as they are."""
    return TRAININGS.get(name, name)


def network_text(network: Mapping[str, Any]) -> str:
    """A network in words.

    Examples:
        >>> network_text({"system": "evtransfer_lstm", "representation": "t0_t", "encoder_training": "fine_tuned"})
        'evtransfer_lstm, t0_t, transferred & fine-tuned'
    """
    parts = [network["system"], network["representation"], training_text(network["encoder_training"])]
    return ", ".join(part for part in parts if part)
