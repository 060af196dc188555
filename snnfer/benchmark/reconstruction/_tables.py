"""Tables of reconstruction scores, as text cells, with published figures beside them."""

from collections.abc import Mapping, Sequence
from typing import Any

from snnfer.benchmark._format import DASH, NBSP, value_with_interval
from snnfer.benchmark._tables import Table

ROWS = (("mse", "MSE ↓", 4), ("rmse", "RMSE ↓", 4), ("mae", "MAE ↓", 4), ("psnr", "PSNR (dB) ↑", 2),
        ("ssim", "SSIM ↑", 4), ("ncc", "NCC ↑", 4))  # fmt: skip
"""Metric, its name with the direction that is better, decimals: rows and order of the published tables."""

CONDITIONS = {
    "events": "events only",
    "posterior": "encoder saw the frame",
    "mean_frame": "control: mean training frame",
}

Published = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Table to column to metric to value."""


def column_name(network: Mapping[str, Any]) -> str:
    """How a network stands in a table.

    Examples:
        >>> network = {"model": "cvae", "representation": "polarity_image", "resolution": "EVK4", "condition": "events"}
        >>> column_name(network)
        'cvae, polarity_image, EVK4, events only'
    """
    condition = CONDITIONS.get(network["condition"], network["condition"])
    return f"{network['model']}, {network['representation']}, {network['resolution']}, {condition}"


def score_table(networks: Sequence[Mapping[str, Any]], published: Published) -> Table:
    """Rows: the six metrics. Columns: each network, then each published column."""
    theirs = [(f"published, {table}: {column}", values) for table, columns in published.items()
              for column, values in columns.items()]  # fmt: skip
    header = ["metric", *(column_name(network) for network in networks), *(name for name, _ in theirs)]
    rows = [
        [label, *(_in_two_lines(value_with_interval(network[name], decimals)) for network in networks)]
        + [published_value(values, name, decimals) for _, values in theirs]
        for name, label, decimals in ROWS
    ]
    for name, label in (("n_windows", "windows"), ("n_clips", "clips"), ("n_subjects", "subjects")):
        rows.append([label, *(str(network[name]) for network in networks), *(DASH for _ in theirs)])
    return Table(header, rows)


def published_value(values: Mapping[str, float] | None, name: str, decimals: int) -> str:
    """A published value as text, a dash where there is none.

    Examples:
        >>> published_value({"psnr": 25.31}, "psnr", 2), published_value(None, "psnr", 2)
        ('25.31', '–')
    """
    value = (values or {}).get(name)
    return DASH if value is None else f"{value:.{decimals}f}"


def subject_table(networks: Sequence[Mapping[str, Any]]) -> Table:
    """PSNR and SSIM of each held-out subject under each network."""
    names = sorted({name for network in networks for name in network["per_subject"]})
    rows = [[name, *(_psnr_ssim(network["per_subject"].get(name)) for network in networks)] for name in names]
    return Table(["subject", *(f"{column_name(network)}: PSNR (dB) / SSIM" for network in networks)], rows)


def perfect_note(networks: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """A note on images that no mean PSNR can hold, if there are any."""
    n = sum(network["n_perfect"] for network in networks)
    return (f"{n} perfect images have no finite PSNR and are left out of its means.",) if n else ()


def _in_two_lines(text: str) -> str:
    """The same with no place to break a line but before the interval."""
    return text.replace(", ", f",{NBSP}")


def _psnr_ssim(scores: Mapping[str, Any] | None) -> str:
    if scores is None:
        return DASH
    psnr, ssim = scores["psnr"], scores["ssim"]
    return f"{DASH if psnr is None else f'{psnr:.2f}'} / {ssim:.4f}"
