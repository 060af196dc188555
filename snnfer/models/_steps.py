"""Networks without memory on every step of ``[T, N, ...]``."""

from collections.abc import Callable

import torch

from snnfer.layout import merge_time, split_time


def apply_to_steps(
    function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, *, training: bool
) -> torch.Tensor:
    """Apply `function` (``[N, ...]`` to ``[N, ...]``) to every step of ``[T, N, ...]``.

    In training mode time joins the batch, so that normalisation layers use the statistics of all steps. In evaluation
    mode the function sees one step at a time: memory does not grow with the steps, and the result of a step has the
    same bits whatever steps stand next to it, although matrix products round differently for different batch sizes.
    """
    if training:
        return split_time(function(merge_time(x)), len(x))
    return torch.stack([function(step) for step in x])
