"""The certificate of an export: how far the integers compute what the trained network computes, layer by layer."""

import inspect
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from snnfer._check import check_labels
from snnfer.converters._certificate import Certificate, LayerCertificate
from snnfer.converters._evaluating import evaluating
from snnfer.converters.graph import Graph, Spike
from snnfer.converters.loihi.graph import ACCUMULATOR_LIMIT, IntegerGraph, IntegerLayer
from snnfer.converters.loihi.twin import LayerTrace, TwinResult, prepare_input, run_layer, run_twin
from snnfer.converters.passes import for_chip
from snnfer.converters.run import run_graph
from snnfer.errors import ConversionError, ShapeError

__all__ = ["Certificate", "LayerCertificate", "certify"]


def certify(
    model: nn.Module,
    graph: Graph,
    integer: IntegerGraph,
    x: torch.Tensor,
    labels: torch.Tensor | None = None,
    *,
    lengths: torch.Tensor | None = None,
    graded: bool = False,
    batch_size: int = 4,
) -> Certificate:
    """Compare a trained network with its integers on clips of people whom it has not seen.

    Float and integer receive the same spikes, those that the chip sees; the accuracy of the trained network on its own
    input stands beside. Steps behind the length of a clip count nowhere but in spikes, operations and peaks.

    Args:
        model: The trained network, from ``[T, N, C, H, W]`` to scores ``[N, n_classes]`` (or of each step); it runs
            in evaluation mode, and has its own mode afterwards.
        graph: Its graph, from `to_graph`.
        integer: Its integers, from `quantise`.
        x: Clips ``[T, N, C, H, W]``.
        labels: Classes ``[N]``; without them there are no accuracies.
        lengths: Valid steps of each clip ``[N]``; all where None.
        graded: Whether the chip takes numbers; see `run_twin`.
        batch_size: Clips that are computed at once.

    Returns:
        The certificate, without the part of the simulator.

    Raises:
        ShapeError: the clips do not fit the network, or labels or lengths the clips, or a label is none of its classes.
        ConversionError: graph and integers are of different networks.

    Examples:
        >>> from snnfer.converters.from_model import to_graph
        >>> from snnfer.converters.loihi.quantise import quantise
        >>> from snnfer.models import create_model
        >>> model = create_model("au_snn", n_classes=3, size=(16, 16), channels=4, hidden=8, votes=2).eval()
        >>> x = torch.poisson(torch.rand(6, 5, 2, 16, 16, generator=torch.Generator().manual_seed(0)))
        >>> graph = to_graph(model)
        >>> certificate = certify(model, graph, quantise(graph), x, torch.arange(5) % 3)
        >>> certificate.layers[1].name, certificate.layers[1].own_mismatch
        ('layers.conv1.pool', 0.0)
        >>> certificate.table().splitlines()[0].split()[:4]
        ['layer', 'neurons', 'differ', 'own']
    """
    chip = for_chip(graph)
    neurons = [node.name for node in chip.nodes if isinstance(node, Spike)]
    if len(neurons) != len(integer.layers):
        raise ConversionError(
            f"the graph has {len(neurons)} layers of neurons, the integer network {len(integer.layers)}",
            expected="both from the same network",
        )
    seen = prepare_input(integer, x, graded=graded)
    lengths = _check_batch(x, labels, lengths, n_classes=graph.shapes[-1][0])
    tallies = [_Tally() for _ in integer.layers]
    scores = _Scores()
    with evaluating(model), torch.no_grad():
        for start in range(0, x.shape[1], batch_size):
            part = slice(start, start + batch_size)
            scores.own.append(_scores(model, x[:, part].float(), lengths[part]))
            scores.chip.append(_scores(model, seen[:, part], lengths[part]))
            outputs = run_graph(chip, seen[:, part], record="spikes")
            votes = list(outputs.values())[-1]
            scores.graph.append(_time_mean(votes, lengths[part]))
            result = run_twin(integer, seen[:, part], graded=graded)
            scores.integer.append(result.scores(lengths[part]))
            spikes = [outputs[name].bool() for name in neurons]
            _compare(tallies, integer, seen[:, part], spikes, result, lengths[part])
    layers = tuple(
        _layer_certificate(layer, tally, x.shape[1]) for layer, tally in zip(integer.layers, tallies, strict=True)
    )
    changed = float((seen != x).double().mean())
    return scores.certificate(layers, labels, n_steps=len(x), changed_input=changed)


