"""Published figures of Loihi chips: limits of a core, energies per operation. The one home of these numbers."""

from dataclasses import dataclass
from typing import Literal

from snnfer.errors import ConfigError

ChipName = Literal["loihi1", "loihi2"]

NOTICE = "estimates, not measurements"
NOT_PUBLISHED = "not published"
DAVIES = "Davies et al., Loihi: a neuromorphic manycore processor with on-chip learning, IEEE Micro 38(1), 2018"
DAVIES_ENERGY = f"{DAVIES}, table 2"

SYNAPTIC_OPERATION_PJ = 23.6
"""Least energy of a synaptic operation."""
ACTIVE_UPDATE_PJ = 81.0
"""Update of a neuron whose state changes."""
INACTIVE_UPDATE_PJ = 52.0
"""Update of a neuron at rest."""
SPIKE_PJ = 1.7
"""A spike that stays in its tile; a hop to the next one costs 3.0 pJ east-west, 4.0 pJ north-south."""


@dataclass(frozen=True)
class Chip:
    """What one chip, and one core of it, can hold.

    Args:
        name: ``loihi1`` or ``loihi2``.
        label: Name for readers.
        cores: Cores of a chip.
        neurons: Neurons (compartments) of a core.
        memory_bits: Synaptic memory of a core, in bits.
        input_axons: Lists of synapses of a core, one per input that reaches it.
        output_axons: Pairs of a neuron of the core and a core that its spikes go to; None where no limit is published.
        source: Where the limits were published, and which were not.
    """

    name: ChipName
    label: str
    cores: int
    neurons: int
    memory_bits: int
    input_axons: int
    output_axons: int | None
    source: str


_MEMORY_BITS = 128 * 1024 * 8
CHIPS: dict[str, Chip] = {
    "loihi1": Chip("loihi1", "Loihi 1", 128, 1024, _MEMORY_BITS, 4096, 4096, f"{DAVIES}, p. 86-96"),
    "loihi2": Chip(
        "loihi2",
        "Loihi 2",
        120,
        8192,
        _MEMORY_BITS,
        4096,
        None,
        "120 cores and 8192 neurons per core after secondary sources; memory and axons per core are not published: "
        "memory and input axons are those of Loihi 1, output axons are not limited",
    ),
}
"""The chips by name."""


def find_chip(name: str) -> Chip:
    """The chip of this name.

    Raises:
        ConfigError: there is none.

    Examples:
        >>> find_chip("loihi1").neurons
        1024
    """
    if name not in CHIPS:
        raise ConfigError(f"unknown chip '{name}'", expected="one of " + ", ".join(CHIPS))
    return CHIPS[name]
