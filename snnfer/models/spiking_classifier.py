"""Any chain of spiking layers as a classifier of clips."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from snnfer.layers import SpikingSequential
from snnfer.models._input import check_lengths, check_video, time_mean


class SpikingClassifier(nn.Module):
    r"""A chain of layers whose output, averaged over the valid steps of a clip, is the score of each class.

    .. math::
        y_n = \frac{1}{T_n} \sum_{t = 0}^{T_n - 1} \text{layers}(x)_{t, n}

    It is what `au_snn` returns, and what turns your own layers into a model: return one from a function with
    `register_model`, and training, benchmarks and the command line know it by its name.

    Args:
        layers: Chain from ``[T, N, C, H, W]`` to ``[T, N, n_classes]``, as many steps as it is given.
        in_channels: Channels C of the input.
        size: Height and width of the input, in pixels.

    Shape:
        - Input: :math:`(T, N, C, H, W)`, any dtype.
        - Output: :math:`(N, n_\text{classes})`.

    Raises:
        ShapeError: the input does not fit.

    References:
        Fang et al., "Incorporating Learnable Membrane Time Constant to Enhance Learning of Spiking Neural Networks",
        ICCV 2021 (the firing rate of the output layer decides).

    Examples:
        >>> from snnfer.layers import SpikingConv2d, SpikingLinear, VotingLayer
        >>> chain = SpikingSequential(SpikingConv2d(2, 8), nn.Flatten(2), SpikingLinear(8 * 8 * 8, 30), VotingLayer(10))
        >>> model = SpikingClassifier(chain, in_channels=2, size=(16, 16)).eval()
        >>> frames = torch.poisson(torch.rand(10, 1, 2, 16, 16))
        >>> model(frames, lengths=torch.tensor([7])).shape
        torch.Size([1, 3])
        >>> votes, state = model.forward_with_state(frames[:5])  # streaming: any chunk length
        >>> votes, state = model.forward_with_state(frames[5:], state)
    """

    config: dict[str, Any]

    def __init__(self, layers: SpikingSequential, *, in_channels: int, size: Sequence[int]) -> None:
        super().__init__()
        self.layers = layers
        self.in_channels = in_channels
        self.size = tuple(size)

    def forward(self, x: torch.Tensor, *, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Mean scores ``[N, n_classes]`` of the input ``[T, N, C, H, W]`` over the valid steps, from rest.

        Args:
            x: Clips ``[T, N, C, H, W]``, any dtype.
            lengths: Valid steps of each sample ``[N]``; all where None.
        """
        return time_mean(self.forward_steps(x), check_lengths(lengths, x))

    def forward_steps(self, x: torch.Tensor) -> torch.Tensor:
        """Scores of each step ``[T, N, n_classes]``, from rest."""
        return self.forward_with_state(x)[0]

    def forward_with_state(self, x: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        """Scores of each step ``[T, N, n_classes]`` and the state after the last one.

        In evaluation mode any cut of a sequence into chunks gives the same bits.
        """
        dtype = next(self.parameters()).dtype
        x = check_video(x, in_channels=self.in_channels, size=self.size, dtype=dtype)
        return self.layers.forward_with_state(x, state)
