"""The main table of a run as plain text, for the terminal."""

import json
import os
from pathlib import Path
from typing import Any

HEADER = ("model", "input", "variant", "top-1 % [95 % interval]", "top-3 %", "UF1 %", "UAR %", "clips")


def result_table(run_dir: str | os.PathLike[str]) -> str:
    """One row per network and control of a finished run, from its ``metrics.json``."""
    metrics = json.loads((Path(run_dir) / "metrics.json").read_text(encoding="utf-8"))
    rows = [HEADER, *(_row(network) for network in metrics["networks"])]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    chance = metrics["chance"]
    return "\n".join([*lines, f"chance: top-1 {chance['top1']:.1%}, top-3 {chance['top3']:.1%}"])


def _row(network: dict[str, Any]) -> tuple[str, ...]:
    top1 = network["top1"]
    interval = "" if top1["low"] is None else f" [{100 * top1['low']:.1f}, {100 * top1['high']:.1f}]"
    rest = (f"{100 * network[name]['estimate']:.1f}" for name in ("top3", "uf1", "uar"))
    name, modality, variant = network["model"], network["modality"], network["variant"].replace("_", " ")
    return (name, modality, variant, f"{100 * top1['estimate']:.1f}{interval}", *rest, str(network["n_clips"]))
