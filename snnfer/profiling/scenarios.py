"""Energy from counts, under named scenarios whose constants and sources are stated: estimates, not measurements."""

import dataclasses
import textwrap
from collections.abc import Sequence
from typing import Any

from snnfer.converters.loihi.published import (
    ACTIVE_UPDATE_PJ,
    DAVIES_ENERGY,
    INACTIVE_UPDATE_PJ,
    NOT_PUBLISHED,
    NOTICE,
    SPIKE_PJ,
    SYNAPTIC_OPERATION_PJ,
)
from snnfer.errors import ConfigError
from snnfer.profiling.report import OperationReport

HOROWITZ = "Horowitz, Computing's energy problem (and what we can do about it), ISSCC 2014: table for 45 nm, 0.9 V"


@dataclasses.dataclass(frozen=True)
class EnergyScenario:
    """Energy per operation of one kind of hardware.

    .. math::
        E = n_\\text{MAC} e_\\text{MAC} + n_\\text{AC} e_\\text{AC} + n_\\text{update} e_\\text{update}
            + n_\\text{spike} e_\\text{spike} + 8\\,b\\,e_\\text{memory}

    with the operations on nonzero inputs and the bytes :math:`b` of `Traffic.event_driven`; hardware that computes with
    zeros too pays for every dense multiply-accumulate and `Traffic.dense`. Multiply-accumulates outside of layers count
    as dense ones in both.

    Args:
        name: Name under which `find_scenario` knows it.
        description: What the hardware is taken to be, and what is left out.
        source: Publication of the constants.
        mac_pj: Multiply and add, in pJ.
        ac_pj: Add, or synaptic operation, in pJ.
        neuron_update_pj: Update of a membrane, in pJ.
        spike_pj: Sending a spike, in pJ.
        memory_pj_per_bit: Reading or writing a bit of weight, state or activation, in pJ.
        precision: Width of the values that move.
        needs_spikes: Whether a network without spikes between its layers cannot run on it.
        computes_zeros: Whether the same constants describe hardware that computes with zeros too.
        published: Whether constants were published; without them there is no estimate.

    Examples:
        >>> find_scenario("45nm_fp32").mac_pj
        4.6
    """

    name: str
    description: str
    source: str
    mac_pj: float = 0.0
    ac_pj: float = 0.0
    neuron_update_pj: float = 0.0
    spike_pj: float = 0.0
    memory_pj_per_bit: float = 0.0
    precision: str = "float32"
    needs_spikes: bool = False
    computes_zeros: bool = True
    published: bool = True

    def constants(self) -> str:
        """The constants in words.

        Examples:
            >>> find_scenario("45nm_fp32").constants()
            'MAC 4.6 pJ, AC 0.9 pJ'
            >>> find_scenario("loihi2").constants()
            'not published'
        """
        if not self.published:
            return NOT_PUBLISHED
        values = (
            ("MAC", self.mac_pj, "pJ"),
            ("AC", self.ac_pj, "pJ"),
            ("neuron update", self.neuron_update_pj, "pJ"),
            ("spike", self.spike_pj, "pJ"),
            ("memory", 64 * self.memory_pj_per_bit, "pJ per 64 bit"),
        )
        return ", ".join(f"{name} {value:.3g} {unit}" for name, value, unit in values if value)


@dataclasses.dataclass(frozen=True)
class EnergyEstimate:
    """Energy of one sample under one scenario; an estimate, not a measurement.

    Args:
        scenario: The scenario.
        event_driven_pj: On hardware that skips zeros; None where the scenario cannot say.
        dense_pj: On hardware that computes with zeros too; None where the scenario cannot say.
        reason: Why a figure is missing.
    """

    scenario: EnergyScenario
    event_driven_pj: float | None
    dense_pj: float | None
    reason: str = ""


def estimate_energy(report: OperationReport, scenario: EnergyScenario) -> EnergyEstimate:
    """Energy per sample that the counts of `report` cost under `scenario`.

    Examples:
        >>> import torch
        >>> from snnfer.profiling import count_operations
        >>> report = count_operations(torch.nn.Linear(4, 3), torch.tensor([[[1.0, 0.5, 0.0, 0.0]]]))
        >>> estimate = estimate_energy(report, find_scenario("45nm_fp32"))
        >>> round(estimate.event_driven_pj, 1), round(estimate.dense_pj, 1)  # 6 and 12 multiply-accumulates
        (27.6, 55.2)
    """
    if not scenario.published:
        return EnergyEstimate(scenario, None, None, NOT_PUBLISHED)
    if scenario.needs_spikes and not report.acs:
        return EnergyEstimate(scenario, None, None, "no figure: no spike reached a synapse")
    return EnergyEstimate(
        scenario,
        event_driven_pj=_event_driven(report, scenario),
        dense_pj=_dense(report, scenario) if scenario.computes_zeros else None,
        reason="" if scenario.computes_zeros else "this hardware only works on events",
    )


