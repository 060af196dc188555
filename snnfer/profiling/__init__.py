"""What a model costs: exact operation counts, memory traffic, and energy under named scenarios.

Energies are estimates, not measurements, except those of `measure_energy`.

Examples:
    >>> import torch
    >>> from snnfer.models import create_model
    >>> model = create_model("au_snn", size=(16, 16), channels=4, hidden=32)
    >>> x = torch.poisson(torch.rand(5, 1, 2, 16, 16))
    >>> report = count_operations(model, x)
    >>> report.neuron_updates == 5 * (4 * 16 * 16 + 4 * 8 * 8 + 32 + 210)
    True
    >>> report.total_macs == flop_totals(model, x)
    True
    >>> estimate_energy(report, find_scenario("loihi2")).reason
    'not published'
"""

from snnfer.profiling.breakeven import BreakEven, break_even
from snnfer.profiling.measured import EnergyMeasurement, measure_energy
from snnfer.profiling.operations import count_operations
from snnfer.profiling.report import LayerOperations, OperationReport, Traffic
from snnfer.profiling.scenarios import SCENARIOS, EnergyEstimate, EnergyScenario, estimate_energy, find_scenario
from snnfer.profiling.totals import flop_totals, thop_macs

__all__ = [
    "SCENARIOS",
    "BreakEven",
    "EnergyEstimate",
    "EnergyMeasurement",
    "EnergyScenario",
    "LayerOperations",
    "OperationReport",
    "Traffic",
    "break_even",
    "count_operations",
    "estimate_energy",
    "find_scenario",
    "flop_totals",
    "measure_energy",
    "thop_macs",
]
