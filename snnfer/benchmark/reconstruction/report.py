"""The report of a reconstruction run: scores of each network and resolution beside the published ones, and pictures."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnfer.benchmark._finding import few_subjects, synthetic_text
from snnfer.benchmark._format import NBSP, NOT_COMPARABLE, value_with_interval
from snnfer.benchmark._page import frame_of, write_page
from snnfer.benchmark._sheets import draw_sheets
from snnfer.benchmark._tables import labelled
from snnfer.benchmark.reconstruction import _tables as tables
from snnfer.benchmark.reconstruction.summary import check_reconstructions, summarise_reconstructions
from snnfer.benchmark.store import EXAMPLES, RECONSTRUCTIONS, read_examples, read_manifest, read_table
from snnfer.errors import DatasetError

if TYPE_CHECKING:
    import pandas


def write_reconstruction_report(run_dir: str | os.PathLike[str]) -> Path:
    """Write ``metrics.json``, ``figures/*.png`` and ``report.html`` from the stored files of a reconstruction run.

    Only ``manifest.json``, ``reconstructions.parquet`` and ``examples.npz`` are read, the last only if it is there.

    Args:
        run_dir: Folder of one run.

    Returns:
        Path of ``report.html``, a page without scripts or external parts.

    Raises:
        ConfigError: the folder is not a run, or its manifest is damaged.
        DatasetError: the table is missing or damaged, or the examples are damaged.
    """
    folder = Path(run_dir)
    manifest = read_manifest(folder)
    table = read_reconstructions(folder)
    if table is None:
        raise DatasetError(f"there is no '{folder / RECONSTRUCTIONS}'", cause="no fold is complete yet",
                           fix=f"run the benchmark of '{folder.name}' again; complete folds are kept")  # fmt: skip
    comparable = bool(manifest["protocol"]["comparable"])
    metrics = {"kind": "reconstruction", "comparable": comparable, **summarise_reconstructions(table)}
    figures = draw_sheets(read_examples(folder / EXAMPLES))
    return write_page(
        folder, "reconstruction.html.jinja", metrics=metrics, figures=figures, content=_content(manifest, metrics)
    )


def read_reconstructions(folder: Path) -> "pandas.DataFrame | None":
    """Read and check ``reconstructions.parquet`` of a run folder, None if there is none.

    Raises:
        DatasetError: the file is damaged, lacks a column, repeats a row or holds scores that are not finite.
    """
    path = folder / RECONSTRUCTIONS
    return check_reconstructions(read_table(path), source=f"'{path}'") if path.is_file() else None


def _content(manifest: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that the template prints, apart from the figures."""
    networks = metrics["networks"]
    published = (manifest["published"] or {}).get("reconstruction", {})
    scores = tables.score_table(networks, published)
    return frame_of(manifest) | {
        "finding": (_best(manifest, networks), synthetic_text(manifest)),
        "cautions": _cautions(manifest, networks),
        "scores": labelled(replace(scores, notes=tables.perfect_note(networks)), comparable=metrics["comparable"]),
        "subjects": labelled(tables.subject_table(networks), comparable=metrics["comparable"]),
        "published": published,
        "conditions": sorted({network["condition"] for network in networks}),
        "intervals": metrics["intervals"],
    }


def _best(manifest: Mapping[str, Any], networks: list[Mapping[str, Any]]) -> str:
    candidates = [network for network in networks if network["condition"] == "events"] or networks
    best = max(candidates, key=lambda network: network["ssim"]["estimate"])
    people = "had never seen" if manifest["protocol"]["comparable"] else "may have seen in other clips (not comparable)"
    return (
        f"On {manifest['data']['name']}, with {best['n_windows']:,} windows in {best['n_clips']} clips of "
        f"{best['n_subjects']} subjects that the tested network {people}, the best network by SSIM "
        f"({tables.column_name(best)}) reaches an SSIM of {value_with_interval(best['ssim'], 3)} and a PSNR of "
        f"{value_with_interval(best['psnr'], 1)}{NBSP}dB."
    )


def _cautions(manifest: Mapping[str, Any], networks: list[Mapping[str, Any]]) -> list[str]:
    found = []
    if not manifest["protocol"]["comparable"]:
        found.append(f"{NOT_COMPARABLE} The same people were seen in training and in test.")
    found += few_subjects(max(network["n_subjects"] for network in networks))
    return [*found, str(manifest["notes"])] if manifest["notes"] else found
