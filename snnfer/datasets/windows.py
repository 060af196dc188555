"""Single windows of clips as samples: for classifiers of one or a few windows, and for pairs of events and frames."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch.utils.data import Dataset

from snnfer.datasets.clips import ClipInput, ClipTensors
from snnfer.datasets.manifest import Clip, ManifestDataset, content_key
from snnfer.errors import ConfigError, DatasetError
from snnfer.representations import CountFrames

Within = Literal["clip", "expression"]


class _Windows(Dataset):
    """Some windows of the clips of a data set, each known by the position of its clip and of its first window."""

    clips: ClipTensors
    samples: list[tuple[int, int]]

    @property
    def data(self) -> ManifestDataset:
        """The data set of the clips."""
        return self.clips.data

    @property
    def input(self) -> ClipInput:
        """How the windows were made."""
        return self.clips.input

    def __len__(self) -> int:
        return len(self.samples)

    def indices(self, subjects: Sequence[str]) -> list[int]:
        """Indices of the samples of `subjects`."""
        return self.of_clips(self.clips.indices(subjects))

    def of_clips(self, clips: Sequence[int]) -> list[int]:
        """Indices of the samples of the clips at these positions of the data set."""
        wanted = set(clips)
        return [n for n, (i, _) in enumerate(self.samples) if i in wanted]


class WindowSamples(_Windows):
    """Windows of clips, each labelled as its clip: what evTransFER trains on.

    Args:
        clips: Tensors of a data set.
        n_windows: Consecutive windows per sample; they slide inside one clip, never across two.
        stride: Windows between the starts of two samples.
        within: ``clip`` takes all windows, ``expression`` those that lie between `onset_us` and `offset_us` of their
            clip (all, where the manifest does not give them).
        min_events: Every window of a sample must hold this many events inside the box.

    Each item is ``(x, label, length)``: ``[n_windows, C, H, W]``, class index, `n_windows`.

    Raises:
        DatasetError: no window is left.

    References:
        Bugueno-Cordova and Verschae, "evTransFER", sections 4.3 (windows of 33 ms, sequences of three) and 5.1.2
        (windows below a minimal activity are left out).
    """

    def __init__(
        self,
        clips: ClipTensors,
        *,
        n_windows: int = 1,
        stride: int = 1,
        within: Within = "clip",
        min_events: int = 1,
    ) -> None:
        self.clips, self.n_windows = clips, n_windows
        self.samples = window_starts(clips, n_windows=n_windows, stride=stride, within=within, min_events=min_events)
        self.labels = tuple(clips.labels[i] for i, _ in self.samples)
        self.lengths = [n_windows] * len(self.samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int, int]:
        clip, start = self.samples[index]
        x = np.array(self.clips.array(clip)[start : start + self.n_windows])
        return torch.from_numpy(x), self.labels[index], self.n_windows


class WindowPairs(_Windows):
    """Windows of events with the frame on show at their end: what a reconstruction is trained on.

    Args:
        events: Tensors of the events.
        frames: Tensors of the frames (modality ``rgb`` or ``gray``) on the same time grid.
        stride: Windows between two pairs of a clip.
        within: As in `WindowSamples`.
        min_events: Windows with fewer events inside the box are left out.

    Each item is ``(x, y)``: events ``[C, H, W]`` as their representation gives them, frame uint8 ``[C_out, H, W]``.

    Raises:
        DatasetError: the two are not of the same clips and windows, a frame is black, or no window is left.
    """

    def __init__(
        self,
        events: ClipTensors,
        frames: ClipTensors,
        *,
        stride: int = 1,
        within: Within = "clip",
        min_events: int = 1,
    ) -> None:
        _check_paired(events, frames)
        self.clips = self.events = events
        self.frames = frames
        self.samples = window_starts(events, n_windows=1, stride=stride, within=within, min_events=min_events)
        self._check_frames()

    @property
    def n_target_channels(self) -> int:
        """Channels of the frames."""
        return self.frames.input.n_channels

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        clip, window = self.samples[index]
        x, y = np.array(self.events.array(clip)[window]), np.array(self.frames.array(clip)[window])
        return torch.from_numpy(x), torch.from_numpy(y)

    def _check_frames(self) -> None:
        for i in sorted({clip for clip, _ in self.samples}):
            brightest = self.frames.array(i)[: self.frames.lengths[i]].max(axis=(1, 2, 3))
            if brightest.min() == 0:
                raise DatasetError(
                    f"the frame of window {int(brightest.argmin())} of clip '{self.data.clips[i].clip}' is black",
                    expected="frames that show the face",
                    cause="a closed shutter, a dropped frame, or a face box outside the frame",
                    fix="correct the box or the recording, or leave the clip out of the manifest",
                )


def window_starts(
    clips: ClipTensors, *, n_windows: int, stride: int, within: Within, min_events: int
) -> list[tuple[int, int]]:
    """``(clip, first window)`` of every sample, in the order of the clips and of time.

    Raises:
        DatasetError: there is none.
        ConfigError: the clips are not cut into windows of one length.
    """
    if clips.input.slicing != "time":
        raise ConfigError(
            f"windows of clips with slicing '{clips.input.slicing}'",
            expected="slicing 'time': windows of one length are the samples here",
            fix="leave data.slicing out",
        )
    found = []
    for i, clip in enumerate(clips.data.clips):
        good = events_per_window(clips, i) >= min_events
        if within == "expression":
            good &= _inside_expression(clip, clips.input, len(good))
        complete = np.lib.stride_tricks.sliding_window_view(good, n_windows).all(1) if len(good) >= n_windows else []
        found += [(i, int(start)) for start in np.flatnonzero(complete)[::stride]]
    if not found:
        raise DatasetError(
            f"no window of '{clips.data.name}' has {min_events} events or more",
            expected=f"a clip with at least {n_windows} such windows of {clips.input.window_us / 1e3:.1f} ms in a row",
            cause="a face box beside the face, windows that are too short, or still recordings",
            fix="lower min_events (windows.min_events in settings), lengthen window_us, or check the boxes with "
            "'snnfer events view'",
        )
    return found


def events_per_window(clips: ClipTensors, index: int) -> np.ndarray:
    """Number of events inside the box in each valid window of a clip: int64 ``[n_valid]``; kept in the cache."""
    clip, box = clips.data.clips[index], clips.boxes[index]
    start, n_valid = clips.input.interval(clip)
    window_us = clips.input.window_us

    def count() -> np.ndarray:
        counts = CountFrames(window_us, size=(1, 1), n_steps=n_valid)
        stream = clips.data.load(clip)
        return (
            counts(stream, t_start_us=start, t_end_us=start + n_valid * window_us, box=box)
            .sum((1, 2, 3))
            .long()
            .numpy()
        )

    key = {"events per window": content_key(clip), "start": [start, n_valid, window_us], "box": list(box or ())}
    return clips.cache.get(key, count)


def _inside_expression(clip: Clip, input: ClipInput, n_windows: int) -> np.ndarray:
    """Whether each window lies between onset and offset."""
    start, _ = input.interval(clip)
    begins = start + input.window_us * np.arange(n_windows)
    onset = begins[0] if clip.onset_us is None else clip.onset_us
    offset = begins[-1] + input.window_us if clip.offset_us is None else clip.offset_us
    return (begins >= onset) & (begins + input.window_us <= offset)


def _check_paired(events: ClipTensors, frames: ClipTensors) -> None:
    grids = [
        (
            [clip.clip for clip in tensors.data.clips],
            tensors.lengths,
            tensors.input.window_us,
            tensors.input.n_steps,
            tuple(tensors.input.size),
        )
        for tensors in (events, frames)
    ]
    names = ("clips", "numbers of windows", "window_us", "n_steps", "size")
    differing = [name for name, a, b in zip(names, *grids, strict=True) if a != b]
    if differing or frames.input.modality not in ("rgb", "gray"):
        kind = f"kind: the frames are of modality '{frames.input.modality}'"
        raise DatasetError(
            f"events and frames that differ in their {differing[0] if differing else kind}",
            expected="the RGB or grey frame of each window of events, on one time grid and in one size",
            fix="make both from one data set with the same window_us, n_steps and size",
        )
