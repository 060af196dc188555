"""What a certificate says, and how it is printed."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from snnfer._words import count
from snnfer.converters._silence import SILENT, warn_of_silence

_COLUMNS = ("layer", "neurons", "differ", "own", "spikes", "syn. ops", "peak u", "peak v", "wraps", "clips", "weights")


@dataclass(frozen=True)
class LayerCertificate:
    """One layer on given data.

    Args:
        name: Name in the network.
        n_neurons: Its neurons.
        exact: Whether it is a rewriting without error.
        mismatch: Share of neurons and steps in which float and integer differ, errors of the layers before included.
        own_mismatch: The same where the layer receives the spikes of the float network: its own error.
        float_rate, integer_rate: Spikes per neuron and step.
        spikes: Spikes per sample, all steps, in integers.
        synaptic_operations: Synapses that spikes reached, per sample, all steps.
        peak_current, peak_voltage: Largest magnitudes as a share of 24 bits; above 1 they overflowed.
        wraps, clips: Currents that were wrapped, potentials that were clipped.
        weight_error: Relative error of the weights; None where the integers were read from a file.
        notes: What is approximated.
    """

    name: str
    n_neurons: int
    exact: bool
    mismatch: float
    own_mismatch: float
    float_rate: float
    integer_rate: float
    spikes: float
    synaptic_operations: float
    peak_current: float
    peak_voltage: float
    wraps: int
    clips: int
    weight_error: float | None
    notes: tuple[str, ...] = ()

    @property
    def silent(self) -> bool:
        """Whether it sent nothing in float and in integers, so that there was nothing to compare."""
        return not (self.float_rate or self.integer_rate or self.own_mismatch)


@dataclass(frozen=True)
class Certificate:
    """What was measured when a network was exported.

    Args:
        layers: One row per layer.
        n_samples, n_steps: Size of the data.
        accuracy_float: Of the trained network on its own input; None without labels, as the next two.
        accuracy_float_chip_input: Of the trained network on the input that the chip sees.
        accuracy_integer: Of the integer network.
        accuracy_simulator: Of the exported file in lava; None until it ran.
        simulator_mismatches: Spikes in which lava and the twin differ; None until it ran.
        same_prediction: Share of samples for which float (on the chip's input) and integer predict the same class.
        changed_input: Share of input values that the chip sees changed, because it takes spikes and not numbers.
        graph_error: Largest difference of a score between the network and the graph that was quantised.
    """

    layers: tuple[LayerCertificate, ...]
    n_samples: int
    n_steps: int
    accuracy_float: float | None
    accuracy_float_chip_input: float | None
    accuracy_integer: float | None
    same_prediction: float
    changed_input: float
    graph_error: float
    accuracy_simulator: float | None = None
    simulator_mismatches: int | None = None

    def with_simulator(self, *, accuracy: float | None, mismatches: int) -> "Certificate":
        """The certificate with what lava has found."""
        return replace(self, accuracy_simulator=accuracy, simulator_mismatches=mismatches)

    @property
    def silent_layers(self) -> tuple[str, ...]:
        """Layers without a spike in float and in integers: their agreement says nothing."""
        return tuple(layer.name for layer in self.layers if layer.silent)

    def to_dict(self) -> dict[str, Any]:
        """For JSON, and for the exported file."""
        return {**asdict(self), "silent_layers": list(self.silent_layers)}

    def table(self) -> str:
        """One row per layer, and the accuracies on one line.

        ``differ`` counts neurons and steps in which float and integer differ, ``own`` those that the layer adds itself,
        "silent" stands for layers without spikes; spikes and synaptic operations are per sample.
        """
        rows = [_COLUMNS, *(_row(layer) for layer in self.layers)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
        lines = [_line(row, widths) for row in rows]
        notes = [f"{layer.name}: {note}" for layer in self.layers for note in layer.notes]
        return "\n".join([*lines, "", *notes, *self._summary()])

    def _summary(self) -> list[str]:
        lines = [
            f"{count(self.n_samples, 'sample')} of {count(self.n_steps, 'step')}",
            f"accuracy: float {_percent(self.accuracy_float)} (on the chip's input "
            f"{_percent(self.accuracy_float_chip_input)}), integer {_percent(self.accuracy_integer)}, "
            f"simulator {_simulator(self)}",
            f"same prediction, float and integer: {_percent(self.same_prediction)}{self._ties()}",
        ]
        if self.changed_input:
            lines.append(f"{_percent(self.changed_input)} of the input values are not 0 or 1: the chip sees one spike")
        if warning := warn_of_silence(self.silent_layers, len(self.layers)):
            lines.append(warning)
        return lines

    def _ties(self) -> str:
        last_is_silent = bool(self.layers) and self.layers[-1].silent
        return " (no vote: the scores of all classes are equal)" if last_is_silent else ""


def _row(layer: LayerCertificate) -> tuple[str, ...]:
    weights = "file" if layer.weight_error is None else "exact" if layer.exact else f"{100 * layer.weight_error:.2f} %"
    return (
        layer.name,
        str(layer.n_neurons),
        SILENT if layer.silent else f"{100 * layer.mismatch:.3f} %",
        SILENT if layer.silent else f"{100 * layer.own_mismatch:.3f} %",
        f"{layer.spikes:.0f}",
        f"{layer.synaptic_operations:.0f}",
        f"{100 * layer.peak_current:.1f} %",
        f"{100 * layer.peak_voltage:.1f} %",
        str(layer.wraps),
        str(layer.clips),
        weights,
    )


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
    return "  ".join([row[0].ljust(widths[0]), *cells[1:]]).rstrip()


def _percent(share: float | None) -> str:
    return "not measured" if share is None else f"{100 * share:.1f} %"


def _simulator(certificate: Certificate) -> str:
    if certificate.simulator_mismatches is None:
        return "not run"
    found = count(certificate.simulator_mismatches, "mismatching spike")
    return f"{_percent(certificate.accuracy_simulator)} ({found})"
