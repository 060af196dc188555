"""Training one reconstruction network on pairs of events and frames, and what it makes of others."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Subset

from snnfer.datasets.windows import WindowPairs
from snnfer.errors import ConfigError
from snnfer.models import create_model, list_models
from snnfer.models._registry import model_task
from snnfer.training.checkpoint import TrainedModel
from snnfer.training.config import ReconstructionConfig
from snnfer.training.reconstruction_module import AdversarialModule, ReconstructionModule, VariationalModule
from snnfer.training.trainer import OnEpoch, SeededSampler, run_trainer


def train_reconstruction(
    pairs: WindowPairs,
    *,
    model: str,
    model_args: Mapping[str, Any],
    train: Sequence[int],
    config: ReconstructionConfig,
    seed: int,
    checkpoint_dir: str | os.PathLike[str],
    on_epoch: OnEpoch | None = None,
    record: Mapping[str, Any] | None = None,
) -> TrainedModel:
    r"""Initialise and train a reconstruction network; nothing but the pairs at `train` is looked at.

    A generator (``pix2pix``) sees input and target in [-1, 1] and minimises, with a patch discriminator D that is
    trained in turn,

    .. math:: L_G = \mathrm{BCE}(D(x, G(x)), 1) + \lambda\,|G(x) - y|_1, \quad
        L_D = \tfrac12[\mathrm{BCE}(D(x, y), 1) + \mathrm{BCE}(D(x, G(x)), 0)].

    A model with ``forward_training`` (``cvae``) sees targets in [0, 1] and maximises its evidence lower bound.

    Args:
        pairs: Windows of events with their frames.
        model: Name, one of ``list_models(task="reconstruction")``.
        model_args: Passed to `snnfer.create_model` beside the numbers of channels and the input size.
        train: Indices into `pairs`.
        config: Recipe.
        seed: Of initialisation and everything random in training.
        checkpoint_dir: Training goes on from the checkpoint in it, if there is one; the caller removes it when the
            result is safe.
        on_epoch: Called after each epoch with the number of completed epochs and the mean loss of the network.
        record: Kept in the model folder for people to read.

    Returns:
        The network, without its discriminator; it has no classes.

    Raises:
        CheckpointError: the checkpoint is damaged or belongs to another network.
        ConfigError: there is nothing to train on, or `model` does not reconstruct.
        SnnferError: the loss is no longer a number.

    References:
        Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017, section 3.
    """
    check_reconstructs(model)
    if not train:
        raise ConfigError("no pair to train on", cause="every subject is held out", fix="hold out fewer subjects")
    mean, std = _normalisation(pairs)
    in_channels, out_channels = pairs.input.n_channels, pairs.n_target_channels
    torch.manual_seed(seed)
    network = create_model(
        model, in_channels=in_channels, out_channels=out_channels, size=pairs.input.size, **model_args
    )
    options = {"mean": mean, "std": std, "seed": seed}
    module: ReconstructionModule
    if hasattr(network, "forward_training"):
        module = VariationalModule(network, config, **options)
    else:
        module = AdversarialModule(network, config, n_channels=in_channels + out_channels, **options)
    loader = DataLoader(
        Subset(pairs, list(train)),
        batch_size=config.batch_size * config.accumulate,
        sampler=SeededSampler(len(train), seed=seed),
    )
    run_trainer(module, loader, config=config, folder=Path(checkpoint_dir), on_epoch=on_epoch)
    training = {"n_pairs": len(train), "seed": seed, **(record or {})}
    return TrainedModel(module.model.cpu().eval(), pairs.input, (), mean, std, training)


@torch.no_grad()
def reconstruct_pairs(
    trained: TrainedModel, pairs: WindowPairs, indices: Sequence[int], batch_size: int = 8
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Reconstructions of the pairs at `indices` beside their targets.

    Args:
        trained: A reconstruction network; moved to the GPU, where there is one, and back.
        pairs: Windows of events with their frames.
        indices: Which pairs, in this order.
        batch_size: Pairs per call; the images do not depend on it.

    Yields:
        Prediction and target of the next pairs, each ``[n, C, H, W]`` in [0, 1].
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = trained.model.to(device).eval()
    try:
        for x, y in DataLoader(Subset(pairs, list(indices)), batch_size=batch_size):
            prediction = model.reconstruct(trained.normalise(x[None].to(device)))[0]  # type: ignore[operator]
            yield prediction.float().cpu(), y.float() / 255
    finally:
        model.cpu()


def check_reconstructs(model: str) -> None:
    """Raise `ConfigError` unless the registered `model` is a reconstruction network."""
    if model_task(model) != "reconstruction":
        raise ConfigError(
            f"the model '{model}' classifies", expected="one of " + ", ".join(list_models(task="reconstruction"))
        )


def _normalisation(pairs: WindowPairs) -> tuple[tuple[float, ...], tuple[float, ...]]:
    fixed = pairs.input.normalisation
    if fixed is None:
        raise ConfigError(
            f"the input of the pairs is '{pairs.input.modality}'",
            expected="a representation of events",
            fix="pass the events first and the frames second",
        )
    return fixed