def _event_driven(report: OperationReport, scenario: EnergyScenario) -> float:
    macs = report.macs + report.unattributed_macs
    operations = macs * scenario.mac_pj + report.acs * scenario.ac_pj
    neurons = report.neuron_updates * scenario.neuron_update_pj + report.spikes * scenario.spike_pj
    return operations + neurons + _memory(report.traffic(scenario.precision).event_driven, scenario)


def _dense(report: OperationReport, scenario: EnergyScenario) -> float:
    operations = report.total_macs * scenario.mac_pj
    updates = report.neuron_updates * scenario.neuron_update_pj
    return operations + updates + _memory(report.traffic(scenario.precision).dense, scenario)


def _memory(n_bytes: float, scenario: EnergyScenario) -> float:
    return 8 * n_bytes * scenario.memory_pj_per_bit


def find_scenario(name: str) -> EnergyScenario:
    """The scenario of this name.

    Raises:
        ConfigError: there is none; the message lists the names.
    """
    if name not in SCENARIOS:
        raise ConfigError(f"unknown energy scenario '{name}'", expected="one of " + ", ".join(SCENARIOS))
    return SCENARIOS[name]


def energy_lines(estimates: Sequence[EnergyEstimate]) -> list[str]:
    """Estimates as text, with constants and sources; headed by the words that they are no measurements."""
    width = max(len(estimate.scenario.name) for estimate in estimates)
    lines = [f"energy per sample ({NOTICE}):"]
    for estimate in estimates:
        scenario = estimate.scenario
        figures = [
            f"{label} {value / 1e9:.4g} mJ"
            for label, value in (("event-driven", estimate.event_driven_pj), ("dense", estimate.dense_pj))
            if value is not None
        ]
        lines.append(f"  {scenario.name.ljust(width)}  {', '.join(figures) or estimate.reason}")
        details = [scenario.description, *([scenario.constants()] if scenario.published else []), scenario.source]
        indent = " " * (width + 4)
        lines += [indent + part for detail in details for part in textwrap.wrap(detail, 110 - len(indent))]
    return lines


_ARITHMETIC: dict[str, Any] = {  # a MAC is a multiplication (3.7 and 0.2 pJ) and an addition
    "45nm_fp32": {"mac_pj": 4.6, "ac_pj": 0.9, "precision": "float32"},
    "45nm_int8": {"mac_pj": 0.23, "ac_pj": 0.03, "precision": "int8"},
}
_CACHES = {"8k": ("8 KB", 10.0), "32k": ("32 KB", 20.0), "1m": ("1 MB", 100.0)}


def _horowitz_scenarios() -> list[EnergyScenario]:
    scenarios = []
    for name, constants in _ARITHMETIC.items():
        what = f"45 nm, {constants['precision']} arithmetic"
        scenarios.append(
            EnergyScenario(
                name, f"{what} alone, as most papers count; no memory, neuron updates free", HOROWITZ, **constants
            )
        )
        for suffix, (size, access_pj) in _CACHES.items():
            scenarios.append(
                EnergyScenario(
                    f"{name}_sram_{suffix}",
                    f"{what}; weights, states and activations in SRAM of {size}, shares of 64 bit; an update is a MAC",
                    HOROWITZ,
                    neuron_update_pj=constants["mac_pj"],
                    memory_pj_per_bit=access_pj / 64,
                    **constants,
                )
            )
    return scenarios


def _loihi_scenarios() -> list[EnergyScenario]:
    shared: dict[str, Any] = {
        "mac_pj": SYNAPTIC_OPERATION_PJ,
        "ac_pj": SYNAPTIC_OPERATION_PJ,
        "spike_pj": SPIKE_PJ,
        "source": DAVIES_ENERGY,
        "needs_spikes": True,
        "computes_zeros": False,
    }
    rest = (
        "a real-valued input costs one synaptic operation per synapse, every spike stays in its tile (a hop to the "
        "next one costs 3.0 pJ east-west, 4.0 pJ north-south); no static power; pre-silicon simulation at 0.75 V"
    )
    return [
        EnergyScenario(
            "loihi", f"Loihi, every neuron update active; {rest}", neuron_update_pj=ACTIVE_UPDATE_PJ, **shared
        ),
        EnergyScenario(
            "loihi_inactive",
            f"Loihi, every neuron update inactive; {rest}",
            neuron_update_pj=INACTIVE_UPDATE_PJ,
            **shared,
        ),
        EnergyScenario(
            "loihi2",
            "Loihi 2: its makers and users report whole tasks only, no energy per operation",
            "none found",
            needs_spikes=True,
            computes_zeros=False,
            published=False,
        ),
    ]


SCENARIOS: dict[str, EnergyScenario] = {
    scenario.name: scenario for scenario in (*_horowitz_scenarios(), *_loihi_scenarios())
}
"""All scenarios by name."""
