"""The spiking network for action units of Mastropasqua et al."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from snnfer.errors import ShapeError
from snnfer.layers import SpikingConv2d, SpikingLinear, SpikingSequential, TimeConstantDropout, VotingLayer
from snnfer.models._input import check_lengths, check_video, time_mean
from snnfer.models._registry import register_model
from snnfer.neurons import PLIF


class AUSNN(nn.Module):
    """Two spiking convolutions, two spiking fully connected layers, voting; built by `au_snn`, which says more."""

    config: dict[str, Any]

    def __init__(self, layers: SpikingSequential, *, in_channels: int, size: Sequence[int]) -> None:
        super().__init__()
        self.layers = layers
        self.in_channels = in_channels
        self.size = tuple(size)

    def forward(self, x: torch.Tensor, *, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Mean votes ``[N, n_classes]`` of the input ``[T, N, C, H, W]`` over the valid steps, from rest.

        Args:
            x: Event counts ``[T, N, C, H, W]``, any dtype.
            lengths: Valid steps of each sample ``[N]``; all where None.
        """
        votes = self.forward_steps(x)
        return time_mean(votes, check_lengths(lengths, x))

    def forward_steps(self, x: torch.Tensor) -> torch.Tensor:
        """Votes of each step ``[T, N, n_classes]``, from rest."""
        return self.forward_with_state(x)[0]

    def forward_with_state(self, x: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        """Votes of each step ``[T, N, n_classes]`` and the state after the last one.

        In evaluation mode any cut of a sequence into chunks gives the same bits.
        """
        dtype = next(self.parameters()).dtype
        x = check_video(x, in_channels=self.in_channels, size=self.size, dtype=dtype)
        return self.layers.forward_with_state(x, state)


@register_model
def au_snn(
    *,
    n_classes: int = 21,
    in_channels: int = 2,
    size: Sequence[int] = (64, 64),
    channels: int = 32,
    hidden: int = 512,
    votes: int = 10,
    dropout: float = 0.2,
    init_tau: float = 2.0,
    bias: bool = True,
) -> AUSNN:
    r"""Spiking network that reads action units from event counts.

    Twice (convolution 3 x 3 without bias, batch normalisation, PLIF, max pooling 2 x 2), then dropout (one mask for all
    steps), fully connected, PLIF, dropout, fully connected, PLIF, and a vote of `votes` neurons per class. The output
    is the mean vote over time.

    Args:
        n_classes: Number of classes.
        in_channels: Channels of the input: 2 event polarities, or 1 or 3 image channels.
        size: Height and width of the input, in pixels, at least 4 x 4.
        channels: Channels of both convolutions.
        hidden: Neurons of the first fully connected layer.
        votes: Neurons per class in the last layer.
        dropout: Dropout probability before the fully connected layers.
        init_tau: Initial membrane time constant of every PLIF layer, in time steps, > 1.
        bias: Whether the fully connected layers have a bias. The paper does not say; with it the network has 4,312,470
            parameters (4.113 * 2**20), without it 4,311,748 (4.112 * 2**20), and the paper prints 4.11 M.

    Shape:
        - Input: :math:`(T, N, C, H, W)`, event counts per time bin (33 ms in the paper).
        - Output: :math:`(N, n_\text{classes})`, mean votes in [0, 1].

    Raises:
        ShapeError: the input, or `size`, does not fit.

    References:
        Mastropasqua et al., "Exploring Spatial-Temporal Dynamics in Event-based Facial Micro-Expression Analysis",
        eq. (3) and figure 3.

    Examples:
        >>> model = au_snn(n_classes=21, size=(16, 16)).eval()
        >>> frames = torch.poisson(torch.rand(10, 1, 2, 16, 16))
        >>> model(frames).shape
        torch.Size([1, 21])
        >>> votes, state = model.forward_with_state(frames[:5])  # streaming: any chunk length
        >>> votes, state = model.forward_with_state(frames[5:], state)
    """
    height, width = size
    if height < 4 or width < 4:
        raise ShapeError(f"size = {tuple(size)}", expected="at least 4 x 4 pixels, because the network halves it twice")
    features = channels * (height // 4) * (width // 4)
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=SpikingConv2d(in_channels, channels, neuron=PLIF(init_tau=init_tau)),
        conv2=SpikingConv2d(channels, channels, neuron=PLIF(init_tau=init_tau)),
        flatten=nn.Flatten(2),
        dropout1=TimeConstantDropout(dropout),
        fc1=SpikingLinear(features, hidden, bias=bias, neuron=PLIF(init_tau=init_tau)),
        dropout2=TimeConstantDropout(dropout),
        fc2=SpikingLinear(hidden, n_classes * votes, bias=bias, neuron=PLIF(init_tau=init_tau)),
        voting=VotingLayer(votes),
    )
    return AUSNN(SpikingSequential(layers), in_channels=in_channels, size=size)
