"""The folder of one run: one process at a time, and a manifest that says what it holds."""

from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol

from snnfer._config import to_dict
from snnfer._files import write_json
from snnfer.benchmark.config import DataConfig
from snnfer.benchmark.data import describe
from snnfer.benchmark.environment import git_revision, hardware, versions
from snnfer.benchmark.store import MANIFEST, read_manifest
from snnfer.datasets import ManifestDataset
from snnfer.errors import ConfigError


class Settings(Protocol):
    """What the configs of all kinds of benchmarks share."""

    @property
    def kind(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def notes(self) -> str: ...

    @property
    def seeds(self) -> tuple[int, ...]: ...

    @property
    def data(self) -> DataConfig: ...

    @property
    def run_id(self) -> str: ...


def only_one_process(run_dir: Path, shard: tuple[int, int]) -> Any:
    """A lock on this shard of the run, to be used in a ``with``; `ConfigError` if another process holds it."""
    import filelock  # installed with torch

    lock = filelock.FileLock(run_dir / f".lock-{shard[0]}-of-{shard[1]}", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise ConfigError(
            f"another process is at work on '{run_dir}'", fix="wait until it ends, or stop it and run again"
        ) from error
    return lock


def one_report_at_a_time(run_dir: Path) -> Any:
    """A lock on what all shards of a run write, to be used in a ``with``; waits for its turn.

    Whoever comes last gathers what all have left.
    """
    import filelock  # installed with torch

    return filelock.FileLock(run_dir / ".lock-report")


def start_manifest(
    run_dir: Path,
    settings: Settings,
    data: ManifestDataset,
    *,
    command: str,
    data_config: DataConfig | None = None,
    **entries: Any,
) -> dict[str, Any]:
    """Write ``manifest.json`` and return it; refuse a folder whose data have changed since it was begun.

    Args:
        run_dir: Folder of the run.
        settings: The effective config.
        data: The clips.
        command: How to run it again.
        data_config: Settings that `data` were read with, where they are not those of `settings`.
        **entries: What this kind of benchmark adds: ``protocol``, ``published``, ``split_hash`` ...
    """
    path = run_dir / MANIFEST
    description = describe(data, data_config or settings.data)
    if path.is_file():
        record = read_manifest(run_dir)
        if record["data"]["fingerprint"] != description["fingerprint"]:
            raise ConfigError(
                f"'{run_dir}' was begun with other data",
                cause="a recording or the manifest was changed in between",
                fix="delete that folder, or choose another --out",
            )
        return record
    record = {
        "kind": settings.kind,
        "run_id": settings.run_id,
        "name": settings.name,
        "title": settings.title,
        "notes": settings.notes,
        "command": command,
        "created_utc": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "config": to_dict(settings),
        "class_names": list(data.class_names),
        "subjects": list(data.subjects),
        "n_clips": len(data.clips),
        "data": description,
        "versions": versions(),
        "hardware": hardware(),
        "git": git_revision(),
        "seeds": list(settings.seeds),
        "complete": False,
        "missing_jobs": [],
        **entries,
    }
    write_json(path, record)
    return record
