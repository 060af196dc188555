"""The result of counting: operations per layer and in total."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class LayerOperations:
    """Operations of one layer, per sample (the mean over the batch, the sum over all steps).

    Args:
        name: Name inside the model, as in ``model.named_modules()``.
        kind: Class of the layer.
        parameters: Number of parameters.
        weight_bytes: Memory of the parameters.
        dense_macs: Multiply-accumulates when every input counts.
        macs: Multiply-accumulates of nonzero real-valued inputs.
        acs: Accumulates: one per spike and synapse that it reaches.
        neuron_updates: Updates of a membrane: neurons times steps.
        spikes: Nonzero outputs of the neurons.
        state_bytes: Memory of the state between steps.
    """

    name: str
    kind: str
    parameters: int = 0
    weight_bytes: int = 0
    dense_macs: float = 0
    macs: float = 0
    acs: float = 0
    neuron_updates: float = 0
    spikes: float = 0
    state_bytes: float = 0

    @property
    def firing_rate(self) -> float:
        """Spikes per neuron and step; 0 for a layer without neurons."""
        return self.spikes / self.neuron_updates if self.neuron_updates else 0.0


@dataclasses.dataclass(frozen=True)
class OperationReport:
    """Operations of a model on given inputs; built by `count_operations`.

    Args:
        model: Name of the model.
        n_steps: Time steps of the input.
        n_samples: Samples that were averaged.
        layers: Layers in the order of their first call.
        parameters: Parameters of the whole model.
        weight_bytes: Memory of all parameters.
        unattributed_macs: Dense multiply-accumulates that torch counted outside the layers above (a matrix product
            written as a function, for example), per sample; they are in no other figure.
    """

    model: str
    n_steps: int
    n_samples: int
    layers: tuple[LayerOperations, ...]
    parameters: int
    weight_bytes: int
    unattributed_macs: float

    @property
    def dense_macs(self) -> float:
        """Multiply-accumulates per sample when every input counts."""
        return sum(layer.dense_macs for layer in self.layers)

    @property
    def macs(self) -> float:
        """Multiply-accumulates of nonzero real-valued inputs, per sample."""
        return sum(layer.macs for layer in self.layers)

    @property
    def acs(self) -> float:
        """Accumulates caused by spikes, per sample."""
        return sum(layer.acs for layer in self.layers)

    @property
    def neuron_updates(self) -> float:
        """Updates of a membrane, per sample."""
        return sum(layer.neuron_updates for layer in self.layers)

    @property
    def spikes(self) -> float:
        """Spikes per sample."""
        return sum(layer.spikes for layer in self.layers)

    @property
    def state_bytes(self) -> float:
        """Memory of the state between steps, per sample."""
        return sum(layer.state_bytes for layer in self.layers)

    @property
    def firing_rate(self) -> float:
        """Spikes per neuron and step over all layers; 0 for a model without neurons."""
        return self.spikes / self.neuron_updates if self.neuron_updates else 0.0

    def energy_pj(self, *, mac_pj: float = 4.6, ac_pj: float = 0.9) -> float:
        """Arithmetic energy per sample in pJ, on hardware that skips zeros; memory traffic is not in it.

        Args:
            mac_pj: Energy of a multiply-accumulate; the default is float32 at 45 nm.
            ac_pj: Energy of an accumulate; the default is float32 at 45 nm.

        References:
            Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014.
        """
        return self.macs * mac_pj + self.acs * ac_pj

    def dense_energy_pj(self, *, mac_pj: float = 4.6) -> float:
        """Arithmetic energy per sample in pJ, on hardware that computes with zeros too."""
        return self.dense_macs * mac_pj

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values for JSON: all fields, totals and firing rates."""
        totals = ("dense_macs", "macs", "acs", "neuron_updates", "spikes", "state_bytes", "firing_rate")
        values = {key: value for key, value in vars(self).items() if key != "layers"}
        layers = [{**dataclasses.asdict(layer), "firing_rate": layer.firing_rate} for layer in self.layers]
        return {**values, **{key: getattr(self, key) for key in totals}, "layers": layers}

    def table(self) -> str:
        """The report as text, one line per layer."""
        header = ("layer", "kind", "parameters", "dense MACs", "MACs", "ACs", "neuron updates", "spikes", "firing rate")
        rows = [header, *(_row(layer.name, layer.kind, layer) for layer in self.layers), _row("total", "", self)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
        lines = [
            "  ".join(
                cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:-1], "-" * len(lines[0]), lines[-1]])


def _row(name: str, kind: str, counts: Any) -> tuple[str, ...]:
    keys = ("parameters", "dense_macs", "macs", "acs", "neuron_updates", "spikes")
    shown = ("spikes",) if counts.neuron_updates else ()  # a silent layer shows its zero, other layers a blank
    numbers = (f"{getattr(counts, key):,.0f}" if getattr(counts, key) or key in shown else "" for key in keys)
    return (name, kind, *numbers, f"{counts.firing_rate:.4f}" if counts.neuron_updates else "")
