"""C3D with five convolutions, and what it shares with the networks made from it (`snnfer.models.cs3d`)."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import nn

from snnfer._check import check_choice
from snnfer.errors import ShapeError
from snnfer.layers import apply_with_state
from snnfer.layers._volume import on_volume
from snnfer.models._input import check_lengths, check_pooled_time, check_video
from snnfer.models._reads import GRAY_CLIPS
from snnfer.models._registry import register_model
from snnfer.neurons import SoftSpiking

NeuronName = Literal["relu", "soft_spiking"]
MakeNeuron = Callable[[], nn.Module]
MakeStage = Callable[[int, int, nn.MaxPool3d], list[nn.Module]]


class C3D(nn.Module):
    """Stages of a convolution over time and space and a pooling, then three fully connected layers.

    Built by `c3d`, `cs3d_factorized` and `cs3d`, which say more.
    """

    config: dict[str, Any]

    def __init__(
        self,
        stages: Sequence[Sequence[nn.Module]],
        classifier: nn.Sequential,
        *,
        in_channels: int,
        size: Sequence[int],
        n_steps: int,
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(nn.Sequential(*stage) for stage in stages)
        self.classifier = classifier
        self.in_channels = in_channels
        self.size = tuple(size)
        self.time_stride = _time_stride(len(stages))
        self.n_bins = n_steps // self.time_stride

    def forward(self, x: torch.Tensor, *, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Scores ``[N, n_classes]`` of the input ``[T, N, C, H, W]``.

        Args:
            x: Clips ``[T, N, C, H, W]``, any dtype, at least as many steps as time is pooled by (16).
            lengths: Valid steps of each sample ``[N]``, at least as many; all where None.
        """
        dtype = next(self.parameters()).dtype
        x = check_video(x, in_channels=self.in_channels, size=self.size, dtype=dtype)
        valid_steps = check_lengths(lengths, x)
        check_pooled_time(lengths, len(x), stride=self.time_stride)
        padded = lengths is not None
        x = _clear_padding(x, valid_steps) if padded else x
        for module in self._modules_in_order():
            if isinstance(module, nn.MaxPool3d):
                x, valid_steps = on_volume(module, x), valid_steps // _stride(module)
            else:
                x = module(x)
            x = _clear_padding(x, valid_steps) if padded else x
        features = time_bins(x, valid_steps, self.n_bins)  # [N, C, n_bins, H, W]
        return self.classifier(features.flatten(1)[None])[0]  # neurons take [T, N, F], here T = 1

    def _modules_in_order(self) -> Iterator[nn.Module]:
        return (module for stage in self.stages for module in stage.children())


def _clear_padding(x: torch.Tensor, valid_steps: torch.Tensor) -> torch.Tensor:
    """``[T, N, C, H, W]`` with zeros in the steps that are no part of a sample."""
    padding = torch.arange(len(x), device=x.device)[:, None] >= valid_steps  # [T, N]
    return x.masked_fill(padding[:, :, None, None, None], 0)


