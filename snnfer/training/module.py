"""The Lightning module that trains a clip classifier."""

import math

import lightning
import torch
from torch.nn import functional

from snnfer.training.checkpoint import normalise
from snnfer.training.config import TrainConfig

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class ClipClassifier(lightning.LightningModule):
    """Trains a model that maps ``[T, N, C, H, W]`` to class scores ``[N, K]``.

    The random numbers of each step depend on `seed` and the number of the step alone, so that a run that was
    interrupted and resumed ends with the same weights as one that was not.

    Args:
        model: Called as ``model(x, lengths=lengths)``.
        config: Recipe.
        n_classes: Number of classes K.
        mean, std: Input normalisation per channel, from training subjects.
        seed: Of shuffling, dropout and augmentation.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        config: TrainConfig,
        *,
        n_classes: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        seed: int,
    ) -> None:
        super().__init__()
        self.model, self.config, self.n_classes = model, config, n_classes
        self.mean, self.std, self.seed = mean, std, seed

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Scores ``[N, K]`` of raw input ``[T, N, C, H, W]``."""
        return self.model(normalise(x, self.mean, self.std), lengths=lengths)

    def on_train_epoch_start(self) -> None:
        """Set this epoch's learning rate."""
        rate = learning_rate(self.config, self.current_epoch)
        for group in self.optimizers().param_groups:  # type: ignore[union-attr]
            group["lr"] = rate

    def training_step(self, batch: Batch, batch_index: int) -> torch.Tensor:
        torch.manual_seed(derived_seed(self.seed, self.global_step))
        x, labels, lengths = batch
        loss = self._loss(self(self._augment(x), lengths), labels)
        self.log("train_loss", loss, batch_size=len(labels), on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        x, labels, lengths = batch
        self.log("validation_loss", self._loss(self(x, lengths), labels), batch_size=len(labels))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        config = self.config
        return torch.optim.Adam(self.model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)

    def _loss(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if self.config.loss == "cross_entropy":
            return functional.cross_entropy(scores, labels)
        return functional.mse_loss(scores, functional.one_hot(labels, self.n_classes).to(scores.dtype))

    def _augment(self, x: torch.Tensor) -> torch.Tensor:
        return random_shift(x, max_px=self.config.max_shift_px, max_steps=self.config.max_shift_steps)


def learning_rate(config: TrainConfig, epoch: int) -> float:
    """Learning rate of an epoch: cosine annealing from ``learning_rate`` to 0, or constant.

    Examples:
        >>> [round(learning_rate(TrainConfig(epochs=4, learning_rate=1.0), e), 3) for e in range(4)]
        [1.0, 0.854, 0.5, 0.146]
    """
    if config.schedule == "constant":
        return config.learning_rate
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * epoch / config.epochs))


def derived_seed(seed: int, number: int) -> int:
    """Seed of one epoch or step of a run; a large odd stride keeps runs with neighbouring seeds apart."""
    return (seed * 1_000_003 + number) % 2**63


def random_shift(x: torch.Tensor, *, max_px: int, max_steps: int) -> torch.Tensor:
    """Shift each clip of ``[T, N, C, H, W]`` by up to `max_px` pixels and `max_steps` steps; zeros move in."""
    if not max_px and not max_steps:
        return x
    out = torch.zeros_like(x)
    limits = (max_steps, max_px, max_px)
    for n in range(x.shape[1]):
        shifts = [int(torch.randint(-limit, limit + 1, ())) for limit in limits]
        (t_to, t_from), (y_to, y_from), (x_to, x_from) = (
            (slice(max(s, 0), size + min(s, 0)), slice(max(-s, 0), size + min(-s, 0)))
            for s, size in zip(shifts, (x.shape[0], *x.shape[3:]), strict=True)
        )
        out[t_to, n, :, y_to, x_to] = x[t_from, n, :, y_from, x_from]
    return out
