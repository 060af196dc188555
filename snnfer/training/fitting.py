"""Training of one classifier on one split: resumable, the same result whether interrupted or not."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.utils.data import Dataset

from snnfer.layers import checkpoint_over_time
from snnfer.training.centers import CenterBank
from snnfer.training.config import TrainConfig
from snnfer.training.details import needs_details, probe_details
from snnfer.training.event_augmentation import augmented_clips
from snnfer.training.losses import class_weights
from snnfer.training.module import ClipClassifier
from snnfer.training.scoring import clip_loader
from snnfer.training.trainer import OnEpoch, SeededSampler, run_trainer


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
    class_names: Sequence[str] = (),
) -> torch.nn.Module:
    """Train `model` in place and return it.

    A checkpoint is written after every epoch; if `checkpoint_dir` holds one, training goes on from there. A script
    that trains on several devices needs the guard ``if __name__ == "__main__":``, as all of Python's multiprocessing.

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
        class_names: For errors.

    Raises:
        CheckpointError: the checkpoint is damaged or belongs to another network.
        ConfigError: the recipe needs an encoder, details or spiking convolutions that `model` does not have.
        ConversionError, ExportError: the recipe quantises a network that no chip can have.
        DatasetError: a class that is to be weighted has no training sample.
        SnnferError: the loss is no longer a number.
    """
    classifier = {"n_classes": n_classes, "mean": mean, "std": std, "seed": seed}
    if config.class_weights == "balanced":
        classifier["class_weights"] = class_weights(_labels(clips, train), n_classes, names=class_names)
    if needs_details(config):
        details = probe_details(model, config, clips[train[0]], mean=mean, std=std)
        if config.center_weight or config.island_weight:
            size = details["embedding"].shape[-1]
            classifier["centers"] = CenterBank(n_classes, size, config=config, seed=seed)
    if config.checkpoint_every:
        checkpoint_over_time(model, every=config.checkpoint_every)
    module = ClipClassifier(model, config, **classifier)
    sampler = SeededSampler(len(train), seed=seed)
    training = augmented_clips(clips, config, sampler=sampler, seed=seed)
    run_trainer(
        module,
        clip_loader(training, train, config.batch_size, sampler=sampler),
        config=config,
        folder=Path(checkpoint_dir),
        validation=clip_loader(clips, validation, config.batch_size) if config.selection == "inner_subjects" else None,
        on_epoch=on_epoch,
    )
    return module.model.cpu().eval()


def _labels(clips: Dataset, indices: Sequence[int]) -> list[int]:
    """Labels at `indices`, without the clips where the data set knows them."""
    known = getattr(clips, "labels", None)
    return [int(clips[i][1] if known is None else known[i]) for i in indices]
