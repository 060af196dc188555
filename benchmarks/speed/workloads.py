"""What is measured: networks, their input and their size."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

import torch

N_CLASSES, VOTES = 21, 10
ALL_PEERS = ("spikingjelly", "norse", "snntorch", "sinabs")


@dataclass(frozen=True)
class Convolution:
    """One block: convolution (padded to keep the size), batch normalisation, PLIF, max pooling (1 for none)."""

    channels: int
    kernel: int = 3
    stride: int = 1
    pool: int = 2


@dataclass(frozen=True)
class Workload:
    """A network and the shape of its input ``[steps, batch, channels, size, size]``."""

    name: str
    title: str
    steps: int
    batch: int
    size: int = 64
    channels: int = 2
    convolutions: tuple[Convolution, ...] = ()
    hidden: int = 512
    kind: Literal["chain", "spiking_fer", "neuron"] = "chain"
    peers: tuple[str, ...] = ("spikingjelly",)
    norm_bias: float = 0.0
    """Offset of every batch normalisation, which moves the firing rates."""

    @property
    def map_size(self) -> int:
        """Side of the maps behind the last convolution."""
        size = self.size
        for block in self.convolutions:
            size = math.ceil(size / block.stride) // block.pool
        return size

    @property
    def features(self) -> int:
        """Inputs of the first fully connected layer."""
        return self.convolutions[-1].channels * self.map_size**2

    def shrunk(self, *, steps: int, batch: int) -> "Workload":
        """The same with at most so many steps and samples."""
        return dataclasses.replace(self, steps=min(self.steps, steps), batch=min(self.batch, batch))


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("au_snn", "au_snn (W)", 76, 8, convolutions=(Convolution(32),) * 2, peers=ALL_PEERS),
        Workload("odd24", "24 channels", 32, 4, convolutions=(Convolution(24),) * 2, peers=ALL_PEERS),
        Workload("strides", "strides for pooling", 32, 4, convolutions=(Convolution(32, stride=2, pool=1),) * 2),
        Workload("kernel5", "5 x 5 kernels", 32, 4, convolutions=(Convolution(32, kernel=5),) * 2),
        Workload("plif5", "five blocks, 128 channels", 16, 4, convolutions=(Convolution(128),) * 5),
        Workload("spiking_fer", "spiking_fer", 6, 4, size=128, kind="spiking_fer"),
        Workload("neuron", "PLIF alone", 76, 8, channels=32, kind="neuron", peers=("spikingjelly", "norse")),
    )
}


def make_input(workload: Workload) -> torch.Tensor:
    """Input of a workload; the same every time."""
    generator = torch.Generator().manual_seed(0)
    shape = (workload.steps, workload.batch, workload.channels, workload.size, workload.size)
    if workload.kind == "neuron":
        return torch.randn(shape, generator=generator)
    counts = moving_contours(shape, generator)
    return counts.clamp(max=1) if workload.kind == "spiking_fer" else counts  # that network reads binary frames


def moving_contours(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Event counts of ellipses that sway, and noise at 0.5 % of the pixels: 3 to 4 % are not zero.

    The logarithm of the brightness falls smoothly across the contour of each ellipse; its change from step to step,
    divided by a contrast threshold, is the mean of the Poisson counts, one channel per sign.
    """
    n_steps, n_samples, n_channels, height, width = shape
    t = torch.arange(n_steps + 1.0)[:, None, None, None]
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    phase = torch.rand(4, n_samples, 1, 1, generator=generator) * 6.28
    sway_x, sway_y = 0.07 * torch.sin(0.1 * t + phase[0]), 0.05 * torch.sin(0.07 * t + phase[1])
    opening = 0.10 + 0.05 * torch.sin(0.25 * t + phase[2])
    face = _ellipse((x - sway_x) / 0.62, (y - sway_y) / 0.8)
    eyes = [_ellipse((x - sway_x - side) / 0.14, (y - sway_y + 0.2) / (0.6 * opening)) for side in (-0.25, 0.25)]
    mouth = _ellipse((x - sway_x) / 0.24, (y - sway_y - 0.4) / opening)
    change = torch.diff(face - 0.6 * (sum(eyes) + mouth), dim=0) * 11  # [T, N, H, W]
    signs = torch.stack([change if i % 2 == 0 else -change for i in range(n_channels)], dim=2)
    noise = torch.rand(shape, generator=generator) < 0.005
    return torch.poisson(signs.clamp(min=0), generator=generator) + noise


def _ellipse(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """1 inside, 0 outside, with a soft edge."""
    return torch.sigmoid((1 - torch.sqrt(x**2 + y**2)) * 12)
