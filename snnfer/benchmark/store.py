"""Reading and writing the stored files of a run."""

import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from snnfer._files import atomic_path
from snnfer._optional import require
from snnfer.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    import pandas

MANIFEST, PREDICTIONS, OPERATIONS, EXAMPLES = "manifest.json", "predictions.parquet", "ops.json", "examples.npz"
RECONSTRUCTIONS = "reconstructions.parquet"
COLUMNS = ("model", "modality", "variant", "seed", "fold", "subject", "clip", "y_true", "scores")
REQUIRED = {"run_id": (), "class_names": (), "config": (), "data": ("name", "kind"), "protocol": ("name",)}
OPTIONAL: dict[str, Any] = {
    "title": "", "notes": "", "command": "", "created_utc": "", "published": [], "split_hash": "", "versions": {},
    "hardware": {}, "git": {}, "seeds": [], "missing_jobs": [],
    "data": {"fingerprint": "", "n_subjects": None, "n_clips": None, "text": ""},
    "protocol": {"held_out": [], "selection": "", "comparable": True, "text": ""},
}  # fmt: skip


@dataclass(frozen=True)
class RunFiles:
    """Everything that is stored of a run, and nothing that is computed from it.

    Args:
        folder: The run folder.
        manifest: Config, data, protocol and environment of the run.
        predictions: One row per clip, network, seed and fold, in a fixed order.
        operations: Parameters and operations per model and modality; empty if they were not counted.
        examples: Arrays of one example clip; empty if none was stored.
    """

    folder: Path
    manifest: dict[str, Any]
    predictions: "pandas.DataFrame"
    operations: list[dict[str, Any]]
    examples: dict[str, np.ndarray]


def read_run(run_dir: str | os.PathLike[str]) -> RunFiles:
    """Read a run folder.

    Raises:
        ConfigError: the folder is not a run, or its manifest or operation counts are damaged.
        DatasetError: the predictions or the examples are missing, damaged or do not fit the manifest.
    """
    folder = Path(run_dir)
    manifest = read_manifest(folder)
    operations = _read_json(folder / OPERATIONS) if (folder / OPERATIONS).is_file() else []
    if not (isinstance(operations, list) and all({"model", "modality"} <= set(entry) for entry in operations)):
        raise ConfigError(f"'{folder / OPERATIONS}' is damaged", expected="a list of networks", fix=_again(folder))
    predictions = read_predictions(folder, n_classes=len(manifest["class_names"]))
    return RunFiles(folder, manifest, predictions, operations, read_examples(folder / EXAMPLES))


def read_manifest(run_dir: str | os.PathLike[str]) -> dict[str, Any]:
    """Read ``manifest.json`` of a run folder; `ConfigError` if there is none or it is damaged."""
    folder = Path(run_dir)
    if not folder.is_dir():
        raise ConfigError(f"there is no folder '{folder}'", fix="check the path; runs are kept in 'runs' by default")
    path = folder / MANIFEST
    if not path.is_file():
        raise ConfigError(
            f"'{folder}' holds no {MANIFEST}", expected="the folder of one run", cause="a folder above or below it"
        )
    manifest = _read_json(path)
    for key, inner in REQUIRED.items():
        for name, holder in ((key, manifest), *((f"{key}.{k}", (manifest or {}).get(key)) for k in inner)):
            if not isinstance(holder, dict) or name.rpartition(".")[2] not in holder:
                raise ConfigError(f"'{path}' lacks '{name}'", cause="it was edited or damaged", fix=_again(folder))
    nested = {key: OPTIONAL[key] | manifest[key] for key in ("data", "protocol")}
    return OPTIONAL | manifest | nested


def read_predictions(run_dir: str | os.PathLike[str], *, n_classes: int) -> "pandas.DataFrame":
    """Read and check ``predictions.parquet`` of a run folder.

    Raises:
        DatasetError: the file is missing or damaged, lacks a column, repeats a row, or holds impossible classes or
            scores.
    """
    path = Path(run_dir) / PREDICTIONS
    return check_predictions(read_table(path), n_classes=n_classes, source=f"'{path}'")


