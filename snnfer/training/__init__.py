"""Training of classifiers and reconstruction networks with Lightning, model folders, and prediction on recordings."""

import importlib
from typing import TYPE_CHECKING, Any

from snnfer.training.checkpoint import TrainedModel, load_model, normalise, save_model
from snnfer.training.config import ReconstructionConfig, TrainConfig
from snnfer.training.streaming import StreamSummary, WindowScores, stream_recording

if TYPE_CHECKING:
    from snnfer.training.classifier import train_classifier, train_network
    from snnfer.training.fitting import fit
    from snnfer.training.module import ClipClassifier
    from snnfer.training.reconstruction import reconstruct_pairs, train_reconstruction
    from snnfer.training.scoring import clip_scores

__all__ = [
    "ClipClassifier",
    "ReconstructionConfig",
    "StreamSummary",
    "TrainConfig",
    "TrainedModel",
    "WindowScores",
    "clip_scores",
    "fit",
    "load_model",
    "normalise",
    "reconstruct_pairs",
    "save_model",
    "stream_recording",
    "train_classifier",
    "train_network",
    "train_reconstruction",
]

_NEED_LIGHTNING = {
    "ClipClassifier": "module",
    "clip_scores": "scoring",
    "fit": "fitting",
    "reconstruct_pairs": "reconstruction",
    "train_classifier": "classifier",
    "train_network": "classifier",
    "train_reconstruction": "reconstruction",
}


def __getattr__(name: str) -> Any:
    """Names that need Lightning load on first use."""
    if name in _NEED_LIGHTNING:
        from snnfer._optional import require

        require("lightning", extra="train")
        return getattr(importlib.import_module(f"snnfer.training.{_NEED_LIGHTNING[name]}"), name)
    raise AttributeError(f"module 'snnfer.training' has no attribute '{name}'")
