"""CS3D and the steps of its ablation: C3D, soft spiking neurons, factorised convolutions, attention."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

from torch import nn

from snnfer._check import check_choice
from snnfer.layers import FactorizedConv3d, TemporalSpatialAttention
from snnfer.models._reads import GRAY_CLIPS
from snnfer.models._registry import register_model
from snnfer.models.c3d import C3D, NeuronName, build_c3d, make_neuron

Placement = Literal["before_pool", "after_pool"]

CS3D_ABLATION: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "C3D": MappingProxyType({"name": "c3d", "neuron": "relu"}),
        "C3D + SSN": MappingProxyType({"name": "c3d", "neuron": "soft_spiking"}),
        "+ factorisation": MappingProxyType({"name": "cs3d_factorized"}),
        "+ attention": MappingProxyType({"name": "cs3d"}),
    }
)
"""The paper's ablation, step by step: arguments of `create_model`."""


@register_model(reads=GRAY_CLIPS)
def cs3d_factorized(
    *,
    n_classes: int = 7,
    in_channels: int = 3,
    size: Sequence[int] = (112, 112),
    n_steps: int = 16,
    channels: Sequence[int] = (64, 128, 256, 512, 512),
    hidden: int = 4096,
    dropout: float = 0.5,
    neuron: NeuronName = "soft_spiking",
    theta: float = 0.5,
    beta: float = 4.0,
) -> C3D:
    r"""CS3D without attention: C3D whose convolutions are factorised, with soft spiking neurons.

    `c3d` with a `snnfer.layers.FactorizedConv3d` in place of every convolution, norm and neuron; poolings, fully
    connected layers and the treatment of time are the same.

    Args:
        n_classes: Number of classes.
        in_channels: Channels of the input; 3 as the paper, which repeats a gray image.
        size: Height and width of the input, in pixels, at least 16 x 16.
        n_steps: Steps of a clip, at least 16; see `c3d` for clips of other lengths.
        channels: Channels of the convolutions. With fewer than five, time and size are pooled less often.
        hidden: Size of the two fully connected layers.
        dropout: Dropout probability behind each of them.
        neuron: ``soft_spiking``, or ``relu`` to see what it does.
        theta: Threshold of the soft spiking neurons. Neither it nor `beta` are published.
        beta: Sharpness of their gradient.

    Shape:
        - Input: :math:`(T, N, C, H, W)`, at least 16 steps.
        - Output: :math:`(N, n_\text{classes})`.

    Raises:
        ShapeError: the input, `size`, `n_steps` or `channels` do not fit, or a clip has too few steps for the pooling.

    References:
        "CS3D: an efficient facial expression recognition via event vision", arXiv:2512.09592: 4.26 GFLOPs after the
        factorisation; this arrangement has 4.2553 G as thop counts, and is inferred from the figure.

    Examples:
        >>> import torch
        >>> model = cs3d_factorized(size=(16, 16), channels=(4, 8, 8), hidden=16)
        >>> model(torch.rand(16, 2, 3, 16, 16)).shape
        torch.Size([2, 7])
    """
    make = make_neuron(neuron, theta=theta, beta=beta)
    return build_c3d(
        lambda before, after, pool: [FactorizedConv3d(before, after, neuron=make), pool],
        make,
        n_classes=n_classes,
        in_channels=in_channels,
        size=size,
        n_steps=n_steps,
        channels=channels,
        hidden=hidden,
        dropout=dropout,
    )


@register_model(reads=GRAY_CLIPS)
def cs3d(
    *,
    n_classes: int = 7,
    in_channels: int = 3,
    size: Sequence[int] = (112, 112),
    n_steps: int = 16,
    channels: Sequence[int] = (64, 128, 256, 512, 512),
    hidden: int = 4096,
    dropout: float = 0.5,
    neuron: NeuronName = "soft_spiking",
    theta: float = 0.5,
    beta: float = 4.0,
    ta: Literal["conv", "bottleneck"] = "conv",
    ta_kernel: int = 3,
    sa_out: Literal["channel", "single"] = "channel",
    sa_kernel: Sequence[int] = (1, 3, 3),
    placement: Placement = "before_pool",
) -> C3D:
    r"""CS3D: factorised convolutions, soft spiking neurons, attention over time and space in every stage.

    `cs3d_factorized` with a `snnfer.layers.TemporalSpatialAttention`, ``Y = SA(TA(X)) + X``, on the output of every
    block. The attention sees whole clips.

    The paper states the order, the shortcut, pooling by mean and maximum and the fusion by maximum. Kernels, channels
    and place of the attention are not known: the defaults are inferred from its FLOPs, because they are the only
    natural combination found that prints 4.68 G. The other arguments give those that do not.

    Args:
        n_classes: Number of classes.
        in_channels: Channels of the input; 3 as the paper, which repeats a gray image.
        size: Height and width of the input, in pixels, at least 16 x 16.
        n_steps: Steps of a clip, at least 16; see `c3d` for clips of other lengths.
        channels: Channels of the convolutions. With fewer than five, time and size are pooled less often.
        hidden: Size of the two fully connected layers.
        dropout: Dropout probability behind each of them.
        neuron: ``soft_spiking``, or ``relu`` to see what it does.
        theta: Threshold of the soft spiking neurons. Neither it nor `beta` are published.
        beta: Sharpness of their gradient.
        ta: Temporal attention: ``conv`` (C to C) or ``bottleneck`` (C to C / 16 to C).
        ta_kernel: Its kernel over time; 1 is natural for the bottleneck.
        sa_out: Spatial attention: one map per ``channel``, or a ``single`` one.
        sa_kernel: Its kernel over time, height and width.
        placement: Of the attention: ``before_pool`` or ``after_pool``.

    Shape:
        - Input: :math:`(T, N, C, H, W)`, at least 16 steps.
        - Output: :math:`(N, n_\text{classes})`.

    Raises:
        ShapeError: the input, `size`, `n_steps` or `channels` do not fit, or a clip has too few steps for the pooling.

    References:
        "CS3D: an efficient facial expression recognition via event vision", arXiv:2512.09592: 4.68 GFLOPs; 4.6750 G
        here, as thop counts.

    Examples:
        >>> import torch
        >>> model = cs3d(size=(16, 16), channels=(4, 8, 8), hidden=16)
        >>> model(torch.rand(16, 2, 3, 16, 16)).shape
        torch.Size([2, 7])
    """
    check_choice(placement, ("before_pool", "after_pool"), name="placement")
    make = make_neuron(neuron, theta=theta, beta=beta)

    def make_stage(before: int, after: int, pool: nn.MaxPool3d) -> list[nn.Module]:
        block = FactorizedConv3d(before, after, neuron=make)
        time, height, width = sa_kernel
        attention = TemporalSpatialAttention(
            after, ta=ta, ta_kernel=ta_kernel, sa_out=sa_out, sa_kernel=(time, height, width)
        )
        return [block, attention, pool] if placement == "before_pool" else [block, pool, attention]

    return build_c3d(
        make_stage,
        make,
        n_classes=n_classes,
        in_channels=in_channels,
        size=size,
        n_steps=n_steps,
        channels=channels,
        hidden=hidden,
        dropout=dropout,
    )
