"""Training clips that are made anew from changed events in every epoch."""

import math
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import Dataset

from snnfer.errors import ConfigError
from snnfer.events.augmentation import augment_spiking_fer
from snnfer.training.config import TrainConfig
from snnfer.training.trainer import SeededSampler, derived_seed

MIRROR = 0.5
"""Probability that Spiking-FER mirrors half a face."""


class AugmentedClips(Dataset):
    """Clips whose events, and then frames, are changed as Spiking-FER does.

    .. code-block:: text

        events -> augment_spiking_fer -> representation -> random_resized_crop -> mirror_face (probability 0.5)

    What happens to a clip depends on the seed, the epoch and the clip alone, so that a training that was interrupted
    and resumed sees what an uninterrupted one sees, however many processes share it.

    Args:
        clips: With `events` and `tensor`, as `snnfer.datasets.ClipTensors`.
        sampler: Knows the epoch.
        seed: Of the training.

    References:
        Barchid et al., "Spiking-FER: Spiking Neural Network for Facial Expression Recognition With Event Cameras",
        CBMI 2023, and its public code.
    """

    def __init__(self, clips: Any, *, sampler: SeededSampler, seed: int) -> None:
        self._clips, self._sampler, self._seed = clips, sampler, seed

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int, int]:
        _, label, length = self._clips[index]
        generator = np.random.default_rng([derived_seed(self._seed, self._sampler.epoch), index])
        stream = augment_spiking_fer(self._clips.events(index), generator)
        x = random_resized_crop(self._clips.tensor(index, stream), generator)
        if generator.random() < MIRROR:
            x = mirror_face(x, keep_left=bool(generator.random() < 0.5))
        return x, label, length


def augmented_clips(clips: Dataset, config: TrainConfig, *, sampler: SeededSampler, seed: int) -> Dataset:
    """The clips as `config.event_augmentation` wants them.

    Raises:
        ConfigError: it is set for samples other than clips.
    """
    if config.event_augmentation == "none":
        return clips
    if not hasattr(clips, "tensor"):
        raise ConfigError(
            f"train.event_augmentation = {config.event_augmentation} for windows of clips",
            expected="whole clips, whose events can be changed before they become a tensor",
            fix="leave train.event_augmentation out",
        )
    return AugmentedClips(clips, sampler=sampler, seed=seed)


def random_resized_crop(
    x: torch.Tensor,
    generator: np.random.Generator,
    *,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> torch.Tensor:
    """A random box of ``[T, C, H, W]``, the same for all steps, resized to ``[T, C, H, W]`` by nearest neighbours.

    Area and aspect ratio are drawn until the box fits; after ten attempts the largest centred box takes its place.

    Args:
        x: Any dtype, which is kept.
        generator: Of the box.
        scale: Smallest and largest area as a share of the image. The defaults are torchvision's; Spiking-FER names
            the transform without its numbers.
        ratio: Smallest and largest width / height, drawn uniformly in their logarithm.
    """
    height, width = x.shape[2:]
    top, left, box_height, box_width = _draw_box(height, width, generator, scale, ratio)
    part = x[:, :, top : top + box_height, left : left + box_width]
    return functional.interpolate(part.float(), size=(height, width), mode="nearest-exact").to(x.dtype)


def mirror_face(x: torch.Tensor, *, keep_left: bool) -> torch.Tensor:
    """Replace one half of ``[..., W]`` by the mirror image of the other; a middle column stays.

    Examples:
        >>> mirror_face(torch.tensor([1, 2, 3, 4, 5]), keep_left=True)
        tensor([1, 2, 3, 2, 1])
    """
    half = x.shape[-1] // 2
    mirrored, out = x.flip(-1), x.clone()
    if keep_left:
        out[..., -half:] = mirrored[..., -half:]
    else:
        out[..., :half] = mirrored[..., :half]
    return out


def _draw_box(
    height: int,
    width: int,
    generator: np.random.Generator,
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> tuple[int, int, int, int]:
    """Top, left, height and width of a random box."""
    for _ in range(10):
        area = height * width * generator.uniform(*scale)
        aspect = math.exp(generator.uniform(math.log(ratio[0]), math.log(ratio[1])))
        box_width, box_height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < box_width <= width and 0 < box_height <= height:
            top = int(generator.integers(0, height - box_height + 1))
            return top, int(generator.integers(0, width - box_width + 1)), box_height, box_width
    box_width = min(width, round(height * ratio[1]))
    box_height = min(height, round(width / ratio[0]))
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width
