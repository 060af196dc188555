"""Running a reconstruction benchmark from its config to its report; complete work is never done twice."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from snnfer._files import write_json
from snnfer.benchmark.data import load_dataset
from snnfer.benchmark.pool import Workers
from snnfer.benchmark.protocol import ClipFold, clip_folds, clip_split_hash, describe_split, fixed_epochs
from snnfer.benchmark.reconstruction.config import ReconstructionBenchmarkConfig
from snnfer.benchmark.reconstruction.tasks import (
    ReconstructionTask,
    reconstruction_schema,
    write_examples,
)
from snnfer.benchmark.run_folder import one_report_at_a_time, only_one_process, start_manifest
from snnfer.benchmark.store import EXAMPLES, MANIFEST, RECONSTRUCTIONS, merge_tables
from snnfer.benchmark.windows import event_tensors, frame_tensors
from snnfer.datasets import ManifestDataset
from snnfer.errors import DatasetError


def run_reconstruction(
    settings: ReconstructionBenchmarkConfig,
    *,
    out: Path,
    workers: Workers,
    shard: tuple[int, int],
    command: str,
) -> Path:
    """Run (or complete) a reconstruction benchmark; see `snnfer.benchmark.run`."""
    data = {r.label: load_dataset(settings.data_of(r), jobs=workers.n_local) for r in settings.resolutions}
    first = data[settings.resolutions[0].label]
    folds = clip_folds(settings.protocol, first)
    _check_same_clips(data)
    run_dir = out / settings.run_id
    run_dir.mkdir(parents=True, exist_ok=True)
    with only_one_process(run_dir, shard):
        record = start_manifest(
            run_dir,
            settings,
            first,
            command=command,
            data_config=settings.data_of(settings.resolutions[0]),
            protocol=describe_split(settings.protocol, folds, selection=fixed_epochs(settings.train.epochs)),
            published=settings.published,
            split_hash=clip_split_hash(folds),
        )
        tasks = list_tasks(settings, data, folds, run_dir)
        mine = tasks[shard[0] - 1 :: shard[1]]
        workers.run([t for t in mine if not t.is_done], threads=settings.train.threads)
        with one_report_at_a_time(run_dir):
            _finish(run_dir, record, settings, tasks)
    return run_dir


def list_tasks(
    settings: ReconstructionBenchmarkConfig,
    data: dict[str, ManifestDataset],
    folds: Sequence[ClipFold],
    run_dir: Path,
) -> list[ReconstructionTask]:
    """All trainings, in the order they run."""
    tasks = []
    for resolution in settings.resolutions:
        config, clips = settings.data_of(resolution), data[resolution.label]
        for model in settings.models:
            events = event_tensors(
                clips, config, representation=model.representation, args=model.representation_args, size=model.size
            )
            pairs = settings.windows.pairs(events, frame_tensors(clips, config, settings.frames, size=model.size))
            for seed in settings.seeds:
                for fold in folds:
                    name = f"{model.name}-{model.representation}-{resolution.label}-seed{seed}-{fold.name}"
                    tasks.append(
                        ReconstructionTask(
                            model=model.name,
                            model_args=model.args,
                            representation=model.representation,
                            resolution=resolution.label,
                            pairs=pairs,
                            fold=fold,
                            config=settings.train_config(model),
                            seed=seed,
                            folder=run_dir / "jobs" / name.replace(" ", "_").replace("/", "_"),
                        )
                    )
    return tasks


def _check_same_clips(data: dict[str, ManifestDataset]) -> None:
    """Every resolution must show the same clips, or folds would differ between them."""
    (label, first), *others = data.items()
    for other, clips in others:
        if [c.clip for c in clips.clips] != [c.clip for c in first.clips]:
            raise DatasetError(
                f"the clips of '{label}' and '{other}' differ",
                expected="the same clips in the same order at each resolution",
                fix="give both resolutions the same preset, or manifests with the same clip names",
            )


def _finish(
    run_dir: Path,
    record: dict[str, Any],
    settings: ReconstructionBenchmarkConfig,
    tasks: Sequence[ReconstructionTask],
) -> None:
    from snnfer.benchmark.report import write_report

    complete = [task for task in tasks if task.is_done]
    missing = [task.name for task in tasks if not task.is_done]
    merge_tables(run_dir / RECONSTRUCTIONS, [t.folder / RECONSTRUCTIONS for t in complete], reconstruction_schema())
    write_json(run_dir / MANIFEST, record | {"complete": not missing, "missing_jobs": missing})
    if complete:
        of_fold = [t for t in complete if (t.fold, t.seed) == (complete[0].fold, complete[0].seed)]
        columns = [(f"{task.model}, {task.resolution}", task) for task in of_fold]
        write_examples(run_dir / EXAMPLES, columns, settings.n_examples)
    write_report(run_dir)
