"""Whether a file of NIR computes the same in another library, spike for spike."""

import os
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import torch
from torch import nn

from snnfer._check import check_choice
from snnfer.converters._silence import SILENT, warn_of_silence
from snnfer.converters.nir.libraries import library_version, run_library
from snnfer.converters.nir.load import from_nir
from snnfer.converters.nir.reading import chain_of, duration_of_step, input_shape_of, module_name, read_nir
from snnfer.converters.nir.spikes import Origin, find_origins, spikes_of
from snnfer.errors import ConversionError, ShapeError
from snnfer.neurons import Neuron

Library = Literal["spikingjelly", "norse", "snntorch", "snnfer"]
LIBRARIES: tuple[Library, ...] = get_args(Library)
ROUNDING = 2e-6
"""Margin, as a share of the threshold, below which the rounding of float32 sums decides whether a neuron fires."""

SAMPLES_AT_ONCE = 8
"""Samples whose spikes are held in memory."""


@dataclass(frozen=True)
class LayerSpikes:
    """Spikes of one layer, in snnfer and in the other library.

    Args:
        name: Name of the neurons in the file.
        n_updates: Spikes or silences compared: steps x samples x neurons.
        n_mismatches: Those that differ.
        firing_rate: Spikes per neuron and step, in snnfer.
    """

    name: str
    n_updates: int
    n_mismatches: int
    firing_rate: float

    @property
    def silent(self) -> bool:
        """Whether it sent no spike in either library, so that there was nothing to compare."""
        return not (self.firing_rate or self.n_mismatches)


@dataclass(frozen=True)
class NirVerification:
    """What `verify_nir` found.

    Args:
        library: The library that ran the file, with its version.
        against: What its spikes were compared with: the model, or snnfer's own reading of the file.
        layers: From input to output.
        origins: The first spikes that differ in each sample; the others may follow from them.
    """

    library: str
    against: str
    layers: tuple[LayerSpikes, ...]
    origins: tuple[Origin, ...] = ()

    @property
    def n_mismatches(self) -> int:
        """Spikes that differ, of all layers."""
        return sum(layer.n_mismatches for layer in self.layers)

    @property
    def n_updates(self) -> int:
        """All that was compared."""
        return sum(layer.n_updates for layer in self.layers)

    @property
    def silent_layers(self) -> tuple[str, ...]:
        """Layers without a spike in either library: their agreement says nothing."""
        return tuple(layer.name for layer in self.layers if layer.silent)

    @property
    def agrees(self) -> bool:
        """Whether all spikes are equal but for those that follow from the rounding of float32.

        Libraries add and scale in another order, so that of some ten million potentials one lies on the other side of
        its threshold. Where a difference starts, the potential must be within `ROUNDING` of the threshold.
        """
        return all(origin.margin <= ROUNDING for origin in self.origins)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        counts = {"n_mismatches": self.n_mismatches, "n_updates": self.n_updates, "agrees": self.agrees}
        origins = [origin._asdict() for origin in self.origins]
        return {**asdict(self), **counts, "silent_layers": list(self.silent_layers), "origins": origins}

    def summary(self) -> str:
        """One sentence, and a warning where layers sent no spikes."""
        warning = warn_of_silence(self.silent_layers, len(self.layers))
        return "\n".join(filter(None, (self._finding(), warning)))

    def _finding(self) -> str:
        share = f"{self.n_mismatches:,} of {self.n_updates:,} spikes differ ({self.n_mismatches / self.n_updates:.4%})"
        text = f"{self.library} against {self.against}: {share}"
        if not self.origins:
            return text
        first, widest = self.origins[0], max(origin.margin for origin in self.origins)
        where = f"first in {first.layer}, step {first.step}, sample {first.sample}"
        why = "rounding: potentials" if self.agrees else "not by rounding: potentials up to"
        return f"{text}; {where}; {why} {widest:.1e} of the threshold from it"

    def table(self) -> str:
        """One line per layer."""
        width = max(len("layer"), *(len(layer.name) for layer in self.layers))
        lines = [f"{'layer':<{width}}  {'compared':>12}  {'firing rate':>11}  {'different':>10}"]
        for layer in self.layers:
            different = SILENT if layer.silent else f"{layer.n_mismatches:,}"
            lines.append(f"{layer.name:<{width}}  {layer.n_updates:>12,}  {layer.firing_rate:>11.4f}  {different:>10}")
        return "\n".join(lines)


