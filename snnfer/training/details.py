"""What a recipe needs of a network beside its scores."""

from typing import Any

import torch

from snnfer.errors import ConfigError
from snnfer.training.checkpoint import normalise
from snnfer.training.config import TrainConfig


def needs_details(config: TrainConfig) -> bool:
    """Whether a term of the loss needs more than scores."""
    return bool(_needed(config))


def probe_details(
    model: torch.nn.Module,
    config: TrainConfig,
    item: tuple[torch.Tensor, int, int],
    *,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> dict[str, torch.Tensor]:
    """What `model` gives beside its scores for one clip; nothing is asked of it where the recipe needs nothing.

    Args:
        model: A network; a recipe with such a term needs one with ``forward_with_details(x, lengths=lengths)``, which
            returns scores ``[N, K]`` and named tensors ``[N, ...]``.
        config: Recipe.
        item: ``(x, label, length)`` of a clip ``[T, C, H, W]``.
        mean, std: Input normalisation.

    Raises:
        ConfigError: the recipe needs what the network does not give.
    """
    needed = _needed(config)
    if not needed:
        return {}
    details = _details(model, normalise(item[0][:, None], mean, std), torch.tensor([item[2]]))
    for setting, names in needed.items():
        if not set(names) <= set(details):
            given = " and ".join(f"'{name}'" for name in details)
            raise ConfigError(
                f"train.{setting} = {getattr(config, setting)} for the model {_name_of(model)}, which gives "
                + (f"{given} beside its scores" if details else "nothing but scores"),
                expected="a model that gives " + " and ".join(f"'{name}'" for name in names),
                fix=f"leave train.{setting} out, or train {_MODELS[setting]}",
            )
    return details


def _name_of(model: torch.nn.Module) -> str:
    """The name that the user typed, where there is one."""
    config = getattr(model, "config", None)
    return config["name"] if isinstance(config, dict) and "name" in config else type(model).__name__


_MODELS = {"kl": "poster_var", "center_weight": "rgbd_fer", "island_weight": "rgbd_fer"}


def _needed(config: TrainConfig) -> dict[str, tuple[str, ...]]:
    """Names of tensors by the setting that needs them."""
    needed: dict[str, tuple[str, ...]] = {}
    if config.kl != "none":
        needed["kl"] = ("mu", "log_variance")
    return needed | {name: ("embedding",) for name in ("center_weight", "island_weight") if getattr(config, name)}


@torch.no_grad()
def _details(model: Any, x: torch.Tensor, lengths: torch.Tensor) -> dict[str, torch.Tensor]:
    if not hasattr(model, "forward_with_details"):
        return {}
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        return model.forward_with_details(x, lengths=lengths)[1]
    finally:
        for module, training in modes:
            module.training = training
