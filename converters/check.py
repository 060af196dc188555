"""Whether a network can be exported, layer by layer, and what it needs on a chip: asked before any training."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from snnfer.converters._chain import Chain, Refused
from snnfer.converters._verdicts import DIRECT, Judge, Target, Verdict
from snnfer.converters.from_model import read_chain
from snnfer.converters.graph import Activation, Affine, Conv, Graph, Node, Pool, Shape, Spike
from snnfer.converters.loihi.resources import LayerResources, Resources, estimate_resources
from snnfer.converters.passes import for_chip

TARGETS: tuple[Target, ...] = ("lava", "nir")
KINDS = {Affine: "norm", Spike: "neurons", Activation: "activation"}
_COLUMNS = ("layer", "kind", "output", "lava", "NIR")
_RESOURCES = ("cores", "axons", "memory")


@dataclass(frozen=True)
class LayerCheck:
    """One operation of the network.

    Args:
        name: Name in the network.
        kind: Kind of node, or class of a module that cannot be read.
        shape: Output shape; empty where the module cannot be read.
        lava, nir: The verdicts.
    """

    name: str
    kind: str
    shape: Shape
    lava: Verdict
    nir: Verdict


@dataclass(frozen=True)
class ExportCheck:
    """What of a network can be exported.

    Args:
        layers: In the order of computation.
        complete: Whether all layers were reached; behind one of unknown output none is.
        loihi1, loihi2: What it needs on a chip; None for a network that lava cannot have at all.
    """

    layers: tuple[LayerCheck, ...]
    complete: bool
    loihi1: Resources | None
    loihi2: Resources | None

    def exportable(self, target: Target) -> bool:
        """Whether all layers can go to `target`."""
        return self.complete and all(getattr(layer, target).answer != "no" for layer in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "exportable": {target: self.exportable(target) for target in TARGETS},
            "complete": self.complete,
            "layers": [
                {**vars(layer), "shape": list(layer.shape), "lava": vars(layer.lava), "nir": vars(layer.nir)}
                for layer in self.layers
            ],
            "loihi1": self.loihi1.to_dict() if self.loihi1 else None,
            "loihi2": self.loihi2.to_dict() if self.loihi2 else None,
        }

    def table(self) -> str:
        """One row per layer; below it why and what to change."""
        head = (*_COLUMNS, *(f"{_short(chip)} {what}" for chip in self._chips() for what in _RESOURCES))
        rows = [head, *(self._row(layer) for layer in self.layers)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, "", *self._reasons(), *self._summary()])

    def _chips(self) -> list[Resources]:
        return [chip for chip in (self.loihi1, self.loihi2) if chip]

    def _row(self, layer: LayerCheck) -> tuple[str, ...]:
        shape = " x ".join(map(str, layer.shape))
        cells = [layer.name or "(all of it)", layer.kind, shape, layer.lava.answer, layer.nir.answer]
        for chip in self._chips():
            need = next((need for need in chip.layers if need.name == layer.name), None)
            cells += _resource_cells(need)
        return tuple(cells)

    def _reasons(self) -> Iterator[str]:
        """Layers of one reason on one line; what cannot be exported with its fix."""
        grouped: dict[tuple[Verdict, str], list[str]] = {}
        for layer in self.layers:
            name = layer.name or "all of it"
            if layer.lava == layer.nir:
                grouped.setdefault((layer.lava, "lava and NIR"), []).append(name)
            else:
                grouped.setdefault((layer.lava, "lava"), []).append(name)
                grouped.setdefault((layer.nir, "NIR"), []).append(name)
        for (verdict, who), names in grouped.items():
            if verdict.reason:
                fix = f"; fix: {verdict.fix}" if verdict.fix else ""
                yield f"{who}, {verdict.answer}: {verdict.reason} ({', '.join(names)}){fix}"

    def _summary(self) -> Iterator[str]:
        if not self.complete and self.layers[-1].name:
            yield f"layers behind {self.layers[-1].name} were not reached, because its output is not known"
        for target in TARGETS:
            yield f"{_label(target)}: {self._answer(target)}"
        for chip in self._chips():
            yield from _resource_lines(chip)

    def _answer(self, target: Target) -> str:
        answers = {getattr(layer, target).answer for layer in self.layers}
        if not self.exportable(target):
            return "not exportable"
        if "graph only" in answers:
            return f"exportable as a lava graph, not as a netx file ({DIRECT})"
        return "exportable" + (" after folding, without error in float" if "after folding" in answers else "")


def _label(target: Target) -> str:
    return "NIR" if target == "nir" else target


def _resource_cells(need: LayerResources | None) -> list[str]:
    if need is None:
        return [""] * len(_RESOURCES)
    cores = "none fit" if need.cores is None else f"{need.cores:,}"
    return [cores, f"{need.input_axons:,}", f"{need.memory_bits / 8192:.1f} KB"]


def _short(resources: Resources) -> str:
    """L1 or L2."""
    return resources.chip.label.replace("oihi ", "")


def _resource_lines(resources: Resources) -> Iterator[str]:
    chip = resources.chip
    without = ", ".join(layer.name for layer in resources.layers if not layer.fits)
    cores = f"{resources.cores} cores" + (f" without {without}" if without else "")
    yield f"{_short(resources)}, {chip.label}: {cores}; a chip has {chip.cores} (estimate; limits: {chip.source})"
    for layer in resources.layers:
        if not layer.fits:
            yield f"{chip.label}, {layer.name} does not fit: {layer.problem}; fix: {layer.change}"


def check_export(model: nn.Module, *, input_shape: Sequence[int] | None = None) -> ExportCheck:
    """Say for each layer of `model` whether lava and NIR can have it, and what it needs on Loihi 1 and 2.

    A layer that no graph has is a row like others. Resources are those of the rewritten network, with max pooling of
    spikes as a layer of neurons. Weights do not matter, but for a layer whose weights are all 0.

    Args:
        model: Any network.
        input_shape: As for `snnfer.converters.from_model.to_graph`.

    Raises:
        ConversionError: the shape of the input is not known.

    Examples:
        >>> from snnfer.models import create_model
        >>> check = check_export(create_model("au_snn", n_classes=3, size=(16, 16), channels=4, hidden=8, votes=2))
        >>> check.exportable("lava"), check.exportable("nir")
        (True, True)
        >>> [layer.lava.answer for layer in check.layers[:4]]
        ['yes', 'after folding', 'yes', 'after folding']
        >>> soft = check_export(nn.Sequential(nn.Linear(4, 2), nn.Softplus()))
        >>> soft.layers[1].lava.answer, soft.layers[1].lava.reason
        ('no', 'Softplus')
    """
    chain, shape = read_chain(model, input_shape=input_shape, strict=False)
    layers = tuple(_layers(chain, shape))
    lava = chain.complete and all(layer.lava.answer != "no" for layer in layers)
    if not lava or not any(isinstance(node, Spike) for node in chain.nodes):
        return ExportCheck(layers, chain.complete, None, None)
    graph = for_chip(Graph(chain.nodes, shape))
    loihi1, loihi2 = (estimate_resources(graph, chip=chip) for chip in ("loihi1", "loihi2"))
    return ExportCheck(layers, chain.complete, loihi1, loihi2)


def _layers(chain: Chain, shape: Shape) -> Iterator[LayerCheck]:
    """Verdicts on everything that was read, part by part between what could not be."""
    nodes: list[tuple[Node, Shape]] = []
    for part, after in chain.parts:
        if isinstance(part, Node):
            nodes.append((part, after))
            continue
        yield from _judge(nodes, shape, goes_on=True)
        verdict = _refusal(part)
        yield LayerCheck(part.name, part.kind, after, verdict, verdict)
        nodes, shape = [], after
    yield from _judge(nodes, shape, goes_on=False)


def _judge(nodes: list[tuple[Node, Shape]], shape: Shape, *, goes_on: bool) -> Iterator[LayerCheck]:
    if nodes:
        judge = Judge(Graph(tuple(node for node, _ in nodes), shape), goes_on=goes_on)
        for node, after in nodes:
            yield LayerCheck(node.name, _kind(node), after, judge(node, "lava"), judge(node, "nir"))


def _refusal(part: Refused) -> Verdict:
    error = part.error
    plain = (f"'{part.name}' is a {part.kind}", f"the network is a {part.kind}")
    given = part.kind if error.given in plain else error.given.removeprefix(f"'{part.name}' ").removeprefix("is ")
    reason = given + (f": {error.cause}" if error.cause else "")
    return Verdict("no", reason, error.fix)


def _kind(node: Node) -> str:
    if isinstance(node, Conv) and node.groups > 1:
        return "conv, grouped"
    if isinstance(node, Pool):
        return f"{node.kind} pool"
    return KINDS.get(type(node), type(node).__name__.lower())
