"""The report of a run: every number and figure computed again from the stored files, in one self-contained page."""

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snnfer._files import atomic_path, write_json
from snnfer._optional import require
from snnfer.benchmark import _tables as tables
from snnfer.benchmark._figures import draw_figures
from snnfer.benchmark._finding import cautions, finding
from snnfer.benchmark._format import network_name, of_variant
from snnfer.benchmark.store import RunFiles, read_run
from snnfer.benchmark.summary import summarise


def write_report(run_dir: str | os.PathLike[str]) -> Path:
    """Write ``metrics.json``, ``figures/*.png`` and ``report.html`` from the stored files of a run.

    Only ``manifest.json``, ``predictions.parquet``, ``ops.json`` and ``examples.npz`` are read, the last two only if
    they are there. Equal files give equal numbers and an equal page.

    Args:
        run_dir: Folder of one run.

    Returns:
        Path of ``report.html``, a page without scripts or external parts.

    Raises:
        ConfigError: the folder is not a run, or its manifest is damaged.
        DatasetError: the predictions or the example are missing or damaged.
    """
    run = read_run(run_dir)
    metrics = summarise(run.predictions, run.manifest["class_names"])
    write_json(run.folder / "metrics.json", metrics)
    figures = draw_figures(run, metrics)
    for figure in figures:
        with atomic_path(run.folder / "figures" / f"{figure.name}.png") as temporary:
            temporary.write_bytes(figure.png)
    page = _template().render(**_content(run, metrics), figures=figures)
    target = run.folder / "report.html"
    with atomic_path(target) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return target


def _content(run: RunFiles, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that the template prints, apart from the figures."""
    manifest = run.manifest
    return {
        "manifest": manifest,
        "title": manifest["title"] or manifest["run_id"],
        "finding": finding(manifest, metrics),
        "cautions": cautions(manifest, metrics),
        "missing": manifest["missing_jobs"],
        "comparable": manifest["protocol"]["comparable"],
        "main": tables.main_table(metrics, run.operations, manifest["published"]),
        "controls": tables.control_table(metrics),
        "comparisons": tables.comparison_table(metrics),
        "seeds": tables.seed_table(metrics) if _several_seeds(metrics) else None,
        "recall": tables.recall_table(metrics),
        "layers": [(network_name(entry), tables.layer_table(entry)) for entry in run.operations if entry.get("layers")],
        "intervals": metrics["intervals"],
        "config_yaml": require("yaml", extra="cli").safe_dump(manifest["config"], sort_keys=False, allow_unicode=True),
    }


def _several_seeds(metrics: Mapping[str, Any]) -> bool:
    return any(len(network["seeds"]) > 1 for network in of_variant(metrics, "standard"))


def _template() -> Any:
    jinja2 = require("jinja2", extra="bench")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("snnfer.benchmark", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode("ascii")
    return environment.get_template("report.html.jinja")
