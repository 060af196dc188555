"""Running a transfer benchmark: first the reconstructions, then the classifiers that take their encoders."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snnfer._files import write_json
from snnfer.benchmark.data import load_dataset
from snnfer.benchmark.pool import Workers
from snnfer.benchmark.protocol import ClipFold, clip_folds, clip_split_hash, describe_split, fixed_epochs
from snnfer.benchmark.reconstruction.tasks import (
    ReconstructionTask,
    reconstruction_schema,
    write_examples,
)
from snnfer.benchmark.run_folder import one_report_at_a_time, only_one_process, start_manifest
from snnfer.benchmark.store import EXAMPLES, MANIFEST, PREDICTIONS, RECONSTRUCTIONS, merge_tables
from snnfer.benchmark.transfer.config import ComparedSystem, EncoderTraining, TransferConfig, tie_args
from snnfer.benchmark.transfer.controls import control_rows
from snnfer.benchmark.transfer.tasks import ClassifierTask, prediction_schema
from snnfer.benchmark.windows import event_tensors, frame_tensors
from snnfer.datasets import ManifestDataset, WindowSamples


@dataclass(frozen=True)
class Plan:
    """All tasks of a run: reconstructions do not depend on each other, classifiers on their reconstruction alone."""

    reconstructions: tuple[ReconstructionTask, ...]
    classifiers: tuple[ClassifierTask, ...]

    @property
    def missing(self) -> list[str]:
        """Names of the tasks that have no result."""
        return [task.name for task in (*self.reconstructions, *self.classifiers) if not task.is_done]


def run_transfer(
    settings: TransferConfig, *, out: Path, workers: Workers, shard: tuple[int, int], command: str
) -> Path:
    """Run (or complete) a transfer benchmark; see `snnfer.benchmark.run`."""
    data = load_dataset(settings.data, jobs=workers.n_local)
    folds = clip_folds(settings.protocol, data)
    run_dir = out / settings.run_id
    run_dir.mkdir(parents=True, exist_ok=True)
    with only_one_process(run_dir, shard):
        record = start_manifest(
            run_dir,
            settings,
            data,
            command=command,
            protocol=describe_split(settings.protocol, folds, selection=fixed_epochs(settings.train.epochs)),
            published=settings.published,
            split_hash=clip_split_hash(folds),
        )
        plan = make_plan(settings, data, folds, run_dir)
        mine = _of_shard(plan, shard)
        threads = settings.train.threads
        workers.run([t for t in mine.reconstructions if not t.is_done], threads=threads)
        workers.run([t for t in mine.classifiers if not t.is_done], threads=threads)
        with one_report_at_a_time(run_dir):
            _finish(run_dir, record, settings, data, folds, plan)
    return run_dir


def make_plan(settings: TransferConfig, data: ManifestDataset, folds: Sequence[ClipFold], run_dir: Path) -> Plan:
    """All trainings, in the order they run."""
    reconstructions: list[ReconstructionTask] = []
    classifiers: list[ClassifierTask] = []
    transfers = any(training != "scratch" for training in settings.encoder_training)
    frames = frame_tensors(data, settings.data, settings.frames)
    for variant in settings.variants:
        events = event_tensors(data, settings.data, representation="tie", args=tie_args(variant, settings.tie))
        pairs = settings.windows.pairs(events, frames)
        samples = {lstm: settings.windows.samples(events, n_windows=3 if lstm else 1) for lstm in settings.lstm}
        for seed in settings.seeds:
            for fold in folds:
                source = ReconstructionTask(
                    model="pix2pix",
                    model_args=settings.encoder,
                    representation=variant,
                    resolution=_resolution(data),
                    pairs=pairs,
                    fold=fold,
                    config=settings.reconstruction,
                    seed=seed,
                    folder=run_dir / "jobs" / f"reconstruction-{variant}-seed{seed}-{fold.name}",
                )
                reconstructions += [source] if transfers else []
                classifiers += [
                    _classifier(settings, run_dir, variant, training, lstm, kind, seed, samples[lstm], source)
                    for lstm in settings.lstm
                    for training in settings.encoder_training
                    for kind in _kinds(settings, variant, training, lstm)
                ]
    for system in settings.systems:
        classifiers += _compared(settings, system, data, folds, run_dir)
    return Plan(tuple(reconstructions), tuple(classifiers))


def _classifier(
    settings: TransferConfig,
    run_dir: Path,
    variant: str,
    training: EncoderTraining,
    lstm: bool,
    kind: str,
    seed: int,
    samples: WindowSamples,
    source: ReconstructionTask,
) -> ClassifierTask:
    system = "evtransfer_lstm" if lstm else "evtransfer"
    label = "" if kind == "standard" else f"-{kind}"
    return ClassifierTask(
        system=system,
        representation=variant,
        encoder_training=training,
        variant=kind,
        model=system,
        model_args={**settings.encoder, **settings.classifier},
        samples=samples,
        fold=source.fold,
        config=settings.train_config(training, lstm=lstm),
        seed=seed,
        generator=None if training == "scratch" else source.folder / "model",
        folder=run_dir / "jobs" / f"{system}-{variant}-{training}{label}-seed{seed}-{source.fold.name}",
    )


def _kinds(settings: TransferConfig, variant: str, training: str, lstm: bool) -> tuple[str, ...]:
    """Also with shuffled labels: one network without LSTM, of the first variant and the last encoder training."""
    first = variant == settings.variants[0] and lstm == min(settings.lstm)
    permuted = settings.controls.label_permuted and first and training == settings.encoder_training[-1]
    return ("standard", "label_permuted") if permuted else ("standard",)


def _compared(
    settings: TransferConfig,
    system: ComparedSystem,
    data: ManifestDataset,
    folds: Sequence[ClipFold],
    run_dir: Path,
) -> list[ClassifierTask]:
    clips = event_tensors(
        data, settings.data, representation=system.representation, args=system.representation_args, size=system.size
    )
    samples = settings.windows.samples(clips, n_windows=system.n_windows)
    return [
        ClassifierTask(
            system=system.name,
            representation=system.representation,
            encoder_training="scratch",
            variant="standard",
            model=system.model,
            model_args=system.args,
            samples=samples,
            fold=fold,
            config=settings.system_train_config(system),
            seed=seed,
            generator=None,
            folder=run_dir / "jobs" / f"{system.name}-seed{seed}-{fold.name}",
        )
        for seed in settings.seeds
        for fold in folds
    ]


def _of_shard(plan: Plan, shard: tuple[int, int]) -> Plan:
    """The tasks of one shard: those of one representation, fold and seed stay together."""
    tasks = [*plan.reconstructions, *plan.classifiers]
    groups = list(dict.fromkeys((t.representation, t.fold.name, t.seed) for t in tasks))
    mine = set(groups[shard[0] - 1 :: shard[1]])
    return Plan(
        tuple(t for t in plan.reconstructions if (t.representation, t.fold.name, t.seed) in mine),
        tuple(t for t in plan.classifiers if (t.representation, t.fold.name, t.seed) in mine),
    )


def _resolution(data: ManifestDataset) -> str:
    stream = data.load(data.clips[0])
    return f"{stream.width} x {stream.height}"


def _finish(
    run_dir: Path,
    record: dict[str, Any],
    settings: TransferConfig,
    data: ManifestDataset,
    folds: Sequence[ClipFold],
    plan: Plan,
) -> None:
    from snnfer.benchmark.report import write_report

    reconstructed = [task for task in plan.reconstructions if task.is_done]
    classified = [task for task in plan.classifiers if task.is_done]
    variant = settings.variants[0]
    clips = event_tensors(data, settings.data, representation="tie", args=tie_args(variant, settings.tie))
    controls = control_rows(
        settings.windows.samples(clips),
        folds,
        variant,
        majority=settings.controls.majority,
        linear_probe=settings.controls.linear_probe,
    )
    if reconstructed:
        parts = [task.folder / RECONSTRUCTIONS for task in reconstructed]
        merge_tables(run_dir / RECONSTRUCTIONS, parts, reconstruction_schema())
    merge_tables(
        run_dir / PREDICTIONS, [task.folder / PREDICTIONS for task in classified], prediction_schema(), controls
    )
    write_json(run_dir / MANIFEST, record | {"complete": not plan.missing, "missing_jobs": plan.missing})
    if reconstructed:
        first = reconstructed[0]
        same = [t for t in reconstructed if (t.fold, t.seed) == (first.fold, first.seed)]
        write_examples(run_dir / EXAMPLES, [(task.representation, task) for task in same], settings.n_examples)
    write_report(run_dir)
