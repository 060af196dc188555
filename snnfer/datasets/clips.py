"""From clips to tensors: each clip becomes ``[T, C, H, W]`` on a fixed time grid, cached by content."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import Dataset

from snnfer._progress import progress
from snnfer.datasets.cache import ArrayCache
from snnfer.datasets.frames import frame_images
from snnfer.datasets.manifest import Box, Clip, ManifestDataset, content_key
from snnfer.errors import DatasetError
from snnfer.events import EventStream
from snnfer.representations import Representation, create_representation

Modality = Literal["events", "rgb", "gray", "depth", "rgbd"]
N_CHANNELS: dict[str, int] = {"events": 2, "rgb": 3, "gray": 1, "depth": 1, "rgbd": 4}
FORMAT = 1  # raise when the meaning of a cached tensor changes


@dataclass(frozen=True)
class ClipInput:
    """How a clip becomes a tensor.

    Args:
        modality: ``events`` gives the representation of the events of each window, ``rgb``, ``gray`` and ``depth`` the
            frame shown at the end of each, ``rgbd`` the channels R, G, B and depth.
        window_us: Length of one step, in microseconds.
        n_steps: Steps per clip: longer clips are cut to their middle, shorter ones padded with zeros at the end.
        size: Height and width of the network's input.
        representation: For events, one of `snnfer.representations.list_representations()`.
        representation_args: Its further arguments, such as ``{"measure": "t"}`` for TIE.
        max_frame_age_us: For frames, refuse a recording that has no frame this recent at the end of a window.

    Examples:
        >>> ClipInput(representation="tie", size=(256, 256)).n_channels
        3
    """

    modality: Modality = "events"
    window_us: int = 33_000
    n_steps: int = 76
    size: tuple[int, int] = (64, 64)
    representation: str = "count_frames"
    representation_args: Mapping[str, Any] = field(default_factory=dict)
    max_frame_age_us: int | None = None

    @cached_property
    def _representation(self) -> Representation:
        return create_representation(
            self.representation,
            window_us=self.window_us,
            size=self.size,
            n_steps=self.n_steps,
            **self.representation_args,
        )

    @property
    def n_channels(self) -> int:
        """Channels of the tensor."""
        return self._representation.n_channels if self.modality == "events" else N_CHANNELS[self.modality]

    @property
    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Mean and deviation per channel that the representation fixes; None for frames, which are measured."""
        if self.modality != "events":
            return None
        offset, scale = self._representation.offset_scale
        return (offset,) * self.n_channels, (scale,) * self.n_channels

    def interval(self, clip: Clip) -> tuple[int, int]:
        """Start in microseconds and number of valid steps of `clip` after cutting to the middle."""
        span = self.n_steps * self.window_us
        if clip.duration_us > span:
            return clip.t_start_us + (clip.duration_us - span) // 2, self.n_steps
        return clip.t_start_us, -(-clip.duration_us // self.window_us)

    def __call__(
        self,
        stream: EventStream,
        *,
        t_start_us: int,
        n_valid: int,
        box: Box | None = None,
        t_origin_us: int | None = None,
    ) -> torch.Tensor:
        """Tensor of one stretch of a recording.

        Args:
            stream: The recording, with frames if the modality is frames.
            t_start_us: Start of the first window.
            n_valid: Number of windows, at most `n_steps`.
            box: Face box in sensor pixels.
            t_origin_us: Start of the recording, for representations of absolute time; default `t_start_us`.

        Returns:
            ``[T, C, H, W]`` with T = `n_steps`; steps from `n_valid` on are zero. uint8 for RGB and grey
            frames and for representations of whole numbers (counts above 255 saturate), float32 for others.
        """
        t_end_us = t_start_us + n_valid * self.window_us
        if self.modality == "events":
            return self._of_events(stream, t_start_us, t_end_us, box, t_origin_us)
        ends = t_start_us + self.window_us * np.arange(1, n_valid + 1)
        valid = frame_images(
            stream, self.modality, ends, box=box, size=self.size, max_age_us=self.max_frame_age_us
        )  # [n_valid, C, H, W]
        return torch.cat([valid, valid.new_zeros(self.n_steps - n_valid, *valid.shape[1:])])

    def _of_events(
        self, stream: EventStream, t_start_us: int, t_end_us: int, box: Box | None, t_origin_us: int | None
    ) -> torch.Tensor:
        times: dict[str, Any] = {"t_start_us": t_start_us, "t_end_us": t_end_us}
        if self._representation.needs_origin:
            times["t_origin_us"] = t_origin_us
        values = self._representation(stream, box=box, **times)
        return values.clamp_(max=255).to(torch.uint8) if self._representation.is_whole else values


class ClipTensors(Dataset):
    """The clips of a data set as tensors, made once and kept in a content-keyed cache.

    Args:
        data: The clips.
        input: How a clip becomes a tensor.
        cache: Where the tensors are kept.
        boxes: Face box per clip (same order), None for the whole sensor.
        show_progress: Show a bar while tensors are made.

    Each item is ``(x, label, length)``: ``[T, C, H, W]`` as `ClipInput` gives it, class index, number of valid steps.
    """

    def __init__(
        self,
        data: ManifestDataset,
        input: ClipInput,
        cache: ArrayCache,
        *,
        boxes: Sequence[Box | None] | None = None,
        show_progress: bool = True,
    ) -> None:
        self.data, self.input = data, input
        self.labels = data.labels
        self.cache = cache
        self.boxes = list(boxes) if boxes is not None else [clip.box for clip in data.clips]
        self.lengths = [input.interval(clip)[1] for clip in data.clips]
        clips = zip(data.clips, self.boxes, strict=True)
        bar = progress(
            clips, total=len(data.clips), desc=f"{input.modality} tensors", disable=None if show_progress else True
        )
        self._paths = [cache.store(self._key(clip, box), lambda c=clip, b=box: self._build(c, b)) for clip, box in bar]

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int, int]:
        return torch.from_numpy(np.load(self._paths[index])), self.labels[index], self.lengths[index]

    def array(self, index: int) -> np.ndarray:
        """Tensor of a clip as a read-only array that is mapped, not loaded: ``[T, C, H, W]``."""
        return np.load(self._paths[index], mmap_mode="r", allow_pickle=False)

    def indices(self, subjects: Sequence[str]) -> list[int]:
        """Indices of the clips of `subjects`."""
        wanted = set(subjects)
        return [i for i, clip in enumerate(self.data.clips) if clip.subject in wanted]

    def _key(self, clip: Clip, box: Box | None) -> dict[str, object]:
        return {"format": FORMAT, "clip": content_key(clip), "input": asdict(self.input), "box": list(box or ())}

    def _build(self, clip: Clip, box: Box | None) -> np.ndarray:
        stream = self.data.load(clip, frames=self.input.modality != "events")
        start, n_valid = self.input.interval(clip)
        try:
            x = self.input(stream, t_start_us=start, n_valid=n_valid, box=box, t_origin_us=clip.t_start_us)
        except DatasetError as error:
            raise DatasetError(f"clip '{clip.clip}': {error}") from error
        return x.numpy()


def collate(items: Sequence[tuple[torch.Tensor, int, int]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Batch of `ClipTensors` items: ``[T, N, C, H, W]``, labels ``[N]``, lengths ``[N]``."""
    x, labels, lengths = zip(*items, strict=True)
    return torch.stack(x, dim=1), torch.tensor(labels), torch.tensor(lengths)
