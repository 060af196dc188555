"""From a network without spikes to a sigma-delta network in integers with its report."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from snnfer._check import check_labels
from snnfer._words import count
from snnfer.converters._evaluating import evaluating
from snnfer.converters.ann_to_snn.preparation import (
    N_COMPARED,
    check_same,
    graph_of,
    images_of,
    run_in_batches,
)
from snnfer.converters.ann_to_snn.sigma_delta_network import SigmaDeltaSNN
from snnfer.converters.graph import Graph
from snnfer.converters.loihi.sigma_delta import sigma_delta
from snnfer.converters.loihi.sigma_delta_report import SigmaDeltaReport, report_sigma_delta
from snnfer.converters.passes import drop_idle, equalise, fold_affine
from snnfer.errors import ShapeError
from snnfer.models.window_classifier import scores_windows

BATCH = 32


@dataclass(frozen=True)
class SigmaDeltaConversionReport:
    """What `snnfer.converters.ann_to_snn` measured of a sigma-delta network.

    Args:
        run: Errors, registers, messages and synaptic operations per layer.
        ann_accuracy: Accuracy of the network without spikes over all images; None without labels.
        accuracy: Accuracy of the integers.
        agreement: Share of images with the same largest output; None where the output is no vector of scores.
        n_calibration: Images that the ranges come from.
        separate_evaluation: Whether others than the calibration data were measured.
    """

    run: SigmaDeltaReport
    ann_accuracy: float | None
    accuracy: float | None
    agreement: float | None
    n_calibration: int
    separate_evaluation: bool

    @property
    def n_evaluation(self) -> int:
        """Images that were measured."""
        return self.run.n_steps * self.run.n_samples

    @property
    def messages(self) -> float:
        """Messages of all layers per image."""
        return sum(layer.messages for layer in self.run.layers) / self.run.n_steps

    @property
    def synaptic_operations(self) -> float:
        """Synaptic operations of all layers per image."""
        return sum(layer.synaptic_operations for layer in self.run.layers) / self.run.n_steps

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        names = ("ann_accuracy", "accuracy", "agreement", "n_calibration", "separate_evaluation")
        names += ("n_evaluation", "messages", "synaptic_operations")
        return {"method": "sigma_delta", **{name: getattr(self, name) for name in names}, **self.run.to_dict()}

    def table(self) -> str:
        """Layers, accuracies and work as text."""
        source = "other images than the calibration data" if self.separate_evaluation else "the calibration data itself"
        steps = f" in clips of {self.run.n_steps}" if self.run.n_steps > 1 else ""
        lines = [self.run.table(), "", f"{count(self.n_evaluation, 'image')} measured{steps}, {source}"]
        if self.ann_accuracy is not None and self.accuracy is not None:
            lines.append(f"accuracy: float {self.ann_accuracy:.1%}, integer {self.accuracy:.1%}")
        if self.agreement is not None:
            lines.append(f"same prediction, float and integer: {self.agreement:.1%}")
        work = f"{self.messages:,.0f} messages and {self.synaptic_operations:,.0f} synaptic operations per image"
        return "\n".join([*lines, work])


def to_sigma_delta(
    ann: nn.Module | Graph,
    *,
    calibration: torch.Tensor,
    evaluation: torch.Tensor | None = None,
    labels: torch.Tensor | None = None,
    input_shape: Sequence[int] | None = None,
) -> tuple[SigmaDeltaSNN, SigmaDeltaConversionReport]:
    """`snnfer.converters.ann_to_snn` for ``method="sigma_delta"``; see there."""
    with evaluating(ann):
        graph = graph_of(ann, input_shape=input_shape)
        graph = equalise(fold_affine(drop_idle(graph)))  # one scale per layer then fits all its channels
        images = images_of(calibration, graph, name="calibration")
        check_same(ann, graph, images[:N_COMPARED])
    measured = _clips_of(calibration if evaluation is None else evaluation, graph)
    n_images = measured.shape[0] * measured.shape[1]
    if labels is not None and labels.shape != (n_images,):
        raise ShapeError(f"labels have shape {list(labels.shape)}", expected=f"[{n_images}], one per image")
    if labels is not None and len(graph.shapes[-1]) == 1:
        check_labels(labels, graph.shapes[-1][0])
    integer = sigma_delta(graph, calibration=images[None])
    run = report_sigma_delta(graph, integer, measured, batch_size=BATCH)
    wanted, found = run_in_batches(graph, measured.flatten(0, 1)), run.output.flatten(0, 1)
    if labels is not None and found.ndim != 2:
        raise ShapeError(
            f"labels for an output of {list(found.shape[1:])} per image",
            expected="one score per class",
            cause="the network is an encoder without its classifier",
            fix="leave the labels out",
        )
    accuracies = [None if labels is None else _share(scores.argmax(1) == labels) for scores in (wanted, found)]
    report = SigmaDeltaConversionReport(
        run=run,
        ann_accuracy=accuracies[0],
        accuracy=accuracies[1],
        agreement=_share(found.argmax(1) == wanted.argmax(1)) if found.ndim == 2 else None,
        n_calibration=len(images),
        separate_evaluation=evaluation is not None,
    )
    about = {"in_channels": graph.input_shape[0], "size": list(graph.input_shape[1:]), "n_classes": found.shape[1]}
    about["scores_windows"] = isinstance(ann, nn.Module) and scores_windows(ann)
    return SigmaDeltaSNN.from_graph(integer, **about), report


def _clips_of(x: torch.Tensor, graph: Graph) -> torch.Tensor:
    """Clips ``[T, N, *input_shape]`` as they are; images ``[N, *input_shape]`` as clips of one step."""
    images = images_of(x, graph, name="evaluation")
    return images.view(x.shape) if x.ndim == len(graph.input_shape) + 2 else images[None]


def _share(right: torch.Tensor) -> float:
    return float(right.float().mean())
