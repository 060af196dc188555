"""What the classifiers of windows need to know of an encoder."""

from typing import Any

from torch import nn


class Encoder(nn.Module):
    """A network from ``[B, C, H, W]`` to ``[B, n_features]``.

    Attributes:
        config: Its arguments, among them `in_channels` and `size`; encoders of equal `config` can exchange weights.
        n_features: Length of the feature vector.
    """

    config: dict[str, Any]
    n_features: int
