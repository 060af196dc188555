"""The state of `snnfer.models.asynet` between updates, and the checks of what an update is given."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from snnfer.errors import ShapeError, StateError
from snnfer.layers import AsyncConv2d, AsyncLayer, AsyncMaxPool2d, SiteMap


@dataclass(frozen=True, eq=False)
class AsynetState:
    """All that `Asynet.update` needs to go on; made by `Asynet.start`.

    Args:
        layers: The weights as they were at the start, batch normalisation folded in.
        maps: The input and the output of each layer.
        scores: Scores of the classes ``[n_classes]``.
        computed: Number of sites that the last update computed in each layer.
    """

    layers: tuple[AsyncLayer, ...]
    maps: tuple[SiteMap, ...]
    scores: torch.Tensor
    computed: tuple[int, ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the convolutions in the last update."""
        pairs = zip(self.layers, self.computed, strict=True)
        return sum(layer.weight.numel() * n for layer, n in pairs if isinstance(layer, AsyncConv2d))

    def clone(self) -> "AsynetState":
        """A state with its own memory."""
        return replace(self, maps=tuple(each.clone() for each in self.maps))


def async_layer(layer: nn.Module) -> AsyncLayer:
    """What the state keeps of a layer of the network: a pooling, or convolution, normalisation and ReLU."""
    if not isinstance(layer, nn.Sequential):
        return AsyncMaxPool2d()
    conv: Any = layer.conv
    return AsyncConv2d.fold(conv.weight, layer.norm, stride=2 if conv.stride in (2, (2, 2)) else 1)  # type: ignore[arg-type]


def check_state(state: AsynetState, n_layers: int, in_channels: int, size: tuple[int, int]) -> None:
    """Raise `StateError` unless the state belongs to a network of `n_layers` for this input."""
    shape = [state.maps[0].features.shape[1], *state.maps[0].size]
    if len(state.layers) != n_layers or shape != [in_channels, *size]:
        raise StateError(
            f"a state of {len(state.layers)} layers for an input of {shape}",
            expected=f"{n_layers} layers for an input of {[in_channels, *size]}",
            cause="the state of another model",
            fix="begin with model.start()",
        )


def check_change(positions: torch.Tensor, values: torch.Tensor, in_channels: int, size: tuple[int, int]) -> None:
    """Raise `ShapeError` unless positions ``[M, 2]`` are different pixels and values ``[M, C]`` fit them."""
    n_pixels = len(positions)
    if positions.shape != (n_pixels, 2) or values.shape != (n_pixels, in_channels):
        raise ShapeError(
            f"positions {list(positions.shape)} with values {list(values.shape)}",
            expected=f"[M, 2] (row, column) and [M, {in_channels}]",
        )
    check_pixels(positions, size)
    if len(torch.unique(positions[:, 0] * size[1] + positions[:, 1])) < n_pixels:
        raise ShapeError("a pixel is given twice", expected="each changed pixel once, with its new values")


def check_events(events: torch.Tensor, in_channels: int, size: tuple[int, int]) -> None:
    """Raise `ShapeError` unless events ``[M, 3]`` are channels, rows and columns of the input."""
    if events.ndim != 2 or events.shape[1] != 3:
        raise ShapeError(f"events of shape {list(events.shape)}", expected="[M, 3]: channel, row, column")
    check_pixels(events[:, 1:], size)
    if len(events) and not (int(events[:, 0].min()) >= 0 and int(events[:, 0].max()) < in_channels):
        raise ShapeError(
            f"events of channels {int(events[:, 0].min())} to {int(events[:, 0].max())}",
            expected=f"channels 0 to {in_channels - 1}",
        )


def check_pixels(positions: torch.Tensor, size: tuple[int, int]) -> None:
    """Raise `ShapeError` unless all positions ``[M, 2]`` (row, column) are whole numbers inside the image."""
    if positions.dtype != torch.int64:
        raise ShapeError(f"pixels of type {positions.dtype}", expected="int64 (row, column)")
    if not len(positions):
        return
    row, column = positions.amax(0).tolist()
    if int(positions.min()) < 0 or row >= size[0] or column >= size[1]:
        raise ShapeError(
            f"pixels between {positions.amin(0).tolist()} and {[row, column]} (row, column)",
            expected=f"pixels of an image of {size[0]} x {size[1]}",
            cause="x and y in the wrong order, or events at the size of the sensor",
        )
