"""Event lists of dense frames, and the first block of a network computed from them."""

from dataclasses import dataclass

import torch

from snnfer.neurons.kernels import _library
from snnfer.neurons.kernels._neuron_cpu import Settings

EVENT_BYTES = 8
LARGEST_SIDE = 2**16 - 1
"""Columns and channels are stored in 16 bits."""


@dataclass(frozen=True)
class Events:
    """What is not zero in frames ``[T, N, C, H, W]``, in the order n, t, row, channel, column.

    Args:
        row_start: First event of every row of every frame, and the number of events ``[N * T * H + 1]``.
        list: Events as 8 bytes: column and channel (16 bits each), value (float32).
        shape: T, N, C, H, W of the frames.
    """

    row_start: torch.Tensor
    list: torch.Tensor
    shape: tuple[int, int, int, int, int]

    def rows_of(self, sample: int, step: int = 0) -> torch.Tensor:
        """`row_start` from a step of a sample on."""
        n_steps, _, _, height, _ = self.shape
        return self.row_start[(sample * n_steps + step) * height :]


def find_events(x: torch.Tensor, *, largest_share: float = 1.0) -> Events | None:
    """Events of frames ``[T, N, C, H, W]``, float32; None where a larger share of the values is not zero."""
    n_steps, n_samples, channels, height, width = x.shape
    x = x.contiguous()
    row_start = torch.empty(n_samples * n_steps * height + 1, dtype=torch.int32)
    limit = int(largest_share * x.numel())
    capacity = min(limit, x.numel() // 8)
    while True:
        events = torch.empty(max(capacity, 1), EVENT_BYTES, dtype=torch.uint8)
        sizes = (n_steps, n_samples, channels, height, width)
        _library.call("events_from_frames", x, *sizes, row_start, events, capacity)
        count = int(row_start[-1])
        if count <= capacity:
            return Events(row_start, events, sizes)
        if count > limit:
            return None
        capacity = count


def patch_moments(events: Events) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums ``[9 C]`` and products ``[9 C, 9 C]`` in float64 of all 3 x 3 patches, over rows, columns, channels.

    Mean and variance of a convolution with weights w (in that order) over all its outputs follow from them:
    ``w @ sums`` and ``w @ products @ w``.
    """
    n_steps, n_samples, channels, height, width = events.shape
    sums = torch.zeros(9 * channels, dtype=torch.float64)
    products = torch.zeros(9 * channels, 9 * channels, dtype=torch.float64)
    sizes = (n_samples, n_steps * n_samples, channels, height, width)
    _library.call("patch_moments", events.row_start, events.list, *sizes, sums, products)
    return sums, products


def event_block_forward(
    events: Events,
    weight: torch.Tensor,
    bias: torch.Tensor,
    settings: Settings,
    v: torch.Tensor,
    bits: torch.Tensor,
    *,
    sample: int = 0,
    step: int = 0,
    n_samples: int,
    n_steps: int,
) -> None:
    """Convolution, neuron and 2 x 2 max pooling of `n_samples` from `sample` on; `n_steps` from `step` on.

    Only one sample can be divided into steps.

    Args:
        events: The input.
        weight: Folded weights ``[C_in, 3, 3, C]``.
        bias: What every step adds ``[C]``.
        settings: Of the neuron, with its leak as a rate.
        v: Potentials ``[n_samples, H, W, C]``, replaced by those after the last step.
        bits: Spikes ``[n_samples, n_steps, H / 2, W / 2, C / 16]``, to be written.
    """
    _, _, channels_in, height, width = events.shape
    where = (events.rows_of(sample, step), events.list, height, width, channels_in)
    _library.call("event_block_forward", *where, n_steps, n_samples, len(bias), weight, bias, settings, v, bits)


def event_block_backward(
    events: Events,
    weight: torch.Tensor,
    bias: torch.Tensor,
    settings: Settings,
    v0: torch.Tensor,
    grad_out: torch.Tensor,
    grad_last: torch.Tensor | None,
    grad_v0: torch.Tensor | None,
    sums: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    *,
    sample: int,
) -> None:
    """Add the gradients of one sample to `sums`: of the potential times the events ``[C_in, 3, 3, C]``, of the
    potential ``[C]``, of the leak ``[]``; all float64."""
    n_steps, _, channels_in, height, width = events.shape
    where = (events.rows_of(sample), events.list, height, width, channels_in)
    gradients = (v0, grad_out, grad_last, grad_v0, *sums)
    _library.call("event_block_backward", *where, n_steps, len(bias), weight, bias, settings, *gradients)
