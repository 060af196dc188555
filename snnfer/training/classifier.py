"""Training one clip classifier on some subjects of a data set, from initialisation to a usable model."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from snnfer.datasets import N_CHANNELS, ClipTensors
from snnfer.models import create_model
from snnfer.training.checkpoint import TrainedModel
from snnfer.training.config import TrainConfig
from snnfer.training.fitting import OnEpoch, fit


def train_classifier(
    clips: ClipTensors,
    *,
    model: str,
    model_args: Mapping[str, Any],
    train_subjects: Sequence[str],
    validation_subjects: Sequence[str] = (),
    config: TrainConfig,
    seed: int,
    checkpoint_dir: str | os.PathLike[str],
    permute_labels: bool = False,
    on_epoch: OnEpoch | None = None,
    record: Mapping[str, Any] | None = None,
) -> TrainedModel:
    """Initialise and train a model; nothing but the clips of the named subjects is looked at.

    Args:
        clips: Tensors of a data set.
        model: Name, see `snnfer.list_models`.
        model_args: Passed to `snnfer.create_model` beside the number of classes, channels and the input size.
        train_subjects, validation_subjects: Who is trained on, and who selects the epoch.
        config: Recipe.
        seed: Of initialisation and everything random in training.
        checkpoint_dir: Training goes on from the checkpoint in it, if there is one.
        permute_labels: Shuffle the labels of the seen clips: the control that must end at chance.
        on_epoch: See `fit`.
        record: Kept in the model folder for people to read.
    """
    train, validation = clips.indices(train_subjects), clips.indices(validation_subjects)
    modality, n_classes = clips.input.modality, len(clips.data.aus)
    mean, std = input_statistics(clips, train)
    torch.manual_seed(seed)
    network = create_model(
        model, n_classes=n_classes, in_channels=N_CHANNELS[modality], size=clips.input.size, **model_args
    )
    network = fit(
        network,
        PermutedLabels(clips, [*train, *validation], seed=seed) if permute_labels else clips,
        train=train,
        validation=validation,
        config=config,
        n_classes=n_classes,
        mean=mean,
        std=std,
        seed=seed,
        checkpoint_dir=checkpoint_dir,
        on_epoch=on_epoch,
    )
    seen = {"train_subjects": list(train_subjects), "validation_subjects": list(validation_subjects), "seed": seed}
    training = {"data": clips.data.name, **seen, **(record or {})}
    return TrainedModel(network, clips.input, clips.data.class_names, mean, std, training)


class PermutedLabels(Dataset):
    """Clips whose labels at `indices` are shuffled among themselves."""

    def __init__(self, clips: ClipTensors, indices: Sequence[int], *, seed: int) -> None:
        self._clips = clips
        order = np.random.default_rng(seed).permutation(len(indices))
        self._labels = {i: clips.labels[indices[j]] for i, j in zip(indices, order, strict=True)}

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int, int]:
        x, label, length = self._clips[index]
        return x, self._labels.get(index, label), length


def input_statistics(clips: ClipTensors, indices: Sequence[int]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel over the valid steps of the clips at `indices`.

    Event counts enter the network as they are: mean 0, deviation 1.
    """
    n_channels = N_CHANNELS[clips.input.modality]
    if clips.input.modality == "events":
        return (0.0,) * n_channels, (1.0,) * n_channels
    count, total, square = 0, torch.zeros(n_channels).double(), torch.zeros(n_channels).double()
    for i in indices:
        x, _, length = clips[i]
        valid = x[:length].double()  # [t, C, H, W]
        count += valid[:, 0].numel()
        total += valid.sum((0, 2, 3))
        square += valid.square().sum((0, 2, 3))
    mean = total / count
    std = (square / count - mean.square()).clamp_min(1e-6).sqrt()
    return tuple(mean.tolist()), tuple(std.tolist())
