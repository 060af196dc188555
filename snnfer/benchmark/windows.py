"""Tensors, pairs and samples of windows for the benchmarks that train on windows of clips."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from snnfer.benchmark.config import DataConfig
from snnfer.benchmark.data import load_tensors
from snnfer.datasets import ClipTensors, ManifestDataset, WindowPairs, WindowSamples
from snnfer.errors import ConfigError


@dataclass(frozen=True)
class WindowConfig:
    """Which windows of a clip are samples.

    Args:
        within: ``expression`` takes windows between onset and offset of the movement, where the manifest has them;
            ``clip`` takes all.
        min_events: Windows with fewer events inside the face box are left out.
        stride: Windows between two samples of a classifier.
        pair_stride: Windows between two pairs of events and frame of a reconstruction.
    """

    within: Literal["clip", "expression"] = "expression"
    min_events: int = 50
    stride: int = 1
    pair_stride: int = 1

    def __post_init__(self) -> None:
        for name in ("stride", "pair_stride"):
            if getattr(self, name) < 1:
                raise ConfigError(f"windows.{name} = {getattr(self, name)}", expected="1 or more")
        if self.min_events < 0:
            raise ConfigError(f"windows.min_events = {self.min_events}", expected="0 or more")

    def samples(self, clips: ClipTensors, *, n_windows: int = 1) -> WindowSamples:
        """Samples of `n_windows` windows each."""
        return WindowSamples(
            clips, n_windows=n_windows, stride=self.stride, within=self.within, min_events=self.min_events
        )

    def pairs(self, events: ClipTensors, frames: ClipTensors) -> WindowPairs:
        """Windows with their frames."""
        return WindowPairs(events, frames, stride=self.pair_stride, within=self.within, min_events=self.min_events)


def event_tensors(
    data: ManifestDataset,
    config: DataConfig,
    *,
    representation: str,
    args: Mapping[str, Any] | None = None,
    size: tuple[int, int] | None = None,
) -> ClipTensors:
    """Cached tensors of all clips in one representation of their events."""
    settings = replace(
        config, representation=representation, representation_args=dict(args or {}), size=size or config.size
    )
    return load_tensors(data, settings, "events")


def frame_tensors(
    data: ManifestDataset, config: DataConfig, modality: str, *, size: tuple[int, int] | None = None
) -> ClipTensors:
    """Cached frames of all clips, one per window; each must be shown within two windows of the events."""
    settings = replace(config, size=size or config.size)
    return load_tensors(data, settings, modality, max_frame_age_us=2 * config.window_us)
