"""Training of one network on one split: resumable, the same result whether interrupted or not."""

import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.plugins.io import CheckpointIO
from torch.utils.data import Dataset, Sampler

from snnfer.errors import CheckpointError
from snnfer.training.checkpoint import load_state, save_state
from snnfer.training.config import TrainConfig
from snnfer.training.module import ClipClassifier, derived_seed
from snnfer.training.scoring import clip_loader

OnEpoch = Callable[[int, float], None]


def fit(
    model: torch.nn.Module,
    clips: Dataset,
    *,
    train: Sequence[int],
    validation: Sequence[int] = (),
    config: TrainConfig,
    n_classes: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    seed: int,
    checkpoint_dir: str | os.PathLike[str],
    on_epoch: OnEpoch | None = None,
) -> torch.nn.Module:
    """Train `model` in place and return it.

    A checkpoint is written after every epoch; if `checkpoint_dir` holds one, training goes on from there.

    Args:
        model: As in `ClipClassifier`.
        clips: Items ``(x, label, length)``, see `snnfer.datasets.ClipTensors`.
        train, validation: Indices into `clips`; `validation` is used (and needed) with ``inner_subjects`` alone.
        config: Recipe.
        n_classes: Number of classes.
        mean, std: Input normalisation, from the training clips.
        seed: Of everything random after initialisation.
        checkpoint_dir: Removed by the caller when the result is safe.
        on_epoch: Called after each epoch with the number of completed epochs and the mean training loss.
    """
    folder = Path(checkpoint_dir)
    select = config.selection == "inner_subjects"
    module = ClipClassifier(model, config, n_classes=n_classes, mean=mean, std=std, seed=seed)
    callbacks: list[Callback] = [_Checkpoint(folder, filename="last", save_on_train_epoch_end=True)]
    if select:
        callbacks.insert(0, _Checkpoint(folder, filename="best", monitor="validation_loss"))
    if on_epoch:
        callbacks.append(_Report(on_epoch))
    with _quiet_lightning(), torch.random.fork_rng(devices=[]):
        trainer = lightning.Trainer(
            max_epochs=config.epochs,
            accelerator="auto",
            devices=1,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=callbacks,
            plugins=[SafetensorsIO()],
            num_sanity_val_steps=0,
            limit_val_batches=1.0 if select else 0,
            default_root_dir=folder,
        )
        trainer.fit(
            module,
            clip_loader(clips, train, config.batch_size, sampler=SeededSampler(len(train), seed=seed)),
            clip_loader(clips, validation, config.batch_size) if select else None,
            ckpt_path=_resume_from(folder),
            weights_only=False,  # SafetensorsIO reads no pickle
        )
    if select:
        weights = load_state(folder / "best.safetensors")["state_dict"]
        module.load_state_dict(weights)
    return module.model.cpu().eval()


class SeededSampler(Sampler[int]):
    """A permutation per epoch that depends on the seed and the epoch alone."""

    def __init__(self, n: int, *, seed: int) -> None:
        self.n, self.seed, self.epoch = n, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(derived_seed(self.seed, self.epoch))
        return iter(torch.randperm(self.n, generator=generator).tolist())


class SafetensorsIO(CheckpointIO):
    """Lightning checkpoints as safetensors, written atomically."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        save_state(path, checkpoint)

    def load_checkpoint(self, path: Any, map_location: Any = None, **options: Any) -> dict[str, Any]:
        return load_state(path)

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


class _Checkpoint(ModelCheckpoint):
    """One safetensors file that each save replaces."""

    FILE_EXTENSION = ".safetensors"

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(folder, enable_version_counter=False, **options)


class _Report(Callback):
    def __init__(self, on_epoch: OnEpoch) -> None:
        self._on_epoch = on_epoch

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._on_epoch(trainer.current_epoch + 1, float(trainer.callback_metrics["train_loss"]))


def _resume_from(folder: Path) -> Path | None:
    """The last checkpoint, if it can be read; writing is atomic, so an unreadable one was damaged from outside."""
    path = folder / "last.safetensors"
    if not path.is_file():
        return None
    try:
        load_state(path)
    except Exception as error:
        raise CheckpointError(f"the checkpoint '{path}' is damaged", fix="delete its folder to train again") from error
    return path


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's notes about hardware and loaders from the user's terminal while training."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "pytorch_lightning")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(lightning|pytorch_lightning)\.")
            warnings.filterwarnings("ignore", message=".*(GPU available|num_workers|Checkpoint directory).*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def remove_checkpoints(folder: str | os.PathLike[str]) -> None:
    """Delete a checkpoint folder once the result is safe."""
    shutil.rmtree(folder, ignore_errors=True)
