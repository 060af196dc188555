"""Lightning modules that train reconstruction networks on pairs of an input and a target image."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import lightning
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch.nn.functional import l1_loss

from snnfer.models.patchgan import PatchDiscriminator
from snnfer.training.augmentation import random_flip
from snnfer.training.checkpoint import normalise
from snnfer.training.config import ReconstructionConfig
from snnfer.training.losses import discriminator_loss, generator_loss, negative_elbo
from snnfer.training.trainer import seed_step

Pairs = tuple[torch.Tensor, torch.Tensor]  # input [N, C, H, W] raw, target [N, C_out, H, W] uint8
Part = tuple[torch.Tensor, torch.Tensor, float]  # input and target [1, N, C, H, W], share of the batch


class ReconstructionModule(lightning.LightningModule):
    """What the training of all reconstruction networks has in common; subclasses say what a step does.

    A batch of the loader holds ``batch_size * accumulate`` pairs. It is worked through in parts of ``batch_size`` whose
    gradients add up to those of the whole. Random numbers depend on `seed` and the number of the step alone.

    Args:
        model: The reconstruction network.
        config: Recipe.
        mean, std: Normalisation of the input per channel.
        seed: Of dropout, sampling and augmentation.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        config: ReconstructionConfig,
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        seed: int,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model, self.config = model, config
        self.mean, self.std, self.seed = mean, std, seed

    def training_step(self, batch: Pairs, batch_index: int) -> None:
        self._step = self.global_step
        self._seed_part(0)
        x, y = random_flip(batch[0][None], batch[1][None], probability=self.config.flip)  # [1, N, C, H, W]
        x, y = normalise(x, self.mean, self.std), self._target(y.float())
        n, size = x.shape[1], self.config.batch_size
        spans = [slice(start, min(start + size, n)) for start in range(0, n, size)]
        loss = self._train_on([(x[:, span], y[:, span], (span.stop - span.start) / n) for span in spans])
        self.log("train_loss", loss, batch_size=n, on_step=False, on_epoch=True, sync_dist=True)

    def _target(self, y: torch.Tensor) -> torch.Tensor:
        """Target in the range that the network's output has, from values 0 to 255."""
        raise NotImplementedError

    def _train_on(self, parts: Sequence[Part]) -> torch.Tensor:
        """Make one step of each optimiser and return the loss of the reconstruction network."""
        raise NotImplementedError

    def _adam(self, network: torch.nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(network.parameters(), lr=self.config.learning_rate, betas=self.config.betas)

    def _seed_part(self, part: int) -> None:
        seed_step(self.seed, self._step * self.config.accumulate + part)

    def _backward(self, loss: torch.Tensor) -> torch.Tensor:
        self.manual_backward(loss)
        return loss.detach()

    @contextmanager
    def _updating(self, optimizer: LightningOptimizer) -> Iterator[None]:
        """Gradients of one optimiser's network alone, and its step at the end."""
        self.toggle_optimizer(optimizer)
        optimizer.zero_grad()
        yield
        optimizer.step()
        self.untoggle_optimizer(optimizer)


class AdversarialModule(ReconstructionModule):
    """Trains a generator with output in [-1, 1] on the L1 distance and, if wanted, against a patch discriminator.

    Each step first trains the discriminator on real pairs and generated ones, then the generator against it.
    """

    def __init__(self, model: torch.nn.Module, config: ReconstructionConfig, *, n_channels: int, **options) -> None:
        super().__init__(model, config, **options)
        self.discriminator = (
            PatchDiscriminator(n_channels, width=config.discriminator_width, n_layers=config.discriminator_layers)
            if config.adversarial
            else None
        )

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return [self._adam(network) for network in (self.model, self.discriminator) if network is not None]

    def _target(self, y: torch.Tensor) -> torch.Tensor:
        return y / 127.5 - 1

    def _train_on(self, parts: Sequence[Part]) -> torch.Tensor:
        # the output of a whole batch serves both networks; parts are generated twice, to hold one graph at a time
        outputs = list(self._generate(parts)) if len(parts) == 1 else None
        optimizers = self.optimizers()
        generator, *others = optimizers if isinstance(optimizers, list) else [optimizers]
        for discriminator in others:
            with self._updating(discriminator):
                for (x, y, share), output in zip(parts, outputs or self._generate(parts), strict=True):
                    self._backward(share * discriminator_loss(self._judge(x, y), self._judge(x, output.detach())))
        with self._updating(generator):
            pairs = zip(parts, outputs or self._generate(parts), strict=True)
            losses = [self._backward(share * self._generator_loss(x, y, output)) for (x, y, share), output in pairs]
        return torch.stack(losses).sum()

    def _generate(self, parts: Sequence[Part]) -> Iterator[torch.Tensor]:
        for number, (x, _, _) in enumerate(parts):
            self._seed_part(number)
            yield self.model(x)

    def _generator_loss(self, x: torch.Tensor, y: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        if self.discriminator is None:
            return self.config.l1_weight * l1_loss(output, y)
        return generator_loss(self._judge(x, output), output, y, l1_weight=self.config.l1_weight)

    def _judge(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Logits of the discriminator for pairs of images ``[1, N, C, H, W]``."""
        assert self.discriminator is not None
        return self.discriminator(x[0], y[0])


class VariationalModule(ReconstructionModule):
    """Trains a conditional variational autoencoder, with output in [0, 1], on its evidence lower bound."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self._adam(self.model)

    def _target(self, y: torch.Tensor) -> torch.Tensor:
        return y / 255

    def _train_on(self, parts: Sequence[Part]) -> torch.Tensor:
        losses = []
        with self._updating(self.optimizers()):  # type: ignore[arg-type]
            for number, (x, y, share) in enumerate(parts):
                self._seed_part(number)
                output, mu, log_variance = self.model.forward_training(x, y)  # type: ignore[operator]
                loss = negative_elbo(output, y, mu, log_variance, kl_weight=self.config.kl_weight)
                losses.append(self._backward(share * loss))
        return torch.stack(losses).sum()