@dataclass
class _Scores:
    """Scores of each batch: network on its own input, on the chip's, graph, and integers."""

    own: list[torch.Tensor] = field(default_factory=list)
    chip: list[torch.Tensor] = field(default_factory=list)
    graph: list[torch.Tensor] = field(default_factory=list)
    integer: list[torch.Tensor] = field(default_factory=list)

    def certificate(
        self, layers: tuple[LayerCertificate, ...], labels: torch.Tensor | None, *, n_steps: int, changed_input: float
    ) -> Certificate:
        own, chip, graph, integer = (torch.cat(part).cpu() for part in (self.own, self.chip, self.graph, self.integer))
        accuracies = [None if labels is None else _share(s.argmax(1) == labels.cpu()) for s in (own, chip, integer)]
        return Certificate(
            layers,
            n_samples=len(own),
            n_steps=n_steps,
            accuracy_float=accuracies[0],
            accuracy_float_chip_input=accuracies[1],
            accuracy_integer=accuracies[2],
            same_prediction=_share(chip.argmax(1) == integer.argmax(1)),
            changed_input=changed_input,
            graph_error=float((graph - chip).abs().max()),
        )


@dataclass
class _Tally:
    """Sums over batches for one layer."""

    updates: int = 0
    mismatches: int = 0
    own_mismatches: int = 0
    float_spikes: int = 0
    integer_spikes: int = 0
    traces: list[LayerTrace] = field(default_factory=list)


def _compare(
    tallies: list[_Tally],
    integer: IntegerGraph,
    x: torch.Tensor,
    spikes: list[torch.Tensor],
    result: TwinResult,
    lengths: torch.Tensor,
) -> None:
    """Count where the layers differ in the valid steps; `x` is the input, `spikes` those of the float network."""
    valid = torch.arange(len(x), device=x.device)[:, None] < lengths.to(x.device)  # [T, N]
    received, largest = x, int(x.max())
    for tally, layer, expected, trace in zip(tallies, integer.layers, spikes, result.layers, strict=True):
        alone, _ = run_layer(integer, layer, received, largest_input=largest)
        assert trace.spikes is not None
        tally.updates += int(valid.sum()) * layer.n_neurons
        tally.mismatches += _count(trace.spikes != expected, valid)
        tally.own_mismatches += _count(alone != expected, valid)
        tally.float_spikes += _count(expected, valid)
        tally.integer_spikes += _count(trace.spikes, valid)
        tally.traces.append(replace(trace, spikes=None))
        received, largest = expected, 1


def _layer_certificate(layer: IntegerLayer, tally: _Tally, n_samples: int) -> LayerCertificate:
    traces, report = tally.traces, layer.quantisation
    updates = max(tally.updates, 1)
    return LayerCertificate(
        layer.name,
        layer.n_neurons,
        layer.exact,
        mismatch=tally.mismatches / updates,
        own_mismatch=tally.own_mismatches / updates,
        float_rate=tally.float_spikes / updates,
        integer_rate=tally.integer_spikes / updates,
        spikes=sum(trace.n_spikes for trace in traces) / n_samples,
        synaptic_operations=sum(trace.synaptic_operations for trace in traces) / n_samples,
        peak_current=max(trace.peak_current for trace in traces) / ACCUMULATOR_LIMIT,
        peak_voltage=max(trace.peak_voltage for trace in traces) / ACCUMULATOR_LIMIT,
        wraps=sum(trace.wraps for trace in traces),
        clips=sum(trace.clips for trace in traces),
        weight_error=None if report is None else report.weight_error,
        notes=() if report is None else report.notes,
    )


def _check_batch(
    x: torch.Tensor, labels: torch.Tensor | None, lengths: torch.Tensor | None, *, n_classes: int
) -> torch.Tensor:
    """Lengths ``[N]``, all steps where None."""
    for name, values in (("labels", labels), ("lengths", lengths)):
        if values is not None and not isinstance(values, torch.Tensor):
            raise ShapeError(f"{name} are a {type(values).__name__}", expected=f"a torch tensor [{x.shape[1]}]")
        if values is not None and values.shape != (x.shape[1],):
            raise ShapeError(f"{name} have shape {list(values.shape)}", expected=f"[{x.shape[1]}], one per clip")
    if labels is not None:
        check_labels(labels, n_classes)
    if lengths is None:
        return torch.full((x.shape[1],), len(x))
    if bool((lengths < 1).any()) or bool((lengths > len(x)).any()):
        raise ShapeError(f"lengths from {int(lengths.min())} to {int(lengths.max())}", expected=f"1 to {len(x)} steps")
    return lengths


def _scores(model: nn.Module, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Scores ``[N, n_classes]`` over the valid steps."""
    takes_lengths = "lengths" in inspect.signature(model.forward).parameters
    scores = model(x, lengths=lengths) if takes_lengths else model(x)
    return _time_mean(scores, lengths) if scores.ndim == 3 else scores.double()


def _time_mean(votes: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Mean of ``[T, N, n_classes]`` over the valid steps."""
    valid = torch.arange(len(votes), device=votes.device)[:, None] < lengths.to(votes.device)
    return (votes.double() * valid[..., None]).sum(0) / lengths.to(votes.device)[:, None]


def _count(spikes: torch.Tensor, valid: torch.Tensor) -> int:
    return int((spikes.flatten(2).sum(2) * valid).sum())


def _share(same: torch.Tensor) -> float:
    return float(same.double().mean())
