"""The report of a transfer run: the tables of the evTransFER paper, ours above the published figures."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from snnfer import plot
from snnfer.benchmark._figures import ReportFigure, drawn
from snnfer.benchmark._format import NOT_COMPARABLE, of_variant
from snnfer.benchmark._page import frame_of, write_page
from snnfer.benchmark._sheets import draw_sheets
from snnfer.benchmark._statistics import interval_settings
from snnfer.benchmark._tables import labelled
from snnfer.benchmark.reconstruction._tables import perfect_note
from snnfer.benchmark.reconstruction.report import read_reconstructions
from snnfer.benchmark.reconstruction.summary import summarise_reconstructions
from snnfer.benchmark.store import EXAMPLES, PREDICTIONS, read_examples, read_manifest, read_table
from snnfer.benchmark.transfer import _tables as tables
from snnfer.benchmark.transfer._finding import cautions, finding, ordering_sentences
from snnfer.benchmark.transfer._systems import NETWORKS, TRAININGS, training_text
from snnfer.benchmark.transfer.summary import check_transfer_predictions, summarise_transfer

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class TransferFiles:
    """Everything that is stored of a transfer run, and nothing that is computed from it.

    Args:
        folder: The run folder.
        manifest: Config, data, protocol and environment of the run.
        predictions: Of the classifiers; None if none has been tested yet.
        reconstructions: Scores of the generators; None if none has been tested yet.
        examples: Arrays of the picture sheet; empty if none were stored.
    """

    folder: Path
    manifest: dict[str, Any]
    predictions: "pandas.DataFrame | None"
    reconstructions: "pandas.DataFrame | None"
    examples: dict[str, np.ndarray]


def write_transfer_report(run_dir: str | os.PathLike[str]) -> Path:
    """Write ``metrics.json``, ``figures/*.png`` and ``report.html`` from the stored files of a transfer run.

    Only ``manifest.json``, ``predictions.parquet``, ``reconstructions.parquet`` and ``examples.npz`` are read; what an
    unfinished run does not have yet leaves dashes. Equal files give equal numbers and an equal page.

    Args:
        run_dir: Folder of one run.

    Returns:
        Path of ``report.html``, a page without scripts or external parts.

    Raises:
        ConfigError: the folder is not a run, or its manifest is damaged.
        DatasetError: there is neither table, or a table or the examples are damaged.
    """
    run = read_transfer_run(run_dir)
    metrics = summarise_run(run)
    figures = [*_draw_trainings(metrics), *draw_sheets(run.examples)]
    content = _content(run.manifest, metrics)
    return write_page(run.folder, "transfer.html.jinja", metrics=metrics, figures=figures, content=content)


def read_transfer_run(run_dir: str | os.PathLike[str]) -> TransferFiles:
    """Read the folder of a transfer run; errors as in `write_transfer_report`."""
    folder = Path(run_dir)
    manifest = read_manifest(folder)
    path, predictions = folder / PREDICTIONS, None
    reconstructions = read_reconstructions(folder)
    if path.is_file() or reconstructions is None:
        n_classes = len(manifest["class_names"])
        predictions = check_transfer_predictions(read_table(path), n_classes=n_classes, source=f"'{path}'")
    return TransferFiles(folder, manifest, predictions, reconstructions, read_examples(folder / EXAMPLES))


def summarise_run(run: TransferFiles) -> dict[str, Any]:
    """Every number of the report, the content of ``metrics.json``."""
    names = run.manifest["class_names"]
    recognition = {
        "class_names": list(names),
        "chance": {"top1": 1 / len(names), "top3": min(1.0, 3 / len(names))},
        "intervals": interval_settings(0),
        "networks": [],
        "comparisons": [],
        "ordering": [],
    }
    if run.predictions is not None:
        recognition = summarise_transfer(run.predictions, names)
    reconstructions = None if run.reconstructions is None else summarise_reconstructions(run.reconstructions)
    comparable = bool(run.manifest["protocol"]["comparable"])
    return {"kind": "transfer", "comparable": comparable, **recognition, "reconstructions": reconstructions}


def _content(manifest: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that the template prints, apart from the figures."""
    published = manifest["published"] or {}
    reconstruction = tables.reconstruction_table(metrics, published)
    networks = (metrics["reconstructions"] or {"networks": []})["networks"]
    found = {
        "reconstruction": replace(reconstruction, notes=perfect_note(networks)),
        "lstm": tables.lstm_table(metrics, published),
        "systems": tables.system_table(metrics, published, _window_us(manifest)),
        "comparisons": tables.comparison_table(metrics),
        "controls": tables.control_table(metrics),
        "clips": tables.clip_table(metrics),
        "subjects": tables.subject_table(metrics),
    }
    trainings = {name: tables.training_table(metrics, published, name) for name in NETWORKS}
    comparable = metrics["comparable"]
    return frame_of(manifest) | {
        "finding": finding(manifest, metrics),
        "cautions": cautions(manifest, metrics),
        "ordering": ordering_sentences(metrics),
        "tables": {name: labelled(table, comparable=comparable) for name, table in found.items()},
        "trainings": [(NETWORKS[name], labelled(table, comparable=comparable)) for name, table in trainings.items()],
        "published": published,
        "intervals": metrics["intervals"],
    }


def _window_us(manifest: Mapping[str, Any]) -> int | None:
    data = manifest["config"].get("data", {})
    return data.get("window_us") if isinstance(data, dict) else None


def _draw_trainings(metrics: Mapping[str, Any]) -> list[ReportFigure]:
    panels: dict[str, dict[str, dict[str, tuple]]] = {}
    networks = of_variant(metrics, "standard")
    for system, text in NETWORKS.items():
        for variant in tables.variants_of(metrics):
            scores = {n["encoder_training"]: n["window_top1"] for n in networks
                      if (n["system"], n["representation"]) == (system, variant)}  # fmt: skip
            row = {training_text(t): (scores[t]["estimate"], scores[t]["low"], scores[t]["high"])
                   for t in TRAININGS if t in scores}  # fmt: skip
            if row:
                panels.setdefault(text, {})[variant] = row
    if not panels:
        return []
    figure = plot.plot_trainings(panels, chance=metrics["chance"]["top1"], xlabel="top-1 accuracy of windows (%)")
    level = round(100 * metrics["intervals"]["level"])
    text = (
        f"Top-1 accuracy of evTransFER over all held-out windows, per TIE variant and encoder training. Bars: {level} "
        "% interval from resampling subjects; dashed: guessing."
    )
    return [drawn(figure, "trainings", "trainings", text if metrics["comparable"] else f"{text} {NOT_COMPARABLE}")]
