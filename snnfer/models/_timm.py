"""Image networks of timm as encoders of windows."""

from collections.abc import Sequence
from typing import Any

import torch

from snnfer._check import check_positive
from snnfer._optional import require
from snnfer.errors import CheckpointError, ConfigError
from snnfer.models._encoder import Encoder


class TimmEncoder(Encoder):
    """Pooled features ``[B, n_features]`` of a network of timm.

    Args:
        backbone: Name in timm.
        in_channels: Channels of the input.
        size: Height and width of the input, in pixels.
        pretrained: Whether to download the weights that timm has for ImageNet.
        **kwargs: Further arguments of the network.

    Raises:
        MissingExtraError: timm is not installed.
        CheckpointError: the pretrained weights cannot be downloaded, or do not fit.
    """

    def __init__(
        self, backbone: str, *, in_channels: int, size: Sequence[int], pretrained: bool, **kwargs: Any
    ) -> None:
        super().__init__()
        check_positive(in_channels, name="in_channels", unit="channels")
        shape = {key: list(value) if isinstance(value, tuple) else value for key, value in kwargs.items()}
        self.config = {"backbone": backbone, "in_channels": in_channels, "size": list(size), **shape}
        self.network = create_network(backbone, pretrained=pretrained, in_chans=in_channels, num_classes=0, **kwargs)
        self.n_features: int = self.network.num_features  # type: ignore[assignment]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x)


def create_network(backbone: str, *, pretrained: bool, **kwargs: Any) -> torch.nn.Module:
    """A network of timm.

    Raises:
        MissingExtraError: timm is not installed.
        ConfigError: timm has no network of this name.
        CheckpointError: the pretrained weights cannot be downloaded, or do not fit.
    """
    timm = require("timm", extra="baselines")
    if not timm.is_model(backbone):
        raise ConfigError(
            f"backbone = '{backbone}'", expected="the name of a network of timm", fix="see timm.list_models('*net*')"
        )
    if not pretrained:
        return timm.create_model(backbone, **kwargs)
    try:
        return timm.create_model(backbone, pretrained=True, **kwargs)
    except Exception as error:  # of the network, of the hub, or of weights that do not fit: no common class
        detail = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"no pretrained weights for timm's '{backbone}'",
            cause=f"no connection to the Hugging Face Hub, or changed layers ({detail})",
            fix="pass pretrained=False, or run once with a connection, which keeps them on this machine",
        ) from error
