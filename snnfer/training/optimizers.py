"""Optimisers of classifiers, and sharpness-aware minimisation around any of them."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from snnfer.training.config import TrainConfig


def make_optimizer(groups: Iterable[dict[str, Any]], config: TrainConfig) -> torch.optim.Optimizer:
    """The optimiser that a recipe names.

    Args:
        groups: Groups of parameters, with a rate of their own where it is not that of the recipe.
        config: Recipe.
    """
    groups = list(groups)
    options: dict[str, Any] = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=config.momentum, **options)
    return (torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam)(groups, **options)


def sharpness_aware(
    closure: Callable[[], Any],
    parameters: Sequence[torch.nn.Parameter],
    *,
    rho: float,
    buffers: Sequence[torch.Tensor] = (),
) -> Any:
    r"""Leave the gradient of the worst point nearby in ``parameter.grad``, and the parameters as they are.

    .. math:: g = \nabla L(w + \hat\epsilon), \quad \hat\epsilon = \rho\, \nabla L(w) / \lVert \nabla L(w) \rVert_2

    with the norm over all `parameters` together. Both gradients are of the same batch. Running statistics of batch
    normalisation follow the first pass alone, at the weights themselves. Where the first gradient is zero or not finite
    (a loss scale that is too large for half precision) it is left as it is, without a second pass.

    Args:
        closure: Clears the gradients, computes the loss and its gradients, and returns the loss; must draw the same
            random numbers each time.
        parameters: All that are trained.
        rho: :math:`\rho`, radius of the neighbourhood.
        buffers: Set back to what the first pass made of them.

    Returns:
        What the first call of `closure` returned.

    References:
        Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization", ICLR 2021, eq. (2) and
        algorithm 1 with p = 2.

    Examples:
        The loss 2 w² at w = 1 has the gradient 4; at 1 + 0.5 it is 6.

        >>> w = torch.nn.Parameter(torch.tensor(1.0))
        >>> def closure():
        ...     w.grad = None
        ...     loss = 2 * w.square()
        ...     loss.backward()
        ...     return loss.detach()
        >>> sharpness_aware(closure, [w], rho=0.5), w.grad
        (tensor(2.), tensor(6.))
    """
    with torch.enable_grad():
        loss = closure()
    trained = [p for p in parameters if p.grad is not None]
    norm = torch.stack([p.grad.float().norm() for p in trained]).norm() if trained else torch.zeros(())  # type: ignore[union-attr]
    if not (norm > 0 and torch.isfinite(norm)):
        return loss
    kept = [(tensor, tensor.detach().clone()) for tensor in (*trained, *buffers)]
    with torch.no_grad():
        for parameter in trained:
            parameter.add_(parameter.grad * (rho / norm))  # type: ignore[operator]
    with torch.enable_grad():
        closure()
    with torch.no_grad():
        for tensor, value in kept:
            tensor.copy_(value)
    return loss
