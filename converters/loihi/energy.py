"""Energy of a network on Loihi, from counted operations and published figures: estimates, not measurements."""

from dataclasses import dataclass
from typing import Any

from snnfer._check import check_positive
from snnfer.converters.loihi.published import (
    ACTIVE_UPDATE_PJ,
    DAVIES_ENERGY,
    INACTIVE_UPDATE_PJ,
    NOT_PUBLISHED,
    NOTICE,
    SPIKE_PJ,
    SYNAPTIC_OPERATION_PJ,
    Chip,
    ChipName,
    find_chip,
)
from snnfer.converters.loihi.twin import TwinResult


@dataclass(frozen=True)
class LoihiEnergy:
    """Energy of one sample: an estimate, not a measurement.

    Args:
        chip: The chip.
        synaptic_operations, neuron_updates, spikes: Per sample.
        lowest_pj: Every neuron update inactive; None where nothing is published.
        highest_pj: Every neuron update active; None where nothing is published.
    """

    chip: Chip
    synaptic_operations: float
    neuron_updates: float
    spikes: float
    lowest_pj: float | None
    highest_pj: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON, with what they are worth."""
        return {**vars(self), "chip": self.chip.name, "notice": self._notice()}

    def text(self) -> str:
        """One line."""
        if self.lowest_pj is None or self.highest_pj is None:
            return f"{self.chip.label}: energy {self._notice()}"
        lowest, highest = (f"{energy / 1e6:.4g}" for energy in (self.lowest_pj, self.highest_pj))
        return f"{self.chip.label}: {lowest} to {highest} uJ per sample ({self._notice()})"

    def _notice(self) -> str:
        if self.lowest_pj is None:
            return f"{NOT_PUBLISHED}: its makers and users report whole tasks only"
        return f"{NOTICE}: {DAVIES_ENERGY}, pre-silicon simulation at 0.75 V, spikes inside their tile, no static power"


def estimate_energy(result: TwinResult, *, chip: ChipName = "loihi1") -> LoihiEnergy:
    r"""Energy per sample of what the twin counted.

    .. math::
        E = 23.6\,\text{pJ}\; n_\text{synaptic} + (52 \text{ to } 81)\,\text{pJ}\; n_\text{update}
            + 1.7\,\text{pJ}\; n_\text{spike}

    Every neuron is updated in every step; an update costs 81 pJ where the state changes, 52 pJ where it does not, so
    that the truth lies between. A spike that leaves its tile costs 3 to 4 pJ more per hop, and the chip about 104 mW
    when it does nothing (derived from Frady et al., 2020): neither is counted.

    Args:
        result: Of `snnfer.converters.loihi.twin.run_twin`.
        chip: ``loihi1``; for ``loihi2`` no energy per operation is published, and none is given.

    Raises:
        ConfigError: unknown chip.
        SnnferError: no sample was run.

    References:
        Davies et al., "Loihi: a neuromorphic manycore processor with on-chip learning", IEEE Micro 38(1), 2018, table
        2.

    Examples:
        >>> import numpy as np, torch
        >>> from snnfer.converters.loihi import IntegerGraph, IntegerLayer
        >>> from snnfer.converters.loihi.twin import run_twin
        >>> layer = IntegerLayer("fc", "dense", np.array([[60]]), np.array([0]), 100, 4096, 2048, 100.0, (1,))
        >>> result = run_twin(IntegerGraph((layer,), (1,)), torch.ones(6, 1, 1))
        >>> energy = estimate_energy(result)  # 6 operations, 6 updates, 2 spikes
        >>> round(energy.lowest_pj, 1), round(energy.highest_pj, 1)
        (457.0, 631.0)
        >>> estimate_energy(result, chip="loihi2").text()
        'Loihi 2: energy not published: its makers and users report whole tasks only'
    """
    limits = find_chip(chip)
    check_positive(result.n_samples, name="n_samples")
    operations = sum(layer.synaptic_operations for layer in result.layers) / result.n_samples
    updates = float(sum(layer.n_neurons for layer in result.layers) * result.n_steps)
    spikes = sum(layer.n_spikes for layer in result.layers) / result.n_samples
    if chip != "loihi1":
        return LoihiEnergy(limits, operations, updates, spikes, None, None)
    fixed = operations * SYNAPTIC_OPERATION_PJ + spikes * SPIKE_PJ
    lowest, highest = fixed + updates * INACTIVE_UPDATE_PJ, fixed + updates * ACTIVE_UPDATE_PJ
    return LoihiEnergy(limits, operations, updates, spikes, lowest, highest)