def verify_nir(
    source: str | os.PathLike[str] | Any,
    x: torch.Tensor,
    library: Library = "norse",
    *,
    model: nn.Module | None = None,
) -> NirVerification:
    """Run a file of NIR in another library, through its own importer, and compare the spikes of every layer.

    norse and snnTorch flatten the batch with the maps, so that they get one sample at a time; norse and spikingjelly
    are told the duration of a step.

    Args:
        source: File written by `to_nir`, or its graph.
        x: Input ``[T, N, C, H, W]``.
        library: "spikingjelly", "norse", "snntorch", or "snnfer" (its own reading of the file).
        model: The network that was exported: its neurons are compared. Without it, those of snnfer's reading of the
            file, which has neurons for max pooling too.

    Returns:
        Counts of different spikes for every layer that both have.

    Raises:
        ConversionError: the file cannot be read, the library refuses it, or no layer of neurons is in both.
        SnnferError: the library is unknown.
        ShapeError: the input does not fit.
        MissingExtraError: the library is not installed.

    Examples:
        >>> from snnfer.converters.nir.export import to_nir
        >>> from snnfer.models import create_model
        >>> model = create_model("au_snn", size=(8, 8), channels=4, hidden=16).eval()
        >>> x = torch.poisson(torch.rand(5, 2, 2, 8, 8))
        >>> verify_nir(to_nir(model), x, "snnfer", model=model).n_mismatches  # or "norse", ...
        0
    """
    check_choice(library, LIBRARIES, name="library")
    graph = read_nir(source)
    if x.ndim != 5 or not x.numel():
        raise ShapeError(f"an input of shape {list(x.shape)}", expected="[T, N, C, H, W], at least one step and sample")
    if x.shape[2:] != (shape := input_shape_of(graph)):
        raise ShapeError(
            f"an input of shape {list(x.shape)}",
            expected=f"[T, N, {', '.join(map(str, shape))}], which the file reads",
            cause="the file of another network, or data of another size or number of channels",
        )
    reference = model if model is not None else from_nir(graph)
    names = _common_neurons(graph, reference, in_file=model is None)
    parts = [_compare(library, graph, reference, part, names) for part in x.split(SAMPLES_AT_ONCE, 1)]
    layers = tuple(_joined([part[0][i] for part in parts]) for i in range(len(names)))
    origins = tuple(
        origin._replace(sample=origin.sample + i * SAMPLES_AT_ONCE)
        for i, part in enumerate(parts)
        for origin in part[1]
    )
    against = "the model" if model is not None else "snnfer's reading of the file"
    return NirVerification(f"{library} {library_version(library)}".strip(), against, layers, origins)


def _common_neurons(graph: Any, reference: nn.Module, *, in_file: bool) -> dict[str, str]:
    """Names of the neurons in the file, each with its name in the model."""
    known = [name for name, module in reference.named_modules() if isinstance(module, Neuron)]
    nodes = [name for name in chain_of(graph) if type(graph.nodes[name]).__name__ in ("LIF", "IF")]
    names = {name: _name_in_file(name) if in_file else name for name in nodes}
    common = {name: other for name, other in names.items() if other in known}
    if not common:
        raise ConversionError(
            f"the NIR graph has the neurons {', '.join(nodes) or '(none)'}, and the model {', '.join(known)}",
            expected="neurons of one name in both",
            cause="the file of another network",
        )
    return common


def _compare(
    library: Library, graph: Any, reference: nn.Module, x: torch.Tensor, names: dict[str, str]
) -> tuple[list[LayerSpikes], tuple[Origin, ...]]:
    """Counts of each layer, and the first spikes that differ, of some samples."""
    spikes = spikes_of(reference, x)
    ours = {name: spikes[other] for name, other in names.items()}
    if library == "snnfer":
        spikes = spikes_of(from_nir(graph), x)
        theirs = {name: spikes[_name_in_file(name)] for name in names}
    else:
        theirs = run_library(library, graph, x, list(names), dt_s=duration_of_step(graph))
    different = {name: mine != theirs[name].reshape(mine.shape) for name, mine in ours.items()}
    layers = [
        LayerSpikes(name, mine.numel(), int(different[name].sum()), mine.float().mean().item())
        for name, mine in ours.items()
    ]
    if not any(layer.n_mismatches for layer in layers):
        return layers, ()
    found = find_origins(reference, x, {names[name]: mask for name, mask in different.items()})
    in_file = {other: name for name, other in names.items()}
    return layers, tuple(origin._replace(layer=in_file[origin.layer]) for origin in found)


def _joined(parts: list[LayerSpikes]) -> LayerSpikes:
    """Counts of one layer over all samples."""
    n_updates = sum(part.n_updates for part in parts)
    rate = sum(part.firing_rate * part.n_updates for part in parts) / n_updates
    return LayerSpikes(parts[0].name, n_updates, sum(part.n_mismatches for part in parts), rate)


def _name_in_file(name: str) -> str:
    """Name of a node's neurons in `from_nir`'s model."""
    return f"layers.{module_name(name)}"
