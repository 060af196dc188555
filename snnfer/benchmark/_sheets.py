"""Picture sheets of reconstructed faces from the stored examples of a run."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from snnfer.benchmark._figures import ReportFigure
from snnfer.errors import DatasetError
from snnfer.plot.reconstruction import save_reconstruction_sheet

PARTS = ("events", "reconstruction", "truth")


def draw_sheets(examples: Mapping[str, np.ndarray]) -> list[ReportFigure]:
    """One sheet per column of the examples; a row shows events, reconstruction and true frame of one window.

    Args:
        examples: Content of ``examples.npz``: ``n``, ``columns``, and for example i and column c ``label_i``,
            ``events_i_c``, ``reconstruction_i_c``, ``truth_i_c``; a column may lack some examples.

    Raises:
        DatasetError: ``n`` or ``columns`` is missing.
    """
    if not examples:
        return []
    lacking = [name for name in ("n", "columns") if name not in examples]
    if lacking:
        raise DatasetError(f"the examples lack '{lacking[0]}'", cause="examples.npz is of another kind of run")
    figures = []
    for number, column in enumerate(str(name) for name in examples["columns"]):
        keys = [(i, [f"{part}_{i}_{column}" for part in PARTS]) for i in range(int(examples["n"]))]
        rows = [
            (str(examples.get(f"label_{i}", f"example {i + 1}")), [examples[name] for name in names])
            for i, names in keys
            if all(name in examples for name in names)
        ]
        if rows:
            figures.append(_sheet(f"reconstructions_{number + 1}", column, rows))
    return figures


def _sheet(name: str, column: str, rows: list[tuple[str, list[np.ndarray]]]) -> ReportFigure:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sheet.png"
        save_reconstruction_sheet(path, rows)
        png = path.read_bytes()
    width_px = int.from_bytes(png[16:20], "big")  # the width in a PNG's header
    text = (
        f"{column}: held-out windows as the network sees them, what it makes of the events alone, and the true frame."
    )
    return ReportFigure(name, "pictures", text, png, min(width_px, 420), width_px)
