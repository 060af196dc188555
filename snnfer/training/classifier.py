"""Training one classifier on some samples of a data set, from initialisation to a usable model."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from snnfer.datasets import ClipTensors
from snnfer.datasets.windows import WindowSamples
from snnfer.models import create_model
from snnfer.training.checkpoint import TrainedModel
from snnfer.training.config import TrainConfig
from snnfer.training.fitting import fit
from snnfer.training.trainer import OnEpoch

Prepare = Callable[[torch.nn.Module], None]


def train_classifier(
    clips: ClipTensors | WindowSamples,
    *,
    model: str,
    model_args: Mapping[str, Any],
    train_subjects: Sequence[str],
    validation_subjects: Sequence[str] = (),
    config: TrainConfig,
    seed: int,
    checkpoint_dir: str | os.PathLike[str],
    prepare: Prepare | None = None,
    permute_labels: bool = False,
    on_epoch: OnEpoch | None = None,
    record: Mapping[str, Any] | None = None,
) -> TrainedModel:
    """Initialise and train a model; nothing but the clips of the named subjects is looked at.

    Args:
        clips: Tensors of a data set.
        train_subjects, validation_subjects: Who is trained on, and who selects the epoch.
        model, model_args, config, seed, checkpoint_dir, prepare, permute_labels, on_epoch, record: As in
            `train_network`.
    """
    return train_network(
        clips,
        model=model,
        model_args=model_args,
        train=clips.indices(train_subjects),
        validation=clips.indices(validation_subjects),
        config=config,
        seed=seed,
        checkpoint_dir=checkpoint_dir,
        prepare=prepare,
        permute_labels=permute_labels,
        on_epoch=on_epoch,
        record={
            "train_subjects": list(train_subjects),
            "validation_subjects": list(validation_subjects),
            "seed": seed,
            **(record or {}),
        },
    )


def train_network(
    samples: ClipTensors | WindowSamples,
    *,
    model: str,
    model_args: Mapping[str, Any],
    train: Sequence[int],
    validation: Sequence[int] = (),
    config: TrainConfig,
    seed: int,
    checkpoint_dir: str | os.PathLike[str],
    prepare: Prepare | None = None,
    permute_labels: bool = False,
    on_epoch: OnEpoch | None = None,
    record: Mapping[str, Any] | None = None,
) -> TrainedModel:
    """Initialise and train a classifier; nothing but the samples at `train` and `validation` is looked at.

    Args:
        samples: Clips or windows of a data set.
        model: Name, see `snnfer.list_models`.
        model_args: Passed to `snnfer.create_model` beside the number of classes, channels and the input size.
        train, validation: Indices of the samples that are trained on, and of those that select the epoch.
        config: Recipe.
        seed: Of initialisation and everything random in training.
        checkpoint_dir: Training goes on from the checkpoint in it, if there is one.
        prepare: Called with the new network before training, to load a transferred encoder.
        permute_labels: Shuffle the labels of the seen samples: the control that must end at chance.
        on_epoch: See `fit`.
        record: Kept in the model folder for people to read.

    Raises:
        CheckpointError: the checkpoint is damaged or belongs to another network.
        ConfigError: the recipe needs an encoder or details that the model does not have, or changes colours of samples
            without.
        ConversionError, ExportError: the recipe quantises a network that no chip can have.
        DatasetError: a class that is to be weighted has no training sample.
        SnnferError: the loss is no longer a number.
    """
    config.check_modality(samples.input.modality)
    n_classes = len(samples.data.class_names)
    mean, std = input_statistics(samples, train)
    torch.manual_seed(seed)
    network = create_model(
        model, n_classes=n_classes, in_channels=samples.input.n_channels, size=samples.input.size, **model_args
    )
    if prepare:
        prepare(network)
    network = fit(
        network.train(),
        PermutedLabels(samples, [*train, *validation], seed=seed) if permute_labels else samples,
        train=train,
        validation=validation,
        config=config,
        n_classes=n_classes,
        mean=mean,
        std=std,
        seed=seed,
        checkpoint_dir=checkpoint_dir,
        on_epoch=on_epoch,
        class_names=samples.data.class_names,
    )
    training = {"data": samples.data.name, "seed": seed, **(record or {})}
    if config.quantize != "none":
        training["quantize"] = config.quantize
    return TrainedModel(network, samples.input, samples.data.class_names, mean, std, training)


class PermutedLabels(Dataset):
    """Clips whose labels at `indices` are shuffled among themselves."""

    def __init__(self, clips: ClipTensors | WindowSamples, indices: Sequence[int], *, seed: int) -> None:
        self._clips = clips
        order = np.random.default_rng(seed).permutation(len(indices))
        self.labels = list(clips.labels)
        for i, j in zip(indices, order, strict=True):
            self.labels[i] = clips.labels[indices[j]]

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int, int]:
        x, _, length = self._clips[index]
        return x, self.labels[index], length

    def __getattr__(self, name: str) -> Any:
        """`events` and `tensor`, where the clips have them."""
        if name in ("events", "tensor"):
            return getattr(self._clips, name)
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")


def input_statistics(
    clips: ClipTensors | WindowSamples, indices: Sequence[int]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel over the valid steps of the clips at `indices`.

    Those of events are fixed by their representation; counts enter the network as they are: mean 0, deviation 1.
    """
    fixed = clips.input.normalisation
    if fixed is not None:
        return fixed
    n_channels = clips.input.n_channels
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
