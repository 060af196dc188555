"""Learning rates as a function of the epoch or the step alone."""

import math

from snnfer.training.config import TrainConfig

_ONE_CYCLE_RISE = 0.3  # share of the steps in which the rate rises
_ONE_CYCLE_START = 1 / 25  # of the largest rate


def learning_rate(config: TrainConfig, epoch: int, *, start: float | None = None) -> float:
    """Learning rate of an epoch.

    ``cosine`` anneals it to 0, ``exponential`` multiplies it by ``gamma ** (epoch // step_every)``.

    Args:
        config: Recipe, with any schedule but ``onecycle``, which changes the rate within an epoch.
        epoch: Counted from 0.
        start: Rate of the first epoch; default ``config.learning_rate``.

    Examples:
        >>> [round(learning_rate(TrainConfig(epochs=4, learning_rate=1.0), e), 3) for e in range(4)]
        [1.0, 0.854, 0.5, 0.146]
        >>> recipe = TrainConfig(learning_rate=1.0, schedule="exponential", gamma=0.5, step_every=2)
        >>> [learning_rate(recipe, e) for e in range(5)]
        [1.0, 1.0, 0.5, 0.5, 0.25]
    """
    rate = config.learning_rate if start is None else start
    if config.schedule == "constant":
        return rate
    if config.schedule == "exponential":
        return rate * config.gamma ** (epoch // config.step_every)
    return rate * 0.5 * (1 + math.cos(math.pi * epoch / config.epochs))


def one_cycle_rate(step: int, *, n_steps: int, maximum: float, minimum: float = 1e-6) -> float:
    r"""Learning rate of a step of the schedule ``onecycle``.

    It rises along half a cosine from :math:`\eta_\max / 25` in the first 30 % of the steps, then falls along another
    to :math:`\eta_\min` in the last step. The momentum stays as it is.

    .. math:: \eta(p) = a + \tfrac12 (b - a)(1 - \cos \pi p)

    from rate :math:`a` to :math:`b` with the progress :math:`p` of the rise or the fall.

    Args:
        step: Counted from 0.
        n_steps: Of the whole training.
        maximum: Largest rate.
        minimum: Rate of the last step.

    References:
        Smith and Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates", 2018.
        The times and the start are those of ``torch.optim.lr_scheduler.OneCycleLR``.

    Examples:
        >>> [round(one_cycle_rate(s, n_steps=10, maximum=1.0, minimum=0.0), 2) for s in (0, 1, 2, 5, 9)]
        [0.04, 0.52, 1.0, 0.61, 0.0]
    """
    peak, last = _ONE_CYCLE_RISE * n_steps - 1, n_steps - 1
    if step <= peak:
        return _along_cosine(maximum * _ONE_CYCLE_START, maximum, step / peak)
    return _along_cosine(maximum, minimum, min((step - peak) / (last - peak), 1.0))


def _along_cosine(first: float, last: float, progress: float) -> float:
    return first + 0.5 * (last - first) * (1 - math.cos(math.pi * progress))
