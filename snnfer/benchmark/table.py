"""The main table of a run as plain text, for the terminal."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from snnfer.benchmark._format import NOT_COMPARABLE, value_with_interval, with_interval

HEADER = ("model", "input", "variant", "top-1 % [95 % interval]", "top-3 %", "UF1 %", "UAR %", "clips")
TRANSFER_HEADER = ("system", "representation", "encoder", "variant", "window top-1 % [95 % interval]", "clip top-1 %",
                   "clip top-3 %", "clip UAR %", "windows", "clips")  # fmt: skip
RECONSTRUCTION_HEADER = ("model", "representation", "resolution", "condition", "MSE", "PSNR dB",
                         "SSIM [95 % interval]", "NCC", "windows")  # fmt: skip


def result_table(run_dir: str | os.PathLike[str]) -> str:
    """One row per network and control of a run with a report, from its ``metrics.json``; for each kind of benchmark."""
    metrics = json.loads((Path(run_dir) / "metrics.json").read_text(encoding="utf-8"))
    parts = _PARTS[metrics.get("kind", "recognition")](metrics)
    return "\n\n".join(parts if metrics.get("comparable", True) else [*parts, NOT_COMPARABLE])


def _recognition(metrics: dict[str, Any]) -> list[str]:
    return [f"{_aligned(HEADER, [_row(network) for network in metrics['networks']])}\n{_chance(metrics)}"]


def _transfer(metrics: dict[str, Any]) -> list[str]:
    parts = []
    if metrics["reconstructions"]:
        parts += _reconstruction(metrics["reconstructions"])
    if metrics["networks"]:
        rows = [_transfer_row(network) for network in metrics["networks"]]
        parts.append(f"{_aligned(TRANSFER_HEADER, rows)}\n{_chance(metrics)}")
    return parts


def _reconstruction(metrics: dict[str, Any]) -> list[str]:
    return [_aligned(RECONSTRUCTION_HEADER, [_reconstruction_row(network) for network in metrics["networks"]])]


def _aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [header, *rows]
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def _chance(metrics: dict[str, Any]) -> str:
    chance = metrics["chance"]
    return f"chance: top-1 {chance['top1']:.1%}, top-3 {chance['top3']:.1%}"


def _row(network: dict[str, Any]) -> tuple[str, ...]:
    rest = (f"{100 * network[name]['estimate']:.1f}" for name in ("top3", "uf1", "uar"))
    name, modality, variant = network["model"], network["modality"], network["variant"].replace("_", " ")
    return (name, modality, variant, with_interval(network["top1"]), *rest, str(network["n_clips"]))


def _transfer_row(network: dict[str, Any]) -> tuple[str, ...]:
    names = (network[name] for name in ("system", "representation", "encoder_training"))
    rest = (f"{100 * network[name]['estimate']:.1f}" for name in ("clip_top1", "clip_top3", "clip_uar"))
    counts = (str(network[name]) for name in ("n_windows", "n_clips"))
    return (*names, network["variant"].replace("_", " "), with_interval(network["window_top1"]), *rest, *counts)


def _reconstruction_row(network: dict[str, Any]) -> tuple[str, ...]:
    names = (network[name] for name in ("model", "representation", "resolution", "condition"))
    mse, psnr, ncc = (network[name] | {"low": None, "high": None} for name in ("mse", "psnr", "ncc"))
    scores = (value_with_interval(mse, 4), value_with_interval(psnr, 2), value_with_interval(network["ssim"], 4))
    return (*names, *scores, value_with_interval(ncc, 4), str(network["n_windows"]))


_PARTS = {"recognition": _recognition, "transfer": _transfer, "reconstruction": _reconstruction}
