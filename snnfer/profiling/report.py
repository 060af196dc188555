"""The result of counting: operations per layer and in total."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from snnfer.errors import ConfigError

COUNTS = (
    "dense_macs",
    "macs",
    "acs",
    "neuron_updates",
    "spikes",
    "state_bytes",
    "dense_weight_reads",
    "state_accesses",
    "inputs",
    "nonzero_inputs",
    "outputs",
)
"""Counts of a layer that add up over layers and average over samples."""

BITS = {"float32": 32, "float16": 16, "int8": 8}
"""Bits of a value at each precision."""


def bits_of(precision: str) -> int:
    """Bits of one value.

    Raises:
        ConfigError: an unknown precision.

    Examples:
        >>> bits_of("int8")
        8
    """
    if precision not in BITS:
        raise ConfigError(f"precision '{precision}'", expected="one of " + ", ".join(BITS))
    return BITS[precision]


@dataclasses.dataclass(frozen=True)
class LayerOperations:
    """Operations of one layer, per sample (the mean over the batch, the sum over all steps).

    Args:
        name: Name inside the model, as in ``model.named_modules()``.
        kind: Class of the layer.
        parameters: Number of parameters.
        weight_bytes: Memory of the parameters as they are stored.
        dense_macs: Multiply-accumulates when every input counts.
        macs: Multiply-accumulates of nonzero real-valued inputs.
        acs: Accumulates: one per spike and synapse that it reaches.
        neuron_updates: Updates of a membrane: neurons times steps.
        spikes: Nonzero outputs of the neurons.
        state_bytes: Memory of the state between steps.
        dense_weight_reads: Weights read by hardware that reads all of them once per call of the layer.
        state_accesses: Values of state that are read and written: two per value and step.
        inputs: Values that come in.
        nonzero_inputs: Those that are not zero.
        outputs: Values that go out of a weighted layer.
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
    dense_weight_reads: float = 0
    state_accesses: float = 0
    inputs: float = 0
    nonzero_inputs: float = 0
    outputs: float = 0

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
        weight_bytes: Memory of all parameters as they are stored.
        unattributed_macs: Dense multiply-accumulates that torch counted outside the layers above (the products of
            attention and of recurrent layers, for example), per sample; in `total_macs` and in no other figure.
        samples: One report per sample.
    """

    model: str
    n_steps: int
    n_samples: int
    layers: tuple[LayerOperations, ...]
    parameters: int
    weight_bytes: int
    unattributed_macs: float
    samples: tuple["OperationReport", ...] = dataclasses.field(default=(), repr=False)

    @property
    def dense_macs(self) -> float:
        """Multiply-accumulates per sample when every input counts."""
        return self._total("dense_macs")

    @property
    def total_macs(self) -> float:
        """True multiply-accumulates per sample: of the layers and outside of them."""
        return self.dense_macs + self.unattributed_macs

    @property
    def macs(self) -> float:
        """Multiply-accumulates of nonzero real-valued inputs, per sample."""
        return self._total("macs")

    @property
    def acs(self) -> float:
        """Accumulates caused by spikes, per sample."""
        return self._total("acs")

    @property
    def neuron_updates(self) -> float:
        """Updates of a membrane, per sample."""
        return self._total("neuron_updates")

    @property
    def spikes(self) -> float:
        """Spikes per sample."""
        return self._total("spikes")

    @property
    def state_bytes(self) -> float:
        """Memory of the state between steps, per sample."""
        return self._total("state_bytes")

    @property
    def firing_rate(self) -> float:
        """Spikes per neuron and step over all layers; 0 for a model without neurons."""
        return self.spikes / self.neuron_updates if self.neuron_updates else 0.0

    def weight_bytes_at(self, precision: str) -> float:
        """Memory of all parameters in bytes, were they stored as ``float32``, ``float16`` or ``int8``."""
        return self.parameters * bits_of(precision) / 8

    def traffic(self, precision: str = "float32") -> "Traffic":
        """Bytes moved per sample when every value takes the bits of `precision`; see `Traffic`."""
        n_bytes = bits_of(precision) / 8
        return Traffic(
            dense_weights=self._total("dense_weight_reads") * n_bytes,
            weights=(self.macs + self.acs) * n_bytes,
            states=self._total("state_accesses") * n_bytes,
            dense_activations=(self._total("inputs") + self._total("outputs")) * n_bytes,
            activations=(self._total("nonzero_inputs") + self._total("outputs")) * n_bytes,
        )

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values for JSON: all fields, totals, firing rates, and the totals of each sample."""
        values = {key: value for key, value in vars(self).items() if key not in ("layers", "samples")}
        layers = [{**dataclasses.asdict(layer), "firing_rate": layer.firing_rate} for layer in self.layers]
        samples = [sample._totals() for sample in self.samples]
        return {**values, **self._totals(), "layers": layers, "samples": samples}

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

    def _total(self, count: str) -> float:
        return sum(getattr(layer, count) for layer in self.layers)

    def _totals(self) -> dict[str, float]:
        return {**{key: self._total(key) for key in COUNTS}, "total_macs": self.total_macs,
                "firing_rate": self.firing_rate}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Traffic:
    """Bytes that move between memory and arithmetic for one sample, under stated assumptions.

    Args:
        dense_weights: Every weight of a layer read once per call of the layer: hardware that keeps weights for all
            positions of an image, as in a convolution.
        weights: One weight read per synaptic operation: event-driven hardware that fetches the weight of each synapse
            that a nonzero input reaches.
        states: The state of a neuron, read and written at every update.
        dense_activations: Every input of a weighted layer read, every output written.
        activations: Every nonzero input read, every output written.
    """

    dense_weights: float
    weights: float
    states: float
    dense_activations: float
    activations: float

    @property
    def dense(self) -> float:
        """All bytes of hardware that computes with zeros too."""
        return self.dense_weights + self.states + self.dense_activations

    @property
    def event_driven(self) -> float:
        """All bytes of hardware that skips zeros."""
        return self.weights + self.states + self.activations


def mean_report(samples: Sequence[OperationReport]) -> OperationReport:
    """The mean of reports of one sample each; layers in the order in which the samples called them."""
    found = [{layer.name: layer for layer in sample.layers} for sample in samples]
    first = {name: layer for layers in reversed(found) for name, layer in layers.items()}
    names = dict.fromkeys(name for layers in found for name in layers)
    absent = LayerOperations("", "")
    layers = []
    for name in names:
        each = [layers_of.get(name, absent) for layers_of in found]
        means = {count: sum(getattr(layer, count) for layer in each) / len(each) for count in COUNTS}
        layers.append(dataclasses.replace(first[name], **means))
    return dataclasses.replace(
        samples[0],
        n_samples=len(samples),
        layers=tuple(layers),
        unattributed_macs=sum(sample.unattributed_macs for sample in samples) / len(samples),
        samples=tuple(samples),
    )


def _row(name: str, kind: str, counts: Any) -> tuple[str, ...]:
    keys = ("parameters", "dense_macs", "macs", "acs", "neuron_updates", "spikes")
    shown = ("spikes",) if counts.neuron_updates else ()  # a silent layer shows its zero, other layers a blank
    numbers = (f"{getattr(counts, key):,.0f}" if getattr(counts, key) or key in shown else "" for key in keys)
    return (name, kind, *numbers, f"{counts.firing_rate:.4f}" if counts.neuron_updates else "")
