"""Running a benchmark from its config to its report; complete work is never done twice."""

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from snnfer._files import write_json
from snnfer.benchmark.config import BenchmarkConfig
from snnfer.benchmark.controls import control_rows
from snnfer.benchmark.data import load_dataset, load_tensors
from snnfer.benchmark.jobs import Job, JobTask, list_jobs, predictions_schema
from snnfer.benchmark.pool import Workers
from snnfer.benchmark.protocol import ClipFold, clip_folds, clip_split_hash, describe_split, subjects_of
from snnfer.benchmark.run_folder import one_report_at_a_time, only_one_process, start_manifest
from snnfer.benchmark.store import EXAMPLES, MANIFEST, OPERATIONS, PREDICTIONS, merge_tables
from snnfer.datasets import ClipTensors, Fold, ManifestDataset, split_hash


def run_recognition(
    settings: BenchmarkConfig, *, out: Path, workers: Workers, shard: tuple[int, int], command: str
) -> Path:
    """Run (or complete) a benchmark of clip classifiers; see `snnfer.benchmark.run`."""
    data = load_dataset(settings.data, jobs=workers.n_local)
    run_dir = out / settings.run_id
    run_dir.mkdir(parents=True, exist_ok=True)
    with only_one_process(run_dir, shard):
        folds = clip_folds(settings.protocol, data, n_validation=settings.inner_subjects())
        record = start_manifest(
            run_dir,
            settings,
            data,
            command=command,
            protocol=_describe_protocol(settings, folds),
            published=[dataclasses.asdict(figure) for figure in settings.published],
            split_hash=_split_hash(settings, folds, data),
        )
        clips = {m: load_tensors(data, settings.data, m) for m in _modalities(settings)}
        all_jobs = list_jobs(settings, data)
        folders = {job.name: run_dir / "jobs" / job.name for job in all_jobs}
        mine = all_jobs[shard[0] - 1 :: shard[1]]
        pending = [job for job in mine if not (folders[job.name] / PREDICTIONS).is_file()]
        tasks = [JobTask(job, settings, clips[job.modality], folders[job.name]) for job in pending]
        workers.run(tasks, threads=settings.train.threads)
        with one_report_at_a_time(run_dir):
            _finish(run_dir, record, settings, clips, all_jobs)
    return run_dir


def _modalities(settings: BenchmarkConfig) -> list[str]:
    return list(dict.fromkeys(m for model in settings.models for m in settings.modalities_of(model)))


def _describe_protocol(settings: BenchmarkConfig, folds: Sequence[ClipFold]) -> dict[str, Any]:
    selection = {
        "last_epoch": f"the network after {settings.train.epochs} epochs, fixed beforehand",
        "inner_subjects": f"the best epoch on {settings.train.n_validation_subjects} training subject(s) set aside",
    }[settings.train.selection]
    text = (
        "Each subject is tested by networks that never saw that subject in training, model selection or normalisation. "
        "All clips of the tested subjects are pooled before a score is computed."
    )
    return describe_split(settings.protocol, folds, selection=selection, text=text)


def _split_hash(settings: BenchmarkConfig, folds: Sequence[ClipFold], data: ManifestDataset) -> str:
    """Hash of the subjects of each fold, or of its clips where these are divided whoever is seen in them."""
    if not settings.protocol.comparable:
        return clip_split_hash(folds)
    groups = [[subjects_of(data, clips) for clips in (fold.train, fold.test, fold.validation)] for fold in folds]
    return split_hash([Fold(fold.name, *subjects) for fold, subjects in zip(folds, groups, strict=True)])


def _finish(
    run_dir: Path,
    record: dict[str, Any],
    settings: BenchmarkConfig,
    clips: Mapping[str, ClipTensors],
    jobs: Sequence[Job],
) -> None:
    """Gather what is complete, add controls, operation counts and examples, and write the report."""
    from snnfer.benchmark.report import write_report
    from snnfer.benchmark.traces import write_examples, write_operations

    parts = [(job, run_dir / "jobs" / job.name) for job in jobs]
    complete = [(job, part) for job, part in parts if (part / PREDICTIONS).is_file()]
    missing = [job.name for job, part in parts if not (part / PREDICTIONS).is_file()]
    for _, part in complete:  # left by a process that was killed after its last step
        shutil.rmtree(part / "checkpoint", ignore_errors=True)
    folds = clip_folds(settings.protocol, next(iter(clips.values())).data)
    controls = [
        row
        for modality, tensors in clips.items()
        for row in control_rows(
            tensors,
            folds,
            modality,
            majority=settings.controls.majority,
            linear_probe=settings.controls.linear_probe,
        )
    ]
    merge_tables(run_dir / PREDICTIONS, [part / PREDICTIONS for _, part in complete], predictions_schema(), controls)
    record |= {"complete": not missing, "missing_jobs": missing}
    write_json(run_dir / MANIFEST, record)
    if complete:
        write_operations(run_dir / OPERATIONS, complete, clips)
        write_examples(run_dir / EXAMPLES, complete, clips)
    write_report(run_dir)
