"""The data of a benchmark: found, generated or cropped as its config says."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from snnfer.benchmark.config import DataConfig
from snnfer.datasets import ArrayCache, ClipInput, ClipTensors, ManifestDataset, default_cache_dir
from snnfer.datasets.manifest import Box, content_key
from snnfer.errors import ConfigError, DatasetError


def load_dataset(config: DataConfig, *, jobs: int = 1) -> ManifestDataset:
    """The clips that `config` names; SynthAU is generated (or completed) first."""
    if config.dataset == "manifest":
        if not config.root:
            raise ConfigError("data.root is empty", expected="the path of a manifest", fix="--set data.root=PATH")
        return ManifestDataset.read(config.root, min_clips_per_subject=config.min_clips_per_subject)
    from snnfer import synth
    from snnfer.synth.generator import describe as describe_synth

    settings = synth.SynthConfig.preset(config.preset, **config.synth)
    name = f"synthau-{config.preset}-{describe_synth(settings)['fingerprint'][:8]}"
    root = Path(config.root) if config.root else default_cache_dir() / name
    synth.generate(root, settings, jobs=jobs)
    return ManifestDataset.read(root, min_clips_per_subject=config.min_clips_per_subject)


def load_tensors(
    data: ManifestDataset,
    config: DataConfig,
    modality: str,
    *,
    max_frame_age_us: int | None = None,
    show_progress: bool = True,
) -> ClipTensors:
    """Cached tensors of all clips in one modality; see `snnfer.datasets.ClipInput` for `max_frame_age_us`."""
    reader = replace(config.clip_input(modality), max_frame_age_us=max_frame_age_us)
    return read_clips(data, reader, config.crop, show_progress=show_progress)


def read_clips(data: ManifestDataset, reader: ClipInput, crop: str, *, show_progress: bool = True) -> ClipTensors:
    """Cached tensors of all clips as `reader` gives them, cropped to faces as `crop` says."""
    cache = ArrayCache(default_cache_dir() / "tensors")
    return ClipTensors(data, reader, cache, boxes=clip_boxes(data, crop, cache), show_progress=show_progress)


def clip_boxes(data: ManifestDataset, crop: str, cache: ArrayCache) -> list[Box | None]:
    """Face box of each clip, as `crop` says."""
    if crop == "none":
        return [None] * len(data.clips)
    if crop == "manifest":
        lacking = [clip.clip for clip in data.clips if clip.box is None]
        if lacking:
            raise DatasetError(
                f"clip '{lacking[0]}' has no face box",
                expected="the columns box_x, box_y, box_w and box_h in the manifest",
                fix="add them, or set data.crop=face to detect faces, or data.crop=none to use the whole sensor",
            )
        return [clip.box for clip in data.clips]
    return [_detected_box(data, clip, cache) for clip in data.clips]


def describe(data: ManifestDataset, config: DataConfig) -> dict[str, Any]:
    """What the manifest of a run says about its data."""
    synthetic = config.dataset == "synthau"
    text = (
        "SynthAU: procedurally generated faces seen by a simulated event camera and a simulated RGB camera. "
        "Conclusions about real faces need real recordings."
        if synthetic
        else f"Recordings listed in {data.root.name}/manifest.csv."
    )
    return {
        "name": "SynthAU" if synthetic else data.name,
        "kind": "synthetic" if synthetic else "recorded",
        "fingerprint": data.fingerprint(),
        "n_subjects": len(data.subjects),
        "n_clips": len(data.clips),
        "text": text,
    }


def _detected_box(data: ManifestDataset, clip: Any, cache: ArrayCache) -> Box:
    import numpy as np

    from snnfer.errors import FaceError
    from snnfer.faces import locate_face

    def build() -> np.ndarray:
        try:
            return np.array(locate_face(data.load(clip, frames=clip.frames_path is not None)).box)
        except FaceError as error:
            raise DatasetError(
                f"no face was found in clip '{clip.clip}'",
                fix="add the columns box_x, box_y, box_w and box_h to the manifest, or leave the clip out",
            ) from error

    box = cache.get({"face box": content_key(clip)}, build)
    return tuple(int(v) for v in box)  # type: ignore[return-value]
