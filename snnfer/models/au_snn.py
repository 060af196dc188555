"""The spiking network for action units of Mastropasqua et al."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

from torch import nn

from snnfer._check import check_choice, check_positive
from snnfer.errors import ShapeError
from snnfer.layers import SpikingConv2d, SpikingLinear, SpikingSequential, TimeConstantDropout, VotingLayer
from snnfer.models._reads import CLIPS
from snnfer.models._registry import register_model
from snnfer.models.spiking_classifier import SpikingClassifier
from snnfer.neurons import PLIF


@register_model(reads=CLIPS)
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
    blocks: int = 2,
    downsampling: Literal["max_pool", "stride"] = "max_pool",
) -> SpikingClassifier:
    r"""Spiking network that reads action units from event counts.

    Twice (convolution 3 x 3 without bias, batch normalisation, PLIF, max pooling 2 x 2), then dropout (one mask for all
    steps), fully connected, PLIF, dropout, fully connected, PLIF, and a vote of `votes` neurons per class. The output
    is the mean vote over time.

    At 64 x 64 pixels the published network does not fit Loihi: a neuron behind the flattening has 8192 inputs, a core
    takes 4096. With ``channels=16`` there are 4096, with ``blocks=3`` 2048; ``downsampling="stride"`` spares the
    neurons that a pooling drops, three of four, and those that pool. See ``docs/loihi.md``.

    Args:
        n_classes: Number of classes.
        in_channels: Channels of the input: 2 event polarities, or 1 or 3 image channels.
        size: Height and width of the input, in pixels, at least 4 x 4 (for 2 blocks).
        channels: Channels of all convolutions.
        hidden: Neurons of the first fully connected layer.
        votes: Neurons per class in the last layer.
        dropout: Dropout probability before the fully connected layers.
        init_tau: Initial membrane time constant of every PLIF layer, in time steps, > 1.
        bias: Whether the fully connected layers have a bias. The paper does not say; with it the network has 4,312,470
            parameters (4.113 * 2**20), without it 4,311,748 (4.112 * 2**20), and the paper prints 4.11 M.
        blocks: Number of (convolution, batch normalisation, PLIF), each of which halves the maps; 2 in the paper.
        downsampling: What halves them: the published ``max_pool`` (which rounds down), or ``stride`` 2 of the
            convolution (which rounds up) and no pooling.

    Shape:
        - Input: :math:`(T, N, C, H, W)`, event counts per time bin (33 ms in the paper).
        - Output: :math:`(N, n_\text{classes})`, mean votes in [0, 1].

    Raises:
        ShapeError: the input, or `size`, does not fit.
        SnnferError: `blocks` is not above zero, or `downsampling` is something else.

    References:
        Mastropasqua et al., "Exploring Spatial-Temporal Dynamics in Event-based Facial Micro-Expression Analysis",
        eq. (3) and figure 3.

    Examples:
        >>> import torch
        >>> model = au_snn(n_classes=21, size=(16, 16)).eval()
        >>> frames = torch.poisson(torch.rand(10, 1, 2, 16, 16))
        >>> model(frames).shape
        torch.Size([1, 21])
        >>> votes, state = model.forward_with_state(frames[:5])  # streaming: any chunk length
        >>> votes, state = model.forward_with_state(frames[5:], state)
    """
    check_positive(blocks, name="blocks")
    check_choice(downsampling, ("max_pool", "stride"), name="downsampling")
    strided = downsampling == "stride"
    height, width = size
    if min(size) < 2**blocks:
        times = {1: "once", 2: "twice"}.get(blocks, f"{blocks} times")
        raise ShapeError(
            f"size = {tuple(size)}",
            expected=f"at least {2**blocks} x {2**blocks} pixels, because the network halves it {times}",
        )
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for index in range(blocks):
        layers[f"conv{index + 1}"] = SpikingConv2d(
            channels if index else in_channels,
            channels,
            stride=2 if strided else 1,
            pool=1 if strided else 2,
            neuron=PLIF(init_tau=init_tau),
        )
        height, width = (-(-height // 2), -(-width // 2)) if strided else (height // 2, width // 2)
    layers |= OrderedDict[str, nn.Module](
        flatten=nn.Flatten(2),
        dropout1=TimeConstantDropout(dropout),
        fc1=SpikingLinear(channels * height * width, hidden, bias=bias, neuron=PLIF(init_tau=init_tau)),
        dropout2=TimeConstantDropout(dropout),
        fc2=SpikingLinear(hidden, n_classes * votes, bias=bias, neuron=PLIF(init_tau=init_tau)),
        voting=VotingLayer(votes),
    )
    return SpikingClassifier(SpikingSequential(layers), in_channels=in_channels, size=size)
