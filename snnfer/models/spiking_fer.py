"""Spiking-FER of Barchid et al.: a spiking ResNet-18 on a few binary event frames."""

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

from snnfer.layers import SEWBlock, SpikingConv2d, SpikingSequential, TimeConstantDropout, TimeDistributed
from snnfer.models._input import check_lengths
from snnfer.models._reads import BINARY_CLIPS
from snnfer.models._registry import register_model
from snnfer.models._resnet import check_resnet, init_convolutions, stage_widths
from snnfer.models.spiking_classifier import SpikingClassifier
from snnfer.neurons import IF, LI


class SpikingFER(SpikingClassifier):
    """Spiking ResNet whose read-out integrates over time; built by `spiking_fer`, which says more.

    Attributes:
        integrates: The score of a step holds all steps before it, so that the last one is the score of a clip.
    """

    integrates = True

    def __init__(self, layers: SpikingSequential, *, in_channels: int, size: Sequence[int], n_steps: int) -> None:
        super().__init__(layers, in_channels=in_channels, size=size)
        self.n_steps = n_steps

    def forward(self, x: torch.Tensor, *, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Scores ``[N, n_classes]`` of the input ``[T, N, C, H, W]`` after the last valid step, from rest.

        Args:
            x: Event frames ``[T, N, C, H, W]``, any dtype.
            lengths: Valid steps of each sample ``[N]``; all where None.
        """
        scores = self.forward_steps(x)
        last = check_lengths(lengths, x) - 1  # [N]
        return scores[last, torch.arange(x.shape[1], device=scores.device)]

    def extra_repr(self) -> str:
        return f"n_steps={self.n_steps}"


@register_model(reads=BINARY_CLIPS)
def spiking_fer(
    *,
    n_classes: int = 6,
    in_channels: int = 2,
    size: Sequence[int] = (128, 128),
    n_steps: int = 6,
    width: int = 64,
    blocks: Sequence[int] = (2, 2, 2, 2),
    dropout: float = 0.5,
) -> SpikingFER:
    r"""Spiking ResNet-18 (SEW, ADD) with a membrane that integrates its output: Spiking-FER.

    Convolution 7 x 7 (stride 2, no bias), batch normalisation, IF, max pooling 3 x 3 (stride 2), four stages of
    `SEWBlock`, mean over the image, then per step

    .. math::
        u_t = u_{t-1} + \operatorname{dropout}(W_1 m_t + b_1), \qquad y_t = W_2 u_t

    with the mean spikes :math:`m_t`; the scores of a clip are :math:`y` after its last step. All neurons are `IF` with
    threshold 1, hard reset to 0 that the gradient ignores, and `ATan`. 11,439,104 parameters at the defaults.

    Inferred: the dropout mask holds over the steps of a clip (as everywhere in snnfer), and the convolutions start as
    those of ResNet (He, fan-out). Its twin without spikes is `spiking_fer_ann`.

    Args:
        n_classes: Number of classes.
        in_channels: Channels of the input: 2 event polarities.
        size: Height and width of the input, in pixels, at least 16 x 16.
        n_steps: Steps of the clips that the network is meant for, 6 in the paper. It runs on any number; its twin does
            not, and both are built with the same arguments.
        width: Channels of the first stage; each stage doubles them.
        blocks: Residual blocks in each stage.
        dropout: Dropout probability before the integrating membrane.

    Shape:
        - Input: :math:`(T, N, C, H, W)`, binary event frames.
        - Output: :math:`(N, n_\text{classes})`.

    Raises:
        ShapeError: the input, or one of the arguments, does not fit.

    References:
        Barchid et al., "Spiking-FER: Spiking Neural Network for Facial Expression Recognition With Event Cameras",
        CBMI 2023; Fang et al., "Deep Residual Learning in Spiking Neural Networks", NeurIPS 2021.

    Examples:
        >>> model = spiking_fer(size=(32, 32), width=8, blocks=(1, 1)).eval()
        >>> frames = torch.randint(0, 2, (6, 1, 2, 32, 32), dtype=torch.uint8)
        >>> model(frames).shape
        torch.Size([1, 6])
        >>> scores, state = model.forward_with_state(frames[:2])  # streaming: any chunk length
        >>> scores, state = model.forward_with_state(frames[2:], state)
        >>> torch.equal(scores[-1], model(frames))
        True
    """
    check_resnet(size=size, n_classes=n_classes, n_steps=n_steps, width=width, blocks=blocks)
    widths = stage_widths(width, blocks)
    stages = {f"stage{i}": _stage(a, b, n_blocks=n, stride=1 if i == 1 else 2) for i, (a, b, n) in enumerate(widths, 1)}
    n_features = widths[-1][1]
    read_out: OrderedDict[str, nn.Module] = OrderedDict(
        linear=nn.Linear(n_features, n_features),
        dropout=TimeConstantDropout(dropout),
        membrane=LI(tau=math.inf, decay_input=False),  # without leak, and without threshold: a sum over time
        classifier=nn.Linear(n_features, n_classes, bias=False),
    )
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        stem=SpikingConv2d(in_channels, width, kernel_size=7, stride=2, neuron=IF(), pool=1),
        max_pool=TimeDistributed(nn.MaxPool2d(3, stride=2, padding=1)),
        **stages,
        mean=TimeDistributed(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())),
        read_out=SpikingSequential(read_out),
    )
    network = SpikingSequential(layers)
    init_convolutions(network)
    return SpikingFER(network, in_channels=in_channels, size=size, n_steps=n_steps)


def _stage(in_channels: int, out_channels: int, *, n_blocks: int, stride: int) -> SpikingSequential:
    first = SEWBlock(in_channels, out_channels, stride=stride, zero_init=True)
    return SpikingSequential(
        first, *(SEWBlock(out_channels, out_channels, zero_init=True) for _ in range(n_blocks - 1))
    )
