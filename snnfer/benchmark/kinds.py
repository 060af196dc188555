"""The kinds of benchmarks: which config a YAML file is, and what runs it."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from snnfer._config import apply_overrides, build_config, merge, read_yaml
from snnfer._registry import look_up
from snnfer.benchmark.config import BenchmarkConfig
from snnfer.benchmark.pool import Workers
from snnfer.benchmark.reconstruction.config import ReconstructionBenchmarkConfig
from snnfer.benchmark.transfer.config import TransferConfig
from snnfer.errors import ConfigError

AnyConfig = BenchmarkConfig | ReconstructionBenchmarkConfig | TransferConfig

CONFIGS: dict[str, Any] = {
    "recognition": BenchmarkConfig,
    "reconstruction": ReconstructionBenchmarkConfig,
    "transfer": TransferConfig,
}


def load_config(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> AnyConfig:
    """Read a benchmark config from YAML and apply dotted overrides; the key ``kind`` says which settings it has.

    The key ``extends`` names another YAML file, relative to this one, whose settings hold unless this one changes them;
    groups of settings are merged, lists replaced. Relative ``data.root`` is taken from the current folder, as on the
    command line.

    Raises:
        ConfigError: the file is missing or not YAML, or a key or value does not fit.
    """
    values = apply_overrides(_read_extended(Path(path)), overrides)
    values.setdefault("name", Path(path).stem)
    kind = look_up(CONFIGS, str(values.get("kind", "recognition")), kind="kind of benchmark")
    config = build_config(kind, values, source=f"'{path}'")
    return config if config.title else replace(config, title=config.name)


def _read_extended(path: Path, below: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The settings of a file on top of those of the file that it extends."""
    values = read_yaml(path)
    base = values.pop("extends", None)
    if base is None:
        return values
    if path.resolve() in below:
        raise ConfigError(f"'{path}' extends itself", fix="remove one of the 'extends'")
    extended = _read_extended(path.parent / str(base), (*below, path.resolve()))
    return merge(extended, {"name": path.stem, **values})


def run(
    config: AnyConfig | str | os.PathLike[str],
    *,
    overrides: Sequence[str] = (),
    out: str | os.PathLike[str] = "runs",
    jobs: int = 0,
    engine: Literal["local", "ray"] = "local",
    address: str = "",
    shard: tuple[int, int] = (1, 1),
    command: str = "",
) -> Path:
    """Run (or complete) a benchmark and write its report.

    Args:
        config: A config, or the path of a YAML file.
        overrides: Dotted changes to a YAML file, such as ``train.epochs=5``.
        out: Folder that holds the run folders.
        jobs: Trainings at the same time; 0 means one here, and as many as there is room for on a cluster.
        engine: ``local`` trains on this machine, ``ray`` on a Ray cluster, with the same results: see
            ``docs/distributed.md``.
        address: Of the cluster; empty takes ``$RAY_ADDRESS``, or starts one on this machine.
        shard: ``(i, n)`` runs the i-th of n parts (counted from 1), for job arrays.
        command: Recorded in the manifest as the way to reproduce the run.

    Returns:
        The run folder: ``manifest.json``, the tables of predictions, ``metrics.json``, ``report.html``, ``figures/``
        and one folder per job under ``jobs/``.

    Raises:
        ConfigError: the config does not fit, another process is at work on the same run, or the cluster cannot be
            reached or does not see the data.
        DatasetError: the data cannot be used.
    """
    settings = load_config(config, overrides) if isinstance(config, str | os.PathLike) else config
    workers = Workers(engine, jobs, address)
    options: dict[str, Any] = {"out": Path(out), "workers": workers, "shard": shard, "command": command}
    if isinstance(settings, TransferConfig):
        from snnfer.benchmark.transfer.runner import run_transfer

        return run_transfer(settings, **options)
    if isinstance(settings, ReconstructionBenchmarkConfig):
        from snnfer.benchmark.reconstruction.runner import run_reconstruction

        return run_reconstruction(settings, **options)
    from snnfer.benchmark.runner import run_recognition

    return run_recognition(settings, **options)
