"""What a conversion costs, measured: per layer, and over the number of steps."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from snnfer._words import count
from snnfer.errors import ConfigError


@dataclass(frozen=True)
class LayerReport:
    r"""One activation of the network against the firing rates that stand for it.

    Args:
        name: Name of the activation in the network.
        neurons: Neurons per sample; two per value of a LeakyReLU.
        relative_error: :math:`\lVert \hat a - a \rVert_2 / \lVert a \rVert_2` over all values and samples, with the
            rates in units of the activation, :math:`\hat a = \theta \cdot \text{spikes} / T`.
        correlation: Pearson's r of :math:`\hat a` and a.
        clipped_share: Share of the positive activations that lie above the threshold, which no rate can reach.
        spikes: Per sample.
        firing_rate: Spikes per neuron and step.
    """

    name: str
    neurons: int
    relative_error: float
    correlation: float
    clipped_share: float
    spikes: float
    firing_rate: float


@dataclass(frozen=True)
class StepReport:
    """The output after some steps against that of the network without spikes.

    Args:
        n_steps: Simulation steps per image.
        relative_error: Of the outputs, L2 over all samples.
        agreement: Share of samples with the same largest output.
        accuracy: Share of samples whose largest output is their label; None without labels.
        spikes: Per sample, all layers together.
    """

    n_steps: int
    relative_error: float
    agreement: float
    accuracy: float | None
    spikes: float


@dataclass(frozen=True)
class ConversionReport:
    """What `snnfer.converters.ann_to_snn` measured.

    Args:
        method: "rate" or "qcfs".
        n_steps: Simulation steps per image of the layer reports.
        layers: One per activation, in order.
        curve: The output over the number of steps, ascending.
        ann_accuracy: Accuracy of the network without spikes; None without labels.
        quantised_accuracy: For "qcfs", that of the network with quantised activations.
        tolerance: Loss that the recommendation allows, see `recommend_steps`.
        n_calibration: Images that set the thresholds.
        n_evaluation: Images that were measured.
        separate_evaluation: Whether those were other images than the calibration data.
        chance: Accuracy of guessing, one over the number of classes.
    """

    method: str
    n_steps: int
    layers: tuple[LayerReport, ...]
    curve: tuple[StepReport, ...]
    ann_accuracy: float | None
    quantised_accuracy: float | None
    tolerance: float
    n_calibration: int
    n_evaluation: int
    separate_evaluation: bool
    chance: float = 0.0

    @property
    def recommended_steps(self) -> int | None:
        """Fewest measured steps from which on no more is lost than `tolerance`; see `recommend_steps`."""
        return recommend_steps(self.curve, ann_accuracy=self.ann_accuracy, tolerance=self.tolerance, chance=self.chance)

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {**asdict(self), "recommended_steps": self.recommended_steps}

    def table(self) -> str:
        """Layers and steps as text."""
        lines = [f"{'layer':<28}{'neurons':>9}{'rel. error':>12}{'corr.':>8}{'clipped':>9}{'spikes':>11}{'rate':>8}"]
        lines += [
            f"{_short(row.name):<28}{row.neurons:>9,}{row.relative_error:>12.4f}{row.correlation:>8.4f}"
            f"{row.clipped_share:>9.3%}{row.spikes:>11,.0f}{row.firing_rate:>8.4f}"
            for row in self.layers
        ]
        lines += ["", f"{'steps':>6}{'accuracy':>10}{'agreement':>11}{'rel. error':>12}{'spikes':>12}"]
        lines += [
            f"{row.n_steps:>6}{_percent(row.accuracy):>10}{row.agreement:>11.1%}{row.relative_error:>12.4f}"
            f"{row.spikes:>12,.0f}"
            for row in self.curve
        ]
        return "\n".join([*lines, "", *self._summary()])

    def _summary(self) -> list[str]:
        source = "other images than the calibration data" if self.separate_evaluation else "the calibration data itself"
        lines = [f"layers at {count(self.n_steps, 'step')}; {count(self.n_evaluation, 'image')} measured, {source}"]
        if self.ann_accuracy is not None:
            quantised = "" if self.quantised_accuracy is None else f", quantised {self.quantised_accuracy:.1%}"
            lines.append(f"accuracy without spikes {self.ann_accuracy:.1%}{quantised}")
        return [*lines, self._recommendation()]

    def _recommendation(self) -> str:
        steps, within = self.recommended_steps, f"within {self.tolerance:.1%}"
        if steps is not None:
            agreement = next(row.agreement for row in self.curve if row.n_steps == steps)
            wanted = "agreement" if self.ann_accuracy is None else "accuracy, and of the agreement of the most steps"
            return f"recommended: {count(steps, 'step')}, the fewest {within} of {wanted}; agreement {agreement:.1%}"
        if self.ann_accuracy is not None and self.ann_accuracy <= self.chance:
            return (
                f"recommended: none, because the network without spikes is no better than guessing "
                f"({self.chance:.1%}): train it first"
            )
        wanted = "agreement" if self.ann_accuracy is None else "accuracy"
        return f"recommended: none, because no measured number of steps stays {within} of {wanted}: measure more steps"


def recommend_steps(
    curve: Sequence[StepReport], *, ann_accuracy: float | None = None, tolerance: float = 0.01, chance: float = 0.0
) -> int | None:
    """The fewest steps of `curve` from which on no entry is worse than allowed; None if the last one is.

    With labels, accuracy must be within `tolerance` of `ann_accuracy`, and agreement with the network without spikes
    within `tolerance` of the last entry's: where the network is weak, few steps can be as accurate by luck while they
    compute something else. Of a network that is no better than `chance` nothing is recommended. Without labels,
    agreement must be within `tolerance` of 1.

    Args:
        curve: Ascending numbers of steps.
        ann_accuracy: Accuracy of the network without spikes; None without labels.
        tolerance: Allowed loss, 0 to 1.
        chance: Accuracy of guessing, such as one over the number of classes.

    Examples:
        >>> points = [(4, 0.5), (8, 0.95), (16, 0.93), (32, 0.96)]
        >>> curve = [StepReport(n, 0.1, accuracy, accuracy, 0.0) for n, accuracy in points]
        >>> recommend_steps(curve, ann_accuracy=0.96, tolerance=0.02)
        32
        >>> recommend_steps(curve, ann_accuracy=0.96, tolerance=0.03)
        8
        >>> recommend_steps(curve, ann_accuracy=0.05, tolerance=0.03, chance=0.05)
    """
    if not 0 <= tolerance < 1:
        raise ConfigError(f"tolerance = {tolerance}", expected="a share in [0, 1), such as 0.01 for one per cent")
    if not curve or (ann_accuracy is not None and ann_accuracy <= chance):
        return None
    best, agreement = None, 1.0 if ann_accuracy is None else curve[-1].agreement
    for row in reversed(curve):
        scores = [(row.agreement, agreement)]
        if ann_accuracy is not None:
            scores.append((row.accuracy or 0.0, ann_accuracy))
        if any(score < wanted - tolerance - 1e-9 for score, wanted in scores):
            break
        best = row.n_steps
    return best


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _short(name: str, width: int = 27) -> str:
    return name if len(name) <= width else "…" + name[-(width - 1) :]
