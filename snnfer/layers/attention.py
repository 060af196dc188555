"""The attention of CS3D: which steps matter, and where in the image."""

from typing import Any, Literal

import torch
from torch import nn

from snnfer._check import check_choice
from snnfer.layers._input import check_maps, split_state
from snnfer.layers._streaming import run_by_step
from snnfer.layers._volume import check_streams, convolve_back, make_conv, on_volume

TemporalVariant = Literal["conv", "bottleneck"]
SpatialMaps = Literal["channel", "single"]


class _Attention(nn.Module):
    """What both kinds share: ``[T, N, C, H, W]`` is weighted at once, or step by step where nothing looks ahead."""

    def __init__(self, channels: int, *, streams: bool) -> None:
        super().__init__()
        self.channels = channels
        self.streams = streams

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._run(x, None)[0]

    def forward_with_state(self, x: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        """Output and the state after the last step; `state` None means rest.

        The state is what the kernel over time reaches of the pooled input, its last k - 1 steps. In evaluation mode any
        cut of a clip into chunks gives the same bits.
        """
        check_streams(self, looks_ahead=not self.streams)
        return self._run(x, state)

    def _run(self, x: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        check_maps(x, channels=self.channels)
        if self.streams and not self.training:
            return run_by_step(self._weigh, x, state)
        return self._weigh(x, state)

    def _weigh(self, x: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        raise NotImplementedError


class TemporalAttention(_Attention):
    r"""Weights every channel of every step by what the step holds as a whole.

    .. math::
        M = \sigma\big(\max(W a_\text{avg},\; W a_\text{max})\big), \qquad y = M \odot x

    :math:`a_\text{avg}, a_\text{max}` (one value per channel and step) are mean and maximum over the image, and W is
    shared by both; the larger result counts, element by element. The paper states the shared convolution and the
    fusion, not what W is.

    Args:
        channels: Channels C of the input.
        variant: ``conv`` is one convolution over time, C to C; ``bottleneck`` is C to C / 16, ReLU, C / 16 to C.
        kernel_size: Steps that :math:`W` (the first of its two convolutions) sees, odd.
        causal: Whether it sees only the step itself and those before (zeros before the first), so that it can stream.
            Otherwise the kernel is centred; with ``kernel_size=1`` every step stands alone and streams anyway.

    Shape:
        - Input, output: :math:`(T, N, C, H, W)`.

    Raises:
        ShapeError: the input has another number of dimensions or channels, or no step.
        StateError: the state does not fit, or the layer sees later steps and is asked to stream.

    References:
        "CS3D: an efficient facial expression recognition via event vision", arXiv:2512.09592.

    Examples:
        >>> TemporalAttention(8)(torch.rand(6, 1, 8, 16, 16)).shape
        torch.Size([6, 1, 8, 16, 16])
    """

    def __init__(
        self, channels: int, *, variant: TemporalVariant = "conv", kernel_size: int = 3, causal: bool = False
    ) -> None:
        super().__init__(channels, streams=causal or kernel_size == 1)
        check_choice(variant, ("conv", "bottleneck"), name="variant")
        inner = channels if variant == "conv" else max(1, channels // 16)
        # modules, because thop (the paper's FLOPs) counts the mean over the image only where it is one
        self.mean = nn.AdaptiveAvgPool3d((None, 1, 1))
        self.max = nn.AdaptiveMaxPool3d((None, 1, 1))
        self.conv = make_conv(channels, inner, (kernel_size, 1, 1), causal=causal)
        expand = nn.Sequential(nn.ReLU(), make_conv(inner, channels, (1, 1, 1)))
        self.expand = expand if variant == "bottleneck" else nn.Identity()

    def _weigh(self, x: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        pooled = torch.cat([on_volume(self.mean, x), on_volume(self.max, x)], dim=1)  # [T, 2 N, C, 1, 1]
        mixed, state = _convolve(self.conv, pooled, state, streams=self.streams)
        of_mean, of_max = on_volume(self.expand, mixed).chunk(2, dim=1)
        return torch.maximum(of_mean, of_max).sigmoid() * x, state


class SpatialAttention(_Attention):
    r"""Weights every position by what all channels hold there.

    .. math::
        M = \sigma\big(V * [\,\mathrm{mean}_C(x),\; \max\nolimits_C(x)\,]\big), \qquad y = M \odot x

    Args:
        channels: Channels C of the input.
        maps: ``channel`` gives every channel a map of its own (V is 2 to C), ``single`` one map for all (2 to 1).
        kernel_size: Of V, over time, height and width, odd.
        causal: Whether V sees only the step itself and those before. It makes a difference where the kernel reaches
            over time; the default does not, and streams as it is.

    Shape:
        - Input, output: :math:`(T, N, C, H, W)`.

    Raises:
        ShapeError: the input has another number of dimensions or channels, or no step.
        StateError: the state does not fit, or the layer sees later steps and is asked to stream.

    References:
        "CS3D: an efficient facial expression recognition via event vision", arXiv:2512.09592. Which V the paper uses is
        inferred from its FLOPs.

    Examples:
        >>> SpatialAttention(8, maps="single", kernel_size=(7, 7, 7))(torch.rand(6, 1, 8, 16, 16)).shape
        torch.Size([6, 1, 8, 16, 16])
    """

    def __init__(
        self,
        channels: int,
        *,
        maps: SpatialMaps = "channel",
        kernel_size: tuple[int, int, int] = (1, 3, 3),
        causal: bool = False,
    ) -> None:
        super().__init__(channels, streams=causal or kernel_size[0] == 1)
        check_choice(maps, ("channel", "single"), name="maps")
        self.conv = make_conv(2, channels if maps == "channel" else 1, kernel_size, causal=causal)

    def _weigh(self, x: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        pooled = torch.stack([x.mean(2), x.amax(2)], dim=2)  # [T, N, 2, H, W]
        weights, state = _convolve(self.conv, pooled, state, streams=self.streams)
        return weights.sigmoid() * x, state


class TemporalSpatialAttention(nn.Module):
    r"""Temporal, then spatial attention, and a shortcut around both.

    .. math::
        Y = \mathrm{SA}(\mathrm{TA}(X)) + X

    The default variants are those with which CS3D costs the 4.68 G that the paper prints; the paper itself was not
    found to say them.

    Args:
        channels: Channels C of the input.
        ta: Variant of `TemporalAttention`.
        ta_kernel: Its kernel over time.
        sa_out: Maps of `SpatialAttention`.
        sa_kernel: Its kernel over time, height and width.
        causal: Whether both look back alone, so that the module can stream.

    Shape:
        - Input, output: :math:`(T, N, C, H, W)`.

    Raises:
        ShapeError: the input has another number of dimensions or channels, or no step.
        StateError: the state does not fit, or the module sees later steps and is asked to stream.

    References:
        "CS3D: an efficient facial expression recognition via event vision", arXiv:2512.09592.

    Examples:
        >>> attention = TemporalSpatialAttention(8, causal=True).eval()
        >>> clip = torch.rand(6, 1, 8, 16, 16)
        >>> first, state = attention.forward_with_state(clip[:1])
        >>> rest, state = attention.forward_with_state(clip[1:], state)
        >>> torch.equal(torch.cat([first, rest]), attention(clip))
        True
    """

    def __init__(
        self,
        channels: int,
        *,
        ta: TemporalVariant = "conv",
        ta_kernel: int = 3,
        sa_out: SpatialMaps = "channel",
        sa_kernel: tuple[int, int, int] = (1, 3, 3),
        causal: bool = False,
    ) -> None:
        super().__init__()
        self.temporal = TemporalAttention(channels, variant=ta, kernel_size=ta_kernel, causal=causal)
        self.spatial = SpatialAttention(channels, maps=sa_out, kernel_size=sa_kernel, causal=causal)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.spatial(self.temporal(x)) + x

    def forward_with_state(self, x: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        """Output and the states of both parts after the last step; `state` None means rest."""
        temporal, spatial = split_state(state, 2, layer=self)
        y, temporal = self.temporal.forward_with_state(x, temporal)
        y, spatial = self.spatial.forward_with_state(y, spatial)
        return y + x, (temporal, spatial)


def _convolve(conv: nn.Conv3d, x: torch.Tensor, state: Any, *, streams: bool) -> tuple[torch.Tensor, Any]:
    return convolve_back(conv, x, state) if streams else (on_volume(conv, x), None)
