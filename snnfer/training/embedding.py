"""What a classifier makes of clips before it decides, and its map in two dimensions."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from snnfer._check import check_choice
from snnfer._optional import require
from snnfer.errors import ConfigError, ShapeError
from snnfer.models._input import check_lengths, time_mean
from snnfer.training.checkpoint import TrainedModel


@torch.no_grad()
def embed(model: nn.Module, x: torch.Tensor, *, lengths: torch.Tensor | None = None) -> torch.Tensor:
    """Features of clips in front of the last layer.

    ``embedding`` of the model's ``forward_with_details`` where it has one, else the input of its last fully connected
    layer; where that layer reads every step, the mean over the valid ones (of a spiking network: firing rates).

    Args:
        model: A classifier of `snnfer.models`.
        x: Its input ``[T, N, C, H, W]``, normalised.
        lengths: Valid steps of each sample ``[N]``; all where None.

    Returns:
        ``[N, n_features]``.

    Raises:
        ConfigError: the model has neither.

    Examples:
        >>> from snnfer import create_model
        >>> model = create_model("au_snn", size=(16, 16), channels=4, hidden=32).eval()
        >>> embed(model, torch.rand(5, 2, 2, 16, 16)).shape
        torch.Size([2, 32])
    """
    if hasattr(model, "forward_with_details"):
        details: dict[str, torch.Tensor] = model.forward_with_details(x, lengths=lengths)[1]  # type: ignore[operator]
        if "embedding" in details:
            return details["embedding"]
    seen: list[tuple[nn.Module, torch.Tensor]] = []
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    handles = [layer.register_forward_pre_hook(lambda module, inputs: seen.append((module, inputs[0])))
               for layer in layers]  # fmt: skip
    try:
        model(x, lengths=lengths)
    finally:
        for handle in handles:
            handle.remove()
    if not seen:
        raise ConfigError(f"a {type(model).__name__}", expected="a network with a fully connected layer at its end")
    last = seen[-1][0]
    return _of_clips(torch.cat([given for module, given in seen if module is last]), x, check_lengths(lengths, x))


def _of_clips(features: torch.Tensor, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """``[N, F]`` of features of clips ``[N, F]``, or of the last k steps ``[k, N, F]`` or ``[k * N, F]``."""
    n_samples = x.shape[1]
    if not n_samples or features.shape[:-1] == (n_samples,):
        return features.reshape(n_samples, features.shape[-1])
    steps = features.reshape(-1, n_samples, features.shape[-1])  # [k, N, F]
    return time_mean(steps, (lengths - (len(x) - len(steps))).clamp_min(1))


def clip_embeddings(
    trained: TrainedModel, clips: Dataset, indices: Sequence[int], *, batch_size: int = 8
) -> torch.Tensor:
    """`embed` of the clips at `indices`, ``[n, n_features]``.

    Args:
        trained: From `snnfer.training.load_model` or `train_classifier`.
        clips: Items ``(x, label, length)``, see `snnfer.datasets.ClipTensors`.
        indices: Which clips.
        batch_size: Clips per call.
    """
    from snnfer.training.scoring import clip_loader

    parts = [
        embed(trained.model, trained.normalise(x), lengths=lengths)
        for x, _, lengths in clip_loader(clips, indices, batch_size)
    ]
    return torch.cat(parts)


def embedding_map(
    features: torch.Tensor | np.ndarray,
    *,
    method: Literal["tsne", "pca"] = "tsne",
    perplexity: float = 30.0,
    seed: int = 0,
) -> np.ndarray:
    """Features as points in the plane.

    Distances between groups of a t-SNE mean little, and groups can appear that the features do not have: look at PCA,
    which is linear, too.

    Args:
        features: ``[n, n_features]``.
        method: ``tsne`` of scikit-learn, begun with PCA, or ``pca`` alone, which needs numpy only.
        perplexity: Of t-SNE: about how many neighbours a point has, below n.
        seed: Of t-SNE.

    Returns:
        float64 ``[n, 2]``.

    Raises:
        ShapeError: fewer than three samples or two features.
        ConfigError: another method, or `perplexity` is not between 0 and n.
        MissingExtraError: scikit-learn is not installed.

    References:
        van der Maaten and Hinton, "Visualizing Data using t-SNE", JMLR 2008.

    Examples:
        >>> embedding_map(np.diag([3.0, 2.0, 1.0]) - 1, method="pca").shape
        (3, 2)
    """
    check_choice(method, ("tsne", "pca"), name="method")
    values = np.asarray(features, dtype=np.float64)
    if values.ndim != 2 or len(values) < 3 or values.shape[1] < 2:
        raise ShapeError(
            f"features of shape {list(values.shape)}", expected="[n, n_features] of at least 3 samples and 2 features"
        )
    if method == "pca":
        return _principal_components(values)
    if not 0 < perplexity < len(values):
        raise ConfigError(
            f"perplexity = {perplexity} for {len(values)} samples",
            expected="a number of neighbours above 0 and below the samples",
            fix=f"perplexity={max(1, len(values) // 3)}, or method='pca'",
        )
    manifold: Any = require("sklearn.manifold", extra="bench")
    return manifold.TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(values).astype(np.float64)


def _principal_components(values: np.ndarray) -> np.ndarray:
    """Coordinates along the two directions of most variance; the largest loading of each is positive."""
    centred = values - values.mean(0)
    directions = np.linalg.svd(centred, full_matrices=False)[2][:2]  # [2, n_features]
    largest = np.abs(directions).argmax(1)[:, None]
    return centred @ (directions * np.sign(np.take_along_axis(directions, largest, axis=1))).T
