"""Data sets: labelled clips of recordings and their windows, subject-wise splits and cached tensors."""

from snnfer.datasets.action_units import ACTION_UNITS, PAPER_AUS, class_meaning
from snnfer.datasets.cache import ArrayCache, default_cache_dir
from snnfer.datasets.clips import N_CHANNELS, ClipInput, ClipTensors, collate
from snnfer.datasets.frames import crop_resize, frames_at
from snnfer.datasets.manifest import Clip, ManifestDataset
from snnfer.datasets.splits import (
    Fold,
    leave_one_subject_out,
    legacy_sequence_split,
    sample_folds,
    split_hash,
    subject_folds,
)
from snnfer.datasets.windows import WindowPairs, WindowSamples

__all__ = [
    "ACTION_UNITS",
    "N_CHANNELS",
    "PAPER_AUS",
    "ArrayCache",
    "Clip",
    "ClipInput",
    "ClipTensors",
    "Fold",
    "ManifestDataset",
    "WindowPairs",
    "WindowSamples",
    "class_meaning",
    "collate",
    "crop_resize",
    "default_cache_dir",
    "frames_at",
    "leave_one_subject_out",
    "legacy_sequence_split",
    "sample_folds",
    "split_hash",
    "subject_folds",
]
