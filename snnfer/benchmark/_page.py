"""From the numbers and figures of a report to the files in the run folder."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from snnfer._files import atomic_path, write_json
from snnfer._optional import require
from snnfer.benchmark._figures import ReportFigure


def write_page(
    folder: Path,
    template: str,
    *,
    metrics: Mapping[str, Any],
    figures: Sequence[ReportFigure],
    content: Mapping[str, Any],
) -> Path:
    """Write ``metrics.json``, ``figures/*.png`` and ``report.html`` into a run folder; returns the last.

    Args:
        folder: The run folder.
        template: Name of a file in ``templates/``.
        metrics: Every number of the report.
        figures: Drawn figures, in the order of the report.
        content: What else the template prints.
    """
    write_json(folder / "metrics.json", metrics)
    for figure in figures:
        with atomic_path(folder / "figures" / f"{figure.name}.png") as temporary:
            temporary.write_bytes(figure.png)
    page = _template(template).render(**content, figures=figures)
    target = folder / "report.html"
    with atomic_path(target) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return target


def frame_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What the frame that all reports share prints of a run: its title, its state, its config."""
    return {
        "manifest": manifest,
        "title": manifest["title"] or manifest["run_id"],
        "missing": manifest["missing_jobs"],
        "comparable": manifest["protocol"]["comparable"],
        "config_yaml": require("yaml", extra="cli").safe_dump(manifest["config"], sort_keys=False, allow_unicode=True),
    }


def _template(name: str) -> Any:
    jinja2 = require("jinja2", extra="bench")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("snnfer.benchmark", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode("ascii")
    return environment.get_template(name)
