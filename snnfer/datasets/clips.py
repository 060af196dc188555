"""From clips to tensors: each clip becomes ``[T, C, H, W]`` on a fixed time grid, cached by content."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import Dataset

from snnfer._check import check_choice, check_positive
from snnfer._config import added, hashed_values
from snnfer._progress import progress
from snnfer.datasets.cache import ArrayCache
from snnfer.datasets.clip_events import cut_events
from snnfer.datasets.frames import frame_images
from snnfer.datasets.manifest import Box, Clip, ManifestDataset, content_key
from snnfer.errors import ConfigError, DatasetError
from snnfer.events import EventStream
from snnfer.representations import Representation, create_representation
from snnfer.representations.slicing import represent_slices, slice_by_count, slice_uniform, uniform_edges

Modality = Literal["events", "rgb", "gray", "depth", "rgbd"]
N_CHANNELS: dict[str, int] = {"events": 2, "rgb": 3, "gray": 1, "depth": 1, "rgbd": 4}
SLICINGS = ("time", "uniform", "count")
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
        slicing: ``time`` takes windows of `window_us`. ``uniform`` divides the whole clip, whatever its length, into
            `n_steps` windows of one length. ``count``, for events, takes slices of `slice_events` events inside the
            box: the central `n_steps` of them, or `n_steps` slices of equal count where there are fewer.
        slice_events: Events per slice of ``count``.
        center: Where ``time`` cuts clips that are too long, and where `n_steps` of 1 takes a still image: around the
            ``middle`` of the clip, or around its ``apex`` (column ``apex_us`` of the manifest), as far as it reaches.

    Raises:
        SnnferError: an unknown modality, slicing or centre, or slices of fewer than one event.
        ConfigError: slices of events for frames.

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
    slicing: Literal["time", "uniform", "count"] = added("time")
    slice_events: int = added(2500)
    center: Literal["middle", "apex"] = added("middle")

    def __post_init__(self) -> None:
        check_choice(self.modality, tuple(N_CHANNELS), name="modality")
        check_choice(self.slicing, SLICINGS, name="slicing")
        check_choice(self.center, ("middle", "apex"), name="center")
        check_positive(self.slice_events, name="slice_events")
        if self.slicing == "count" and self.modality != "events":
            raise ConfigError(
                f"slicing 'count' for the modality '{self.modality}'",
                expected="events: frames cannot be divided by a number of events",
                fix="use slicing 'uniform', which divides events and frames alike",
            )

    @cached_property
    def event_representation(self) -> Representation:
        """What draws the events of a window."""
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
        return self.event_representation.n_channels if self.modality == "events" else N_CHANNELS[self.modality]

    @property
    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Mean and deviation per channel that the representation fixes; None for frames, which are measured."""
        if self.modality != "events":
            return None
        offset, scale = self.event_representation.offset_scale
        return (offset,) * self.n_channels, (scale,) * self.n_channels

    def interval(self, clip: Clip) -> tuple[int, int]:
        """Start in microseconds and number of valid steps of `clip`, after cutting where it is too long.

        Raises:
            DatasetError: the clip is to be cut around its apex, which is not known.
        """
        if self.slicing != "time":
            return clip.t_start_us, self.n_steps
        span = self.n_steps * self.window_us
        spare = clip.duration_us - span
        if spare <= 0:
            return clip.t_start_us, -(-clip.duration_us // self.window_us)
        if self.center == "middle":
            return clip.t_start_us + spare // 2, self.n_steps
        if clip.apex_us is None:
            raise DatasetError(
                f"clip '{clip.clip}' has no apex",
                expected="the column apex_us in the manifest, for center 'apex'",
                fix="add it, or use center 'middle'",
            )
        return clip.t_start_us + min(max(0, clip.apex_us - span // 2 - clip.t_start_us), spare), self.n_steps

    def __call__(
        self,
        stream: EventStream,
        *,
        t_start_us: int,
        n_valid: int,
        t_end_us: int | None = None,
        box: Box | None = None,
        t_origin_us: int | None = None,
    ) -> torch.Tensor:
        """Tensor of one stretch of a recording.

        Args:
            stream: The recording, with frames if the modality is frames.
            t_start_us: Start of the first window.
            n_valid: Number of windows, at most `n_steps`.
            t_end_us: End of the stretch, where the slicing is not ``time``; default: just after the last event.
            box: Face box in sensor pixels.
            t_origin_us: Start of the recording, for representations of absolute time; default `t_start_us`.

        Returns:
            ``[T, C, H, W]`` with T = `n_steps`; steps from `n_valid` on are zero. uint8 for RGB and grey
            frames and for representations of whole numbers (counts above 255 saturate), float32 for others.
        """
        if self.slicing == "time":
            t_end_us = t_start_us + n_valid * self.window_us
        elif t_end_us is None:
            t_end_us = stream.t_start_us + stream.duration_us + 1
        if self.modality == "events":
            return self._of_events(stream, t_start_us, t_end_us, box, t_origin_us)
        valid = frame_images(
            stream,
            self.modality,
            uniform_edges(t_start_us, t_end_us, n_valid)[1:],
            box=box,
            size=self.size,
            max_age_us=self.max_frame_age_us,
        )  # [n_valid, C, H, W]
        return torch.cat([valid, valid.new_zeros(self.n_steps - n_valid, *valid.shape[1:])])

    def _of_events(
        self, stream: EventStream, t_start_us: int, t_end_us: int, box: Box | None, t_origin_us: int | None
    ) -> torch.Tensor:
        representation, times = self.event_representation, {"t_start_us": t_start_us, "t_end_us": t_end_us}
        if self.slicing == "time":
            origin: dict[str, Any] = {"t_origin_us": t_origin_us} if representation.needs_origin else {}
            values = representation(stream, box=box, **times, **origin)
        else:
            slices = (
                slice_uniform(stream, self.n_steps, **times)
                if self.slicing == "uniform"
                else slice_by_count(stream, self.n_steps, slice_events=self.slice_events, box=box, **times)
            )
            values = represent_slices(representation, stream, slices, box=box, t_origin_us=t_origin_us)
        return values.clamp_(max=255).to(torch.uint8) if representation.is_whole else values


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

    @property
    def examples(self) -> tuple[Path, ...]:
        """The first recording and its tensor: where one of them is missing, the others are, too."""
        return (self.data.clips[0].path, self._paths[0]) if len(self) else ()

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int, int]:
        return torch.from_numpy(np.load(self._paths[index])), self.labels[index], self.lengths[index]

    def array(self, index: int) -> np.ndarray:
        """Tensor of a clip as a read-only array that is mapped, not loaded: ``[T, C, H, W]``."""
        return np.load(self._paths[index], mmap_mode="r", allow_pickle=False)

    def events(self, index: int) -> EventStream:
        """Events of a clip, cut to its time and its face box, from the cache; see `tensor`."""
        return cut_events(self.data, self.data.clips[index], self.boxes[index], self.cache)

    def tensor(self, index: int, stream: EventStream) -> torch.Tensor:
        """Tensor ``[T, C, H, W]`` of a clip whose events are `stream`, a changed version of ``events(index)``."""
        return self._read(self.data.clips[index], stream, None)

    def indices(self, subjects: Sequence[str]) -> list[int]:
        """Indices of the clips of `subjects`."""
        wanted = set(subjects)
        return [i for i, clip in enumerate(self.data.clips) if clip.subject in wanted]

    def _key(self, clip: Clip, box: Box | None) -> dict[str, object]:
        key: dict[str, object] = {"format": FORMAT, "clip": content_key(clip), "box": list(box or ())}
        key["input"] = hashed_values(self.input)
        return key if self.input.center == "middle" else key | {"start": self.input.interval(clip)[0]}

    def _build(self, clip: Clip, box: Box | None) -> np.ndarray:
        return self._read(clip, self.data.load(clip, frames=self.input.modality != "events"), box).numpy()

    def _read(self, clip: Clip, stream: EventStream, box: Box | None) -> torch.Tensor:
        start, n_valid = self.input.interval(clip)
        try:
            return self.input(
                stream,
                t_start_us=start,
                n_valid=n_valid,
                t_end_us=clip.t_end_us,
                box=box,
                t_origin_us=clip.t_start_us,
            )
        except DatasetError as error:
            raise DatasetError(f"clip '{clip.clip}': {error}") from error


def collate(items: Sequence[tuple[torch.Tensor, int, int]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Batch of `ClipTensors` items: ``[T, N, C, H, W]``, labels ``[N]``, lengths ``[N]``."""
    x, labels, lengths = zip(*items, strict=True)
    return torch.stack(x, dim=1), torch.tensor(labels), torch.tensor(lengths)
