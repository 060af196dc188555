"""One training of a classifier of windows, from scratch or with a transferred encoder, and its predictions."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from snnfer._optional import require
from snnfer.benchmark.fold_task import FoldTask
from snnfer.benchmark.store import PREDICTIONS, write_table
from snnfer.datasets import WindowSamples
from snnfer.training import load_model, save_model
from snnfer.training.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class ClassifierTask(FoldTask):
    """Train one classifier on one fold and test it on every tested window.

    Leaves ``model/`` and ``predictions.parquet`` in `folder`. Where an encoder was transferred, ``model/generator``
    leads to the reconstruction network that it comes from.

    Args:
        system: Row of the tables, such as ``evtransfer_lstm``.
        representation: Column of the tables, such as ``t0_t``.
        encoder_training: ``scratch``, ``transferred`` or ``fine_tuned``.
        variant: ``standard`` or ``label_permuted``.
        model: Name of the network.
        model_args: Its arguments.
        samples: Windows.
        generator: Model folder of the reconstruction network whose encoder is taken; None for ``scratch``.
    """

    result = PREDICTIONS

    system: str
    representation: str
    encoder_training: str
    variant: str
    model: str
    model_args: dict[str, Any]
    samples: WindowSamples
    config: TrainConfig
    generator: Path | None

    @property
    def inputs(self) -> tuple[Path, ...]:
        """Of the windows."""
        return self.samples.clips.examples

    def run(self, *, on_epoch: Callable[[int, float], None]) -> None:
        """Train, test, and write."""
        from snnfer.training.classifier import train_network
        from snnfer.training.scoring import clip_scores
        from snnfer.training.trainer import remove_checkpoints

        trained = train_network(
            self.samples,
            model=self.model,
            model_args=self.model_args,
            train=self.samples.of_clips(self.fold.train),
            config=self.config,
            seed=self.fold_seed,
            checkpoint_dir=self.checkpoint_dir,
            prepare=self._transfer if self.generator else None,
            permute_labels=self.variant == "label_permuted",
            on_epoch=on_epoch,
            record={"fold": self.fold.name, "encoder_training": self.encoder_training, "variant": self.variant},
        )
        test = self.samples.of_clips(self.fold.test)
        scores, _ = clip_scores(
            trained.model, self.samples, test, mean=trained.mean, std=trained.std, batch_size=self.config.batch_size
        )
        save_model(self.folder / "model", trained)
        if self.generator:
            _link(self.folder / "model" / "generator", self.generator)
        rows = prediction_rows(self.samples, test, scores.softmax(1).numpy(), self.identity)
        write_table(self.folder / self.result, rows, prediction_schema())
        remove_checkpoints(self.checkpoint_dir)

    @property
    def identity(self) -> dict[str, Any]:
        """What its rows of the predictions table share."""
        return {
            "system": self.system,
            "representation": self.representation,
            "encoder_training": self.encoder_training,
            "variant": self.variant,
            "seed": self.seed,
            "fold": self.fold.name,
        }

    def _transfer(self, network: torch.nn.Module) -> None:
        from snnfer.models.unet import encoder_from

        assert self.generator is not None
        generator = load_model(self.generator).model
        network.load_encoder(encoder_from(generator))  # type: ignore[operator]


def prediction_rows(
    samples: WindowSamples, test: list[int], scores: np.ndarray, identity: dict[str, Any]
) -> list[dict[str, Any]]:
    """Rows of the predictions table, one per clip.

    Args:
        samples: Windows.
        test: Tested samples.
        scores: Of each of them ``[len(test), K]``; a clip's are the mean over its samples.
        identity: Columns that the rows share.
    """
    by_clip: dict[int, list[int]] = {}
    for n, index in enumerate(test):
        by_clip.setdefault(samples.samples[index][0], []).append(n)
    rows = []
    for i, members in by_clip.items():
        clip = samples.data.clips[i]
        rows.append({
            **identity,
            "subject": clip.subject,
            "clip": clip.clip,
            "y_true": samples.clips.labels[i],
            "scores": scores[members].mean(0).tolist(),
            "window_predictions": scores[members].argmax(1).tolist(),
        })  # fmt: skip
    return rows


def prediction_schema() -> Any:
    """Columns and types of ``predictions.parquet``."""
    pa = require("pyarrow", extra="bench")
    text = {name: pa.string() for name in ("system", "representation", "encoder_training", "variant")}
    rest = {"seed": pa.int64(), "fold": pa.string(), "subject": pa.string(), "clip": pa.string(), "y_true": pa.int16()}
    lists = {"scores": pa.list_(pa.float32()), "window_predictions": pa.list_(pa.int16())}
    return pa.schema({**text, **rest, **lists})


def _link(path: Path, target: Path) -> None:
    """A relative link, or a copy where the file system has none."""
    if path.exists():
        return
    try:
        path.symlink_to(os.path.relpath(target, path.parent), target_is_directory=True)
    except OSError:
        shutil.copytree(target, path)
