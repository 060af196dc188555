"""Scores of clips by a trained network."""

from collections.abc import Sequence

import torch
from torch.utils.data import DataLoader, Dataset, Sampler, Subset

from snnfer.datasets import collate
from snnfer.training.checkpoint import normalise


def clip_loader(
    clips: Dataset, indices: Sequence[int], batch_size: int, *, sampler: Sampler[int] | None = None
) -> DataLoader:
    """Batches ``([T, N, C, H, W], labels, lengths)`` of the clips at `indices`, in order unless a sampler is given."""
    return DataLoader(Subset(clips, list(indices)), batch_size=batch_size, sampler=sampler, collate_fn=collate)


@torch.no_grad()
def clip_scores(
    model: torch.nn.Module,
    clips: Dataset,
    indices: Sequence[int],
    *,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    batch_size: int = 8,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Scores of the clips at `indices`.

    Args:
        model: A clip classifier; moved to the GPU, where there is one, and back.
        clips: Items ``(x, label, length)``, see `snnfer.datasets.ClipTensors`.
        indices: Which clips.
        mean, std: Input normalisation of the model.
        batch_size: Clips per call; the scores do not depend on it.

    Returns:
        Scores ``[n, K]``, and what each step adds to them, ``[T, n, K]``, of networks that vote at each step or
        integrate over the steps (None for others).
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = model.to(device).eval()
    scores, steps = [], []
    for x, _, lengths in clip_loader(clips, indices, batch_size):
        x = normalise(x.to(device), mean, std)
        if hasattr(model, "forward_steps"):
            votes = model.forward_steps(x)  # type: ignore[operator]  # [T, N, K]
            if getattr(model, "integrates", False):  # a step's score holds those before it: what does it add?
                votes = votes.diff(dim=0, prepend=torch.zeros_like(votes[:1]))
            steps.append(votes.cpu())
        scores.append(model(x, lengths=lengths.to(device)).cpu())
    model.cpu()
    return torch.cat(scores), torch.cat(steps, dim=1) if steps else None
