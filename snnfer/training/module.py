"""The Lightning module that trains a clip classifier."""

from collections.abc import Callable
from functools import partial
from typing import Any

import lightning
import torch
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from snnfer.converters.loihi.fake_quantise import FakeQuantiser
from snnfer.errors import ConfigError
from snnfer.training.augmentation import random_erasing, random_flip, random_rotation, random_shift
from snnfer.training.centers import CenterBank
from snnfer.training.checkpoint import normalise
from snnfer.training.color import random_color
from snnfer.training.config import TrainConfig
from snnfer.training.details import needs_details
from snnfer.training.losses import cross_entropy, vich_kl
from snnfer.training.optimizers import make_optimizer, sharpness_aware
from snnfer.training.schedules import learning_rate, one_cycle_rate
from snnfer.training.trainer import seed_step

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class ClipClassifier(lightning.LightningModule):
    """Trains a model that maps ``[T, N, C, H, W]`` to class scores ``[N, K]``.

    The random numbers of each step depend on `seed` and the number of the step alone, so that a run that was
    interrupted and resumed ends with the same weights as one that was not.

    Args:
        model: Called as ``model(x, lengths=lengths)``; its part `encoder`, if it has one, may learn at another rate.
        config: Recipe.
        n_classes: Number of classes K.
        mean, std: Input normalisation per channel, from training subjects.
        seed: Of shuffling, dropout and augmentation.
        class_weights: Of the cross-entropy, see `snnfer.training.losses.class_weights`.
        centers: Of the classes, where the recipe has a centre or island loss; `model` then has
            ``forward_with_details``, as it has where the recipe has a divergence.

    Raises:
        ConfigError: the recipe names an encoder that `model` does not have.
        ConversionError, ExportError: the recipe quantises a network that no chip can have.
    """

    class_weights: torch.Tensor | None

    def __init__(
        self,
        model: torch.nn.Module,
        config: TrainConfig,
        *,
        n_classes: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        seed: int,
        class_weights: torch.Tensor | None = None,
        centers: CenterBank | None = None,
    ) -> None:
        super().__init__()
        self.model, self.config, self.n_classes = model, config, n_classes
        self.mean, self.std, self.seed = mean, std, seed
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.centers = centers
        self._first_pass = True
        self._encoder = find_encoder(model, config)
        self._quantiser = None if config.quantize == "none" else FakeQuantiser(model)
        if config.encoder_learning_rate == 0:
            self._encoder.requires_grad_(False)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Scores ``[N, K]`` of raw input ``[T, N, C, H, W]``."""
        network = self._quantiser if self._quantiser and self._is_quantised() else self.model
        return network(normalise(x, self.mean, self.std), lengths=lengths)

    def on_train_epoch_start(self) -> None:
        """Set this epoch's learning rates, and keep frozen normalisation out of training mode."""
        if self.config.schedule != "onecycle":
            self._set_rates(lambda start: learning_rate(self.config, self.current_epoch, start=start))
        frozen = self._encoder if self.config.freeze_norm else torch.nn.Module()
        for part in (self.model if self._is_quantised() else frozen).modules():
            if isinstance(part, _BatchNorm):
                part.eval()

    def on_train_batch_start(self, batch: Batch, batch_index: int) -> None:
        """Set this step's learning rates, where they change within an epoch."""
        if self.config.schedule == "onecycle":
            n_steps, minimum = int(self.trainer.estimated_stepping_batches), self.config.min_learning_rate
            self._set_rates(
                lambda start: one_cycle_rate(self.global_step, n_steps=n_steps, maximum=start, minimum=minimum)
            )

    def training_step(self, batch: Batch, batch_index: int) -> torch.Tensor:
        accumulate = self.config.accumulate
        seed_step(self.seed, self.global_step * accumulate + batch_index % accumulate)
        x, labels, lengths = batch
        share = 1.0 if accumulate == 1 else self._share(len(labels), batch_index)
        scores, details = self._scores(self._augment(x), lengths)
        terms = {"train_loss": self._loss(scores, labels)} | self._terms(scores, details, labels)
        loss = terms["train_loss"] = sum(terms.values(), start=torch.zeros((), device=x.device))
        if self._first_pass:
            self.log_dict(terms, batch_size=len(labels), on_step=False, on_epoch=True, sync_dist=True)
            if self.centers is not None:
                self.centers.collect(details["embedding"], labels, share=share / accumulate)
        return loss if accumulate == 1 else loss * share

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Any,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Make a step of the network, sharpness-aware if the recipe says so, then of the class centres."""
        if self.config.sam_rho and optimizer_closure:
            optimizer_closure = partial(self._two_passes, optimizer, optimizer_closure)
        optimizer.step(closure=optimizer_closure)
        self._first_pass = True
        if self.centers is not None:
            self.centers.step(partial(self.trainer.strategy.reduce, reduce_op="mean"))

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        x, labels, lengths = batch
        self.log("validation_loss", self._loss(self(x, lengths), labels), batch_size=len(labels))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        config = self.config
        groups: list[dict[str, Any]] = [{"params": list(self.model.parameters())}]
        if config.encoder_learning_rate is not None:
            own = {id(parameter) for parameter in self._encoder.parameters()}
            groups[0]["params"] = [p for p in self.model.parameters() if id(p) not in own]
        if config.encoder_learning_rate:
            groups.append({"params": list(self._encoder.parameters()), "lr": config.encoder_learning_rate})
        return make_optimizer(groups, config)

    def _is_quantised(self) -> bool:
        """Whether to compute with integers: where the recipe does so, and always to choose among epochs."""
        recipe = self.config
        return recipe.quantize != "none" and (not self.training or self.current_epoch >= recipe.first_quantized_epoch)

    def _two_passes(self, optimizer: Any, closure: Callable[[], Any]) -> Any:
        def one_pass() -> Any:
            loss = closure()
            self._first_pass = False
            return loss

        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        return sharpness_aware(one_pass, parameters, rho=self.config.sam_rho, buffers=list(self.model.buffers()))

    def _set_rates(self, rate: Callable[[float], float]) -> None:
        """Set the rate of each group of parameters to `rate` of the one that the recipe gives it."""
        starts = (self.config.learning_rate, self.config.encoder_learning_rate or 0.0)
        for group, start in zip(self.optimizers().param_groups, starts, strict=False):  # type: ignore[union-attr]
            group["lr"] = rate(start)

    def _scores(self, x: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Scores of raw input, and what else the recipe needs."""
        if not needs_details(self.config):
            return self(x, lengths), {}
        return self.model.forward_with_details(normalise(x, self.mean, self.std), lengths=lengths)  # type: ignore[operator]

    def _terms(
        self, scores: torch.Tensor, details: dict[str, torch.Tensor], labels: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """What the recipe adds to the loss of the scores, weighted."""
        terms, config = {}, self.config
        if config.kl != "none":
            divergence = vich_kl(scores, details["mu"], details["log_variance"], config.kl)
            terms["train_kl"] = config.kl_weight * divergence
        if self.centers is not None:
            terms["train_center"], terms["train_island"] = self.centers(details["embedding"], labels)
        return terms

    def _loss(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        scores = scores.float()
        if self.config.loss == "cross_entropy":
            return cross_entropy(scores, labels, self.class_weights, label_smoothing=self.config.label_smoothing)
        return functional.mse_loss(scores, functional.one_hot(labels, self.n_classes).to(scores.dtype))

    def _augment(self, x: torch.Tensor) -> torch.Tensor:
        config = self.config
        x = random_shift(x, max_px=config.max_shift_px, max_steps=config.max_shift_steps)
        (x,) = random_flip(x, probability=config.flip)
        x = random_rotation(x, max_deg=config.rotation_deg)
        x = random_color(x, amount=config.color_jitter, hue=config.hue_jitter)
        return random_erasing(x, probability=config.erasing, scale=config.erasing_scale, fill=self.mean)

    def _share(self, n: int, batch_index: int) -> float:
        """What Lightning's mean over `accumulate` batches lacks to the mean over their samples (the last are fewer)."""
        size = self.config.batch_size * self.config.accumulate
        start = batch_index // self.config.accumulate * size
        total = min(size, len(self.trainer.train_dataloader.sampler) - start)  # type: ignore[union-attr]
        return self.config.accumulate * n / total


def find_encoder(model: torch.nn.Module, config: TrainConfig) -> torch.nn.Module:
    """``model.encoder``, or an empty module if it has none and the recipe does not need it."""
    encoder = getattr(model, "encoder", None)
    if isinstance(encoder, torch.nn.Module):
        return encoder
    if config.encoder_learning_rate is not None or config.freeze_norm:
        setting = "freeze_norm" if config.freeze_norm else "encoder_learning_rate"
        raise ConfigError(
            f"train.{setting} is set for a model without an encoder ({type(model).__name__})",
            expected="a model such as evtransfer",
            fix=f"leave train.{setting} out",
        )
    return torch.nn.Module()
