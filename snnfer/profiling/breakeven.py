"""The firing rate (or input density) below which a network that skips zeros costs less than another one."""

import dataclasses

import numpy as np

from snnfer.errors import ConfigError
from snnfer.profiling.report import OperationReport
from snnfer.profiling.scenarios import EnergyScenario, estimate_energy


@dataclasses.dataclass(frozen=True)
class BreakEven:
    r"""Energy of a network as a straight line over its activity, against a constant.

    .. math::
        E(r) = E_0 + k\,r, \qquad r^* = \frac{E_\text{reference} - E_0}{k}

    Args:
        scenario: Name of the scenario.
        quantity: What :math:`r` is: ``firing rate`` (spikes per neuron and step) or ``input density`` (share of the
            synaptic operations of a layer that nonzero inputs cause).
        measured: The activity that was counted.
        fixed_pj: :math:`E_0`, energy that activity does not change.
        slope_pj: :math:`k`, energy at activity 1 beyond :math:`E_0`.
        reference_pj: Energy of the network or hardware that is compared with.
        reference: What that is.

    Examples:
        >>> line = BreakEven("45nm_fp32", "firing rate", 0.05, 2.0, 40.0, reference_pj=12.0, reference="its twin")
        >>> line.rate, line.verdict()
        (0.25, 'below 0.25')
    """

    scenario: str
    quantity: str
    measured: float
    fixed_pj: float
    slope_pj: float
    reference_pj: float
    reference: str

    @property
    def rate(self) -> float:
        """:math:`r^*`; below 0 where no activity is low enough, above 1 where none is too high."""
        return (self.reference_pj - self.fixed_pj) / self.slope_pj

    @property
    def measured_pj(self) -> float:
        """Energy at the measured activity."""
        return self.energy_pj(self.measured)

    def energy_pj(self, rate: float) -> float:
        """Energy at an activity."""
        return self.fixed_pj + self.slope_pj * rate

    def curve(self, n: int = 200) -> tuple[np.ndarray, np.ndarray]:
        """`n` activities up to 1, evenly on a logarithmic axis, and the energy in pJ at each."""
        rates = np.geomspace(min(1e-3, self.measured / 3), 1, n)
        return rates, self.fixed_pj + self.slope_pj * rates

    def verdict(self) -> str:
        """When the network costs less, in words."""
        if self.rate <= 0:
            return "never"
        return "always" if self.rate > 1 else f"below {self.rate:.3g}"


def break_even(
    report: OperationReport, scenario: EnergyScenario, *, against: OperationReport | None = None
) -> BreakEven:
    r"""Where `report` costs as much as another network, or as its own dense twin.

    Activity scales every count that follows from it: the accumulates and spikes of a spiking network grow with its
    firing rate, each spike keeping the mean fan-out that was counted, while the multiply-accumulates of its first layer
    and its neuron updates stay; of a network without binary spikes (no neurons, or soft ones), all operations grow with
    the density of its inputs.

    Args:
        report: Counts of the network that skips zeros.
        scenario: The constants.
        against: Counts of a network that computes with zeros too; without it, the dense twin: the same layers on the
            same steps, every input counted.

    Raises:
        ConfigError: the scenario has no constants, does not fit, or no spike was counted.

    Examples:
        >>> import torch
        >>> from snnfer.profiling import count_operations
        >>> from snnfer.profiling.scenarios import find_scenario
        >>> report = count_operations(torch.nn.Linear(4, 3), torch.tensor([[[1.0, 0.5, 0.0, 0.0]]]))
        >>> line = break_even(report, find_scenario("45nm_fp32"))
        >>> line.quantity, line.measured, round(line.rate, 6)  # skipping zeros is free: any density below 1 wins
        ('input density', 0.5, 1.0)
    """
    estimate = estimate_energy(report, scenario)
    reference = estimate_energy(against or report, scenario)
    if estimate.event_driven_pj is None or reference.dense_pj is None:
        reason = estimate.reason or reference.reason
        raise ConfigError(
            f"no break-even under the scenario '{scenario.name}'", cause=reason, fix="choose a 45nm scenario"
        )
    spiking = report.neuron_updates > 0 and (report.acs > 0 or report.spikes == 0)
    measured = report.firing_rate if spiking else report.macs / max(report.dense_macs, 1)
    if not measured:
        raise ConfigError(
            f"'{report.model}' had no activity on this input",
            expected="spikes, from which the energy at other firing rates follows",
            cause="an untrained network, or an empty input",
            fix="profile a trained model folder on a recording",
        )
    fixed_pj = estimate_energy(_silent(report, spiking=spiking), scenario).event_driven_pj or 0.0
    return BreakEven(
        scenario=scenario.name,
        quantity="firing rate" if spiking else "input density",
        measured=measured,
        fixed_pj=fixed_pj,
        slope_pj=(estimate.event_driven_pj - fixed_pj) / measured,
        reference_pj=reference.dense_pj,
        reference=against.model if against else f"{report.model}, dense",
    )


def _silent(report: OperationReport, *, spiking: bool) -> OperationReport:
    """The counts if no neuron fired, or (without neurons) no input were there."""
    none = {"acs": 0, "spikes": 0} if spiking else {"macs": 0}
    layers = []
    for layer in report.layers:
        follows = layer.acs > 0 if spiking else True
        layers.append(dataclasses.replace(layer, **none, **({"nonzero_inputs": 0} if follows else {})))
    return dataclasses.replace(report, layers=tuple(layers), samples=())
