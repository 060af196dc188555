"""The report of a run: every number and figure computed again from the stored files, in one self-contained page."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from snnfer.benchmark import _tables as tables
from snnfer.benchmark._cost_tables import cost_table, energy_table, scenario_facts
from snnfer.benchmark._figures import draw_figures
from snnfer.benchmark._finding import cautions, finding
from snnfer.benchmark._format import network_name, of_variant
from snnfer.benchmark._page import frame_of, write_page
from snnfer.benchmark.store import RunFiles, read_manifest, read_run
from snnfer.benchmark.summary import summarise
from snnfer.errors import ConfigError
from snnfer.profiling.scenarios import NOTICE


def write_report(run_dir: str | os.PathLike[str]) -> Path:
    """Write ``metrics.json``, ``figures/*.png`` and ``report.html`` from the stored files of a run.

    The kind of the run (recognition, transfer, reconstruction) stands in its manifest. Only ``manifest.json``, the
    tables ``*.parquet``, ``ops.json`` and ``examples.npz`` are read. Equal files give equal numbers and an equal page.

    Args:
        run_dir: Folder of one run.

    Returns:
        Path of ``report.html``, a page without scripts or external parts.

    Raises:
        ConfigError: the folder is not a run, its kind is not known, or its manifest is damaged.
        DatasetError: a table or the example is missing or damaged.
    """
    kind = read_manifest(run_dir).get("kind", "recognition")
    if kind not in _WRITERS:
        raise ConfigError(f"'{run_dir}' is a run of kind '{kind}'", expected="one of " + ", ".join(_WRITERS),
                          cause="it was made by a newer version of snnfer")  # fmt: skip
    return _WRITERS[kind](run_dir)


def _write_recognition_report(run_dir: str | os.PathLike[str]) -> Path:
    run = read_run(run_dir)
    metrics = _in_config_order(summarise(run.predictions, run.manifest["class_names"]), run.operations)
    if not run.manifest["protocol"]["comparable"]:
        metrics["comparable"] = False
    return write_page(
        run.folder,
        "report.html.jinja",
        metrics=metrics,
        figures=draw_figures(run, metrics),
        content=_content(run, metrics),
    )


def _in_config_order(metrics: dict[str, Any], operations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The networks as the config lists them, so that the steps of an ablation follow one another; then the controls."""
    rank = {(entry["model"], entry["modality"]): i for i, entry in enumerate(operations)}
    last = len(rank)
    networks = sorted(metrics["networks"], key=lambda n: rank.get((n["model"], n["modality"]), last))
    return metrics | {"networks": networks}


def _write_transfer_report(run_dir: str | os.PathLike[str]) -> Path:
    from snnfer.benchmark.transfer.report import write_transfer_report

    return write_transfer_report(run_dir)


def _write_reconstruction_report(run_dir: str | os.PathLike[str]) -> Path:
    from snnfer.benchmark.reconstruction.report import write_reconstruction_report

    return write_reconstruction_report(run_dir)


def _content(run: RunFiles, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that the template prints, apart from the figures."""
    manifest = run.manifest
    published = manifest["published"]
    found = {
        "main": tables.main_table(metrics, run.operations, published),
        "controls": tables.control_table(metrics),
        "comparisons": tables.comparison_table(metrics),
        "seeds": tables.seed_table(metrics) if _several_seeds(metrics) else None,
        "recall": tables.recall_table(metrics),
        "costs": cost_table(metrics, run.operations, published) if run.operations else None,
    }
    comparable = metrics.get("comparable", True)
    labelled = {name: table and tables.labelled(table, comparable=comparable) for name, table in found.items()}
    return (
        frame_of(manifest)
        | labelled
        | {
            "finding": finding(manifest, metrics),
            "cautions": cautions(manifest, metrics),
            "energy": energy_table(run.operations),
            "notice": NOTICE,
            "scenarios": scenario_facts(run.operations),
            "layers": [(network_name(e), tables.layer_table(e)) for e in run.operations if e.get("layers")],
            "intervals": metrics["intervals"],
        }
    )


def _several_seeds(metrics: Mapping[str, Any]) -> bool:
    return any(len(network["seeds"]) > 1 for network in of_variant(metrics, "standard"))


_WRITERS = {
    "recognition": _write_recognition_report,
    "transfer": _write_transfer_report,
    "reconstruction": _write_reconstruction_report,
}
