"""One job of a benchmark: a model trained and tested on one fold with one seed."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from snnfer._optional import require
from snnfer.benchmark.config import BenchmarkConfig, ModelConfig
from snnfer.benchmark.protocol import ClipFold, clip_folds, subjects_of
from snnfer.benchmark.store import PREDICTIONS, write_table
from snnfer.datasets import ClipTensors, ManifestDataset
from snnfer.training import save_model

Variant = Literal["standard", "label_permuted", "control"]


@dataclass(frozen=True)
class Job:
    """What one job trains and tests. Its name is its folder; jobs do not depend on each other."""

    model: ModelConfig
    modality: str
    variant: Variant
    seed: int
    fold: ClipFold

    @property
    def name(self) -> str:
        """Folder of the job inside the run."""
        variant = "" if self.variant == "standard" else f"-{self.variant}"
        return f"{self.model.shown_name}-{self.modality}{variant}-seed{self.seed}-{self.fold.name}"


def list_jobs(config: BenchmarkConfig, data: ManifestDataset) -> list[Job]:
    """All jobs of a benchmark, in the order they run."""
    jobs = []
    for model in config.models:
        folds = clip_folds(config.protocol, data, n_validation=config.train_config(model).validation_subjects)
        for modality in config.modalities_of(model):
            permuted = f"{model.shown_name}/{modality}" in config.controls.label_permuted
            for variant in ("standard", "label_permuted") if permuted else ("standard",):
                jobs += [Job(model, modality, variant, seed, fold) for seed in config.seeds for fold in folds]  # type: ignore[arg-type]
    return jobs


@dataclass(frozen=True)
class JobTask:
    """A job with all it needs to run in any process."""

    job: Job
    config: BenchmarkConfig
    clips: ClipTensors
    folder: Path

    @property
    def name(self) -> str:
        """Of the job."""
        return self.job.name

    @property
    def epochs(self) -> int:
        """Of its recipe."""
        return self.config.train_config(self.job.model).epochs

    @property
    def devices(self) -> int:
        """Of its recipe."""
        return self.config.train_config(self.job.model).devices

    @property
    def inputs(self) -> tuple[Path, ...]:
        """Files that must be there where it runs."""
        return self.clips.examples

    def run(self, *, on_epoch: Callable[[int, float], None]) -> None:
        """See `run_job`."""
        run_job(self.job, self.config, self.clips, self.folder, on_epoch=on_epoch)


def run_job(
    job: Job,
    config: BenchmarkConfig,
    clips: ClipTensors,
    folder: Path,
    *,
    on_epoch: Callable[[int, float], None] | None = None,
) -> None:
    """Train and test one job; leaves ``predictions.parquet`` and ``model/`` in `folder`.

    A job that was interrupted goes on from its last complete epoch.
    """
    from snnfer.training.classifier import train_network
    from snnfer.training.scoring import clip_scores
    from snnfer.training.trainer import remove_checkpoints

    recipe, fold = config.train_config(job.model), job.fold
    trained = train_network(
        clips,
        model=job.model.name,
        model_args=job.model.args,
        train=fold.train,
        validation=fold.validation,
        config=recipe,
        seed=job_seed(job),
        checkpoint_dir=folder / "checkpoint",
        permute_labels=job.variant == "label_permuted",
        on_epoch=on_epoch,
        record={
            "train_subjects": list(subjects_of(clips.data, fold.train)),
            "validation_subjects": list(subjects_of(clips.data, fold.validation)),
            "held_out_subjects": list(subjects_of(clips.data, fold.test)) if config.protocol.comparable else [],
            "protocol": config.protocol.name,
            "variant": job.variant,
            "crop": config.data.crop,
        },
    )
    test = list(fold.test)
    scores, steps = clip_scores(
        trained.model, clips, test, mean=trained.mean, std=trained.std, batch_size=recipe.batch_size
    )
    save_model(folder / "model", trained)
    rows = prediction_rows(job, clips, test, scores, steps)
    write_table(folder / PREDICTIONS, rows, predictions_schema())
    remove_checkpoints(folder / "checkpoint")


def job_seed(job: Job) -> int:
    """Seed of a job: the same for every model and modality of a fold, different between folds and seeds."""
    return seed_of(job.seed, job.fold.name)


def seed_of(seed: int, fold: str) -> int:
    """Seed of everything random in one fold, different between folds and seeds."""
    return zlib.crc32(f"{seed}/{fold}".encode())


def prediction_rows(
    job: Job, clips: ClipTensors, indices: list[int], scores: torch.Tensor, steps: torch.Tensor | None
) -> list[dict[str, Any]]:
    """Rows of the predictions table for the tested clips."""
    rows = []
    for n, i in enumerate(indices):
        clip = clips.data.clips[i]
        over_time = None
        if steps is not None:
            votes = steps[: clips.lengths[i], n].cumsum(0)  # [t, K]
            over_time = votes.argmax(1).tolist()
        rows.append(
            {
                "model": job.model.shown_name,
                "modality": job.modality,
                "variant": job.variant,
                "seed": job.seed,
                "fold": job.fold.name,
                "subject": clip.subject,
                "clip": clip.clip,
                "y_true": clips.labels[i],
                "scores": [float(value) for value in scores[n]],
                "prediction_over_time": over_time,
            }
        )
    return rows


def predictions_schema() -> Any:
    """Columns and types of the predictions table."""
    pa = require("pyarrow", extra="bench")
    text = {name: pa.string() for name in ("model", "modality", "variant")}
    rest = {"seed": pa.int64(), "fold": pa.string(), "subject": pa.string(), "clip": pa.string(), "y_true": pa.int16()}
    lists = {"scores": pa.list_(pa.float32()), "prediction_over_time": pa.list_(pa.int16())}
    return pa.schema({**text, **rest, **lists})
