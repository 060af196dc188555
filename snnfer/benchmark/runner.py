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
from snnfer.benchmark.jobs import Job, JobTask, list_jobs, predictions_schema, select_folds
from snnfer.benchmark.pool import run_tasks
from snnfer.benchmark.run_folder import only_one_process, start_manifest
from snnfer.benchmark.store import EXAMPLES, MANIFEST, OPERATIONS, PREDICTIONS, merge_tables
from snnfer.datasets import ClipTensors, split_hash
from snnfer.errors import ProtocolError


def run_recognition(settings: BenchmarkConfig, *, out: Path, jobs: int, shard: tuple[int, int], command: str) -> Path:
    """Run (or complete) a benchmark of clip classifiers; see `snnfer.benchmark.run`."""
    data = load_dataset(settings.data, jobs=jobs)
    run_dir = out / settings.run_id
    run_dir.mkdir(parents=True, exist_ok=True)
    with only_one_process(run_dir, shard):
        folds = select_folds(settings, data.subjects, settings.inner_subjects())
        record = start_manifest(
            run_dir,
            settings,
            data,
            command=command,
            protocol=_describe_protocol(settings, [fold.name for fold in folds]),
            published=[dataclasses.asdict(figure) for figure in settings.published],
            split_hash=split_hash(folds),
        )
        clips = {m: load_tensors(data, settings.data, m) for m in _modalities(settings)}
        all_jobs = list_jobs(settings, data.subjects)
        check_subjects(all_jobs, clips)
        folders = {job.name: run_dir / "jobs" / job.name for job in all_jobs}
        mine = all_jobs[shard[0] - 1 :: shard[1]]
        pending = [job for job in mine if not (folders[job.name] / PREDICTIONS).is_file()]
        tasks = [JobTask(job, settings, clips[job.modality], folders[job.name]) for job in pending]
        run_tasks(tasks, n_processes=jobs, threads=settings.train.threads)
        _finish(run_dir, record, settings, clips, all_jobs)
    return run_dir


def check_subjects(jobs: Sequence[Job], clips: Mapping[str, ClipTensors]) -> None:
    """Raise `ProtocolError` if any clip that a job trains or validates on shows a subject it is tested on."""
    for job in jobs:
        subjects = {clips[job.modality].data.clips[i].subject for i in _seen_in_training(job, clips[job.modality])}
        shared = subjects & set(job.fold.test)
        if shared:
            raise ProtocolError(f"job '{job.name}' would train on its test subject '{min(shared)}'")


def _seen_in_training(job: Job, clips: ClipTensors) -> list[int]:
    return clips.indices([*job.fold.train, *job.fold.validation])


def _modalities(settings: BenchmarkConfig) -> list[str]:
    return list(dict.fromkeys(m for model in settings.models for m in settings.modalities_of(model)))


def _describe_protocol(settings: BenchmarkConfig, held_out: list[str]) -> dict[str, Any]:
    selection = {
        "last_epoch": f"the network after {settings.train.epochs} epochs, fixed beforehand",
        "inner_subjects": f"the best epoch on {settings.train.n_validation_subjects} training subject(s) set aside",
    }[settings.train.selection]
    return {
        "name": "leave-one-subject-out",
        "held_out": held_out,
        "selection": selection,
        "comparable": True,
        "text": "Each subject is tested by networks that never saw that subject in training, model selection or "
        "normalisation. All clips of the tested subjects are pooled before a score is computed.",
    }


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
    folds = select_folds(settings, next(iter(clips.values())).data.subjects, 0)
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