def time_bins(x: torch.Tensor, lengths: torch.Tensor, n_bins: int) -> torch.Tensor:
    """Means of the valid steps in `n_bins` equal parts of each sample: ``[T, N, C, H, W]`` to ``[N, C, B, H, W]``.

    As `torch.nn.AdaptiveAvgPool3d` on each sample without its padding: bins share a step where the number of steps is
    no multiple of their number.
    """
    index = torch.arange(n_bins, device=x.device)
    start = index * lengths[:, None] // n_bins  # [N, B]
    end = -(-(index + 1) * lengths[:, None] // n_bins)
    step = torch.arange(len(x), device=x.device)[:, None, None]
    weights = ((start <= step) & (step < end)).to(x.dtype) / (end - start)  # [T, N, B]
    return (x[:, :, :, None] * weights[:, :, None, :, None, None]).sum(0)


class FullConv3d(nn.Module):
    """Convolution 3 x 3 x 3 with bias, batch normalisation and neuron on ``[T, N, C, H, W]``."""

    def __init__(self, in_channels: int, out_channels: int, neuron: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Conv3d(in_channels, out_channels, 3, padding=1)
        self.norm = nn.BatchNorm3d(out_channels)
        self.neuron = neuron

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return apply_with_state(self.neuron, on_volume(self.norm, on_volume(self.conv, x)))[0]


def make_neuron(neuron: str, *, theta: float, beta: float) -> MakeNeuron:
    """What makes the neurons of a network."""
    check_choice(neuron, ("relu", "soft_spiking"), name="neuron")
    return nn.ReLU if neuron == "relu" else partial(SoftSpiking, theta=theta, beta=beta)


def build_c3d(
    make_stage: MakeStage,
    make_neuron: MakeNeuron,
    *,
    n_classes: int,
    in_channels: int,
    size: Sequence[int],
    n_steps: int,
    channels: Sequence[int],
    hidden: int,
    dropout: float,
) -> C3D:
    """The network whose stages hold what `make_stage` returns for the channels before and after and the pooling."""
    _check_arguments(size, n_steps, channels)
    pools = [nn.MaxPool3d((1, 2, 2)), *(nn.MaxPool3d(2) for _ in channels[2:])]
    pools.append(nn.MaxPool3d(2, padding=(0, 1, 1)))  # 112 pixels become 4, not 3
    widths = zip((in_channels, *channels[:-1]), channels, pools, strict=True)
    stages = [make_stage(before, after, pool) for before, after, pool in widths]
    height, width = (_pooled(side, len(channels)) for side in size)
    classifier = nn.Sequential(
        nn.Linear(channels[-1] * (n_steps // _time_stride(len(channels))) * height * width, hidden),
        make_neuron(),
        nn.Dropout(dropout),
        nn.Linear(hidden, hidden),
        make_neuron(),
        nn.Dropout(dropout),
        nn.Linear(hidden, n_classes),
    )
    return C3D(stages, classifier, in_channels=in_channels, size=size, n_steps=n_steps)


def _check_arguments(size: Sequence[int], n_steps: int, channels: Sequence[int]) -> None:
    if len(channels) < 2:
        raise ShapeError(f"channels = {tuple(channels)}", expected="at least two numbers, one per convolution")
    stride = _time_stride(len(channels))
    if min(size) < stride:
        raise ShapeError(
            f"size = {tuple(size)} with {len(channels)} convolutions",
            expected=f"at least {stride} x {stride} pixels, because {len(channels) - 1} poolings halve the size",
        )
    if n_steps < stride:
        raise ShapeError(
            f"n_steps = {n_steps} with {len(channels)} convolutions",
            expected=f"at least {stride}, because the network pools time by {stride}",
            fix="use more time steps, or fewer channels",
        )


def _time_stride(n_stages: int) -> int:
    return 2 ** (n_stages - 1)  # the first pooling keeps time


def _pooled(side: int, n_stages: int) -> int:
    return side // 2 ** (n_stages - 1) // 2 + 1  # the last pooling pads


def _stride(pool: nn.MaxPool3d) -> int:
    return pool.stride[0] if isinstance(pool.stride, tuple) else pool.stride


@register_model(reads=GRAY_CLIPS)
def c3d(
    *,
    n_classes: int = 7,
    in_channels: int = 3,
    size: Sequence[int] = (112, 112),
    n_steps: int = 16,
    channels: Sequence[int] = (64, 128, 256, 512, 512),
    hidden: int = 4096,
    dropout: float = 0.5,
    neuron: NeuronName = "relu",
    theta: float = 0.5,
    beta: float = 4.0,
) -> C3D:
    r"""3-D convolutional network with five convolutions: the baseline of CS3D.

    Five times (convolution 3 x 3 x 3, batch normalisation, neuron, max pooling; the first pooling keeps time, the last
    one pads height and width by 1), then two fully connected layers with neuron and dropout, and the classes.

    Time is pooled by 16, so that a clip needs 16 steps. A longer one gives several features in time; they are averaged
    into ``n_steps // 16`` parts, which is what the fully connected layers take. Steps beyond `lengths` are kept at zero
    in every layer: a padded clip gives the result of the clip alone (without batch normalisation in training).

    Args:
        n_classes: Number of classes.
        in_channels: Channels of the input; 3 as the paper, which repeats a gray image.
        size: Height and width of the input, in pixels, at least 16 x 16.
        n_steps: Steps of a clip, at least 16. Longer and shorter clips are accepted too, see above.
        channels: Channels of the convolutions. With fewer than five, time and size are pooled less often.
        hidden: Size of the two fully connected layers.
        dropout: Dropout probability behind each of them.
        neuron: ``relu``, or ``soft_spiking`` for the first step of the paper's ablation. It stands behind the
            convolutions and the fully connected layers.
        theta: Threshold of the soft spiking neurons. Neither it nor `beta` are published.
        beta: Sharpness of their gradient.

    Shape:
        - Input: :math:`(T, N, C, H, W)`, at least 16 steps.
        - Output: :math:`(N, n_\text{classes})`.

    Raises:
        ShapeError: the input, `size`, `n_steps` or `channels` do not fit, or a clip has too few steps for the pooling.

    References:
        Tran et al., "Learning Spatiotemporal Features with 3D Convolutional Networks", ICCV 2015, section 3.2 (the
        networks with five convolutions). "CS3D: an efficient facial expression recognition via event vision",
        arXiv:2512.09592, calls its baseline C3D and prints 21.29 GFLOPs; the published C3D has eight convolutions and
        38.5 G, this one 21.2915 G (multiply-accumulates and four operations per normalised value, as thop counts),
        so that the widths are inferred.

    Examples:
        >>> model = c3d(size=(16, 16), channels=(4, 8, 8), hidden=16)  # three convolutions pool time by 4
        >>> model(torch.rand(16, 2, 3, 16, 16), lengths=torch.tensor([16, 9])).shape
        torch.Size([2, 7])
    """
    make = make_neuron(neuron, theta=theta, beta=beta)
    return build_c3d(
        lambda before, after, pool: [FullConv3d(before, after, make()), pool],
        make,
        n_classes=n_classes,
        in_channels=in_channels,
        size=size,
        n_steps=n_steps,
        channels=channels,
        hidden=hidden,
        dropout=dropout,
    )
