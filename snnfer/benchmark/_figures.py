"""Figures of a report, drawn from its numbers and its stored example."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from snnfer import plot
from snnfer.benchmark._format import NOT_COMPARABLE, network_name, of_variant
from snnfer.benchmark.store import RunFiles

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class ReportFigure:
    """A drawn figure.

    Args:
        name: File name without ending.
        section: Part of the report that shows it.
        caption: What is seen.
        png: The picture.
        min_width_px: Below this width it scrolls instead of shrinking.
        max_width_px: It is not shown wider than this.
    """

    name: str
    section: str
    caption: str
    png: bytes
    min_width_px: int
    max_width_px: int


def draw_figures(run: RunFiles, metrics: Mapping[str, Any]) -> list[ReportFigure]:
    """All figures that the stored files allow, in the order of the report."""
    networks, step_s = of_variant(metrics, "standard"), _step_s(run)
    figures = []
    if networks:
        figures += [_subjects(networks, metrics), *_over_time(networks, metrics, step_s)]
        figures += [_confusion(network, metrics) for network in networks]
        figures += [_recall(networks, metrics)]
    if not metrics.get("comparable", True):
        figures = [replace(figure, caption=f"{figure.caption} {NOT_COMPARABLE}") for figure in figures]
    return figures + _operations(run.operations) + _example(run.examples, step_s)


def drawn(figure: "Figure", name: str, section: str, caption: str, *, keep_size: bool = False) -> ReportFigure:
    """A figure with its place in the report; one that must keep its size scrolls on a narrow screen."""
    width_px = round(figure.get_size_inches()[0] * 96)
    return ReportFigure(
        name,
        section,
        caption,
        plot.figure_png(figure),
        round(0.85 * width_px) if keep_size else 0,
        round(1.35 * width_px),
    )


def _subjects(networks: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any]) -> ReportFigure:
    scores = {network_name(n): list(n["subject_top1"]["values"].values()) for n in networks}
    intervals = {network_name(n): (n["top1"]["estimate"], n["top1"]["low"], n["top1"]["high"]) for n in networks}
    figure = plot.plot_subject_scores(scores, intervals, chance=metrics["chance"]["top1"])
    level = round(100 * metrics["intervals"]["level"])
    text = (
        "Top-1 accuracy. Dots: each held-out subject; diamonds: all clips pooled; bars: "
        f"{level} % interval from resampling subjects; dashed: guessing."
    )
    return drawn(figure, "subjects", "subjects", text)


def _over_time(
    networks: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any], step_s: float | None
) -> list[ReportFigure]:
    curves = {network_name(n): _several(n["top1_over_time"]) for n in networks}
    if not any(curves.values()):
        return []
    figure = plot.plot_accuracy_over_time(curves, chance=metrics["chance"]["top1"], step_s=step_s)
    text = (
        "Accuracy of the prediction so far (running mean of the votes), over the time of the clip. Clips that have "
        "ended keep their last prediction. Networks that answer only at the end of a clip are not shown."
    )
    return [drawn(figure, "accuracy_over_time", "time", text)]


def _several(curve: Sequence[float] | None) -> Sequence[float] | None:
    """A curve of more than one step; a still image has no time to show."""
    return curve if curve and len(curve) > 1 else None


def _confusion(network: Mapping[str, Any], metrics: Mapping[str, Any]) -> ReportFigure:
    matrix = np.array(network["confusion"])
    figure = plot.plot_confusion_matrix(matrix, metrics["class_names"], title=network_name(network))
    unit = "clips" if len(network["seeds"]) == 1 else f"clips, summed over {len(network['seeds'])} seeds"
    text = f"{network_name(network)}: numbers are {unit}; colour is the share of the true class."
    name = f"confusion_{network['model']}_{network['modality']}"
    return drawn(figure, name, "confusion", text, keep_size=True)


def _recall(networks: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any]) -> ReportFigure:
    recall = np.array([[np.nan if v is None else v for v in n["recall"]] for n in networks]).T  # [K, M]
    figure = plot.plot_recall(recall, metrics["class_names"], [network_name(n) for n in networks])
    return drawn(figure, "recall", "recall", "Recall of each class in per cent: found clips of all its clips.")


def _operations(operations: Sequence[Mapping[str, Any]]) -> list[ReportFigure]:
    counted = [entry for entry in operations if entry.get("parameters") is not None]
    if not counted:
        return []
    values = [[entry.get(name) for entry in counted] for name in ("parameters", "macs", "acs")]
    figure = plot.plot_operations([network_name(entry) for entry in counted], *values)
    text = (
        "Parameters, and operations for one held-out clip. MAC: multiply and add, at real-valued inputs; AC: add only, "
        "caused by a spike. Logarithmic axes."
    )
    return [drawn(figure, "operations", "cost", text)]


def _example(examples: Mapping[str, np.ndarray], step_s: float | None) -> list[ReportFigure]:
    figures = []
    clip = f" (clip {examples['event_clip']})" if "event_clip" in examples else ""
    if "event_frames" in examples:
        rgb = examples.get("rgb_frames")
        figure = plot.plot_event_frames(examples["event_frames"], step_s=step_s, rgb=rgb)
        what = "event counts" if examples["event_frames"].shape[1] == 2 else "their representation of the events"
        text = f"What the networks see of one held-out subject{clip}: {what} per step"
        text += ", and the RGB frames of the same moments below." if rgb is not None else "."
        figures.append(drawn(figure, "event_frames", "example", text))
    rasters = {name.removeprefix("raster_"): a for name, a in examples.items() if name.startswith("raster_")}
    if rasters:
        text = f"Spikes of each layer for the same clip{clip}; of large layers an even sample of neurons."
        figures.append(drawn(plot.plot_raster(rasters, step_s=step_s), "spikes", "example", text))
    return figures


def _step_s(run: RunFiles) -> float | None:
    """Length of a step: stored with the example, or set in the config; None where steps differ in length."""
    if "steps_us" in run.examples:
        return int(run.examples["steps_us"]) / 1e6
    data = run.manifest["config"].get("data", {})
    if not isinstance(data, dict) or data.get("slicing", "time") != "time":
        return None
    return data["window_us"] / 1e6 if "window_us" in data else None