def read_table(path: Path) -> "pandas.DataFrame":
    """Read a Parquet table of a run; `DatasetError` if it is missing or damaged."""
    pandas = require("pandas", extra="bench")
    pyarrow = require("pyarrow", extra="bench")
    if not path.is_file():
        raise DatasetError(f"there is no '{path}'", cause="no fold is complete yet", fix=_again(path.parent))
    try:
        return pandas.read_parquet(path)
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        cause = str(error).splitlines()[0]
        raise DatasetError(f"'{path}' is not a readable Parquet file", cause=cause, fix=_again(path.parent)) from error


def check_predictions(
    table: "pandas.DataFrame", *, n_classes: int, source: str = "the predictions"
) -> "pandas.DataFrame":
    """Return the predictions in a fixed order, or raise `DatasetError` naming what is wrong with them."""
    key = ["model", "modality", "variant", "seed", "fold", "subject", "clip"]
    ordered = check_rows(table, COLUMNS, key, source=source, unit="clip, network, seed and fold")
    check_scores(ordered, n_classes=n_classes, source=source)
    return ordered


def check_rows(
    table: "pandas.DataFrame", columns: Sequence[str], key: Sequence[str], *, source: str, unit: str
) -> "pandas.DataFrame":
    """Return the rows in the order of `key`, or raise `DatasetError`.

    Args:
        table: Rows as stored.
        columns: Columns that must be there, without empty cells.
        key: Columns that together name a row, once.
        source: How messages name the table.
        unit: What a row is one of, in words.
    """
    lacking = [column for column in columns if column not in table.columns]
    if lacking:
        raise DatasetError(f"{source} lacks the column '{lacking[0]}'", expected=", ".join(columns))
    if table.empty:
        raise DatasetError(f"{source} holds no rows", cause="no fold is complete yet")
    if table[list(columns)].isna().any(axis=None):
        raise DatasetError(f"{source} holds empty cells", expected="a value in each of " + ", ".join(columns))
    repeated = table[table.duplicated(list(key))]
    if len(repeated):
        row = ", ".join(str(value) for value in repeated.iloc[0][list(key)])
        raise DatasetError(f"{source} holds two rows for {row}", expected=f"one row per {unit}")
    return table.sort_values(list(key), kind="stable").reset_index(drop=True)


def check_scores(table: "pandas.DataFrame", *, n_classes: int, source: str) -> None:
    """Raise `DatasetError` if a true class or the scores of a row do not fit the number of classes."""
    if not table["y_true"].between(0, n_classes - 1).all():
        raise DatasetError(f"{source} holds a class outside 0 to {n_classes - 1}", cause="a manifest of another run")
    if {len(scores) for scores in table["scores"]} != {n_classes}:
        raise DatasetError(f"{source} holds a row that has not {n_classes} scores", cause="a manifest of another run")
    if not np.isfinite(np.stack(table["scores"].tolist()).astype(float)).all():
        raise DatasetError(f"{source} holds scores that are NaN or infinite", cause="training diverged",
                           fix="lower the learning rate and run again")  # fmt: skip


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"'{path}' is not readable JSON", cause=str(error), fix=_again(path.parent)) from error


def read_examples(path: Path) -> dict[str, np.ndarray]:
    """Arrays of ``examples.npz``, none if there is no such file; `DatasetError` if it is damaged."""
    if not path.is_file():
        return {}
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DatasetError(f"'{path}' is damaged", cause=str(error), fix=_again(path.parent)) from error


def _again(folder: Path) -> str:
    return f"run the benchmark of '{folder.name}' again; complete folds are kept"


def write_table(path: Path, rows: list[dict[str, Any]], schema: Any) -> None:
    """Write rows as Parquet, atomically."""
    pyarrow = require("pyarrow", extra="bench")
    parquet = require("pyarrow.parquet", extra="bench")
    with atomic_path(path) as temporary:
        parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), temporary, compression="zstd")


def merge_tables(path: Path, parts: Sequence[Path], schema: Any, extra: list[dict[str, Any]] | None = None) -> None:
    """One table of several parts (and further rows), atomically."""
    parquet = require("pyarrow.parquet", extra="bench")
    rows = [row for part in parts for row in parquet.read_table(part, schema=schema).to_pylist()]
    write_table(path, [*rows, *(extra or [])], schema)
