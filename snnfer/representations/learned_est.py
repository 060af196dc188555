"""Event spike tensor (EST) whose kernel is a small network, trained together with what follows."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import torch
from torch import nn
from torch.nn.functional import leaky_relu

from snnfer.errors import ShapeError, SnnferError
from snnfer.events import EventStream
from snnfer.representations._kernels import HIDDEN, LEAK, load_value_layer
from snnfer.representations.est import SHIPPED_BINS

FIT_STEPS, FIT_SAMPLES, FIT_LEARNING_RATE = 1000, 2000, 1e-2


class ValueLayer(nn.Module):
    """The kernel of EST as a network 1 -> 30 -> 30 -> 1 with leaky rectifiers (0.1): 1,021 parameters.

    Its `state_dict` has the names of the authors' ``trilinear_init.pth``.

    Args:
        generator: Source of the initial weights.

    Shape:
        - Input: :math:`(*)`, time differences.
        - Output: :math:`(*)`, weights.
    """

    def __init__(self, *, generator: torch.Generator) -> None:
        super().__init__()
        sizes = ((1, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, 1))
        self.mlp = nn.ModuleList(nn.utils.skip_init(nn.Linear, a, b, dtype=torch.float32) for a, b in sizes)
        with torch.no_grad():
            for parameter, (n_inputs, _) in zip(self.parameters(), np.repeat(sizes, 2, axis=0).tolist(), strict=True):
                parameter.uniform_(-(n_inputs**-0.5), n_inputs**-0.5, generator=generator)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Weights of the time differences, of the same shape."""
        out = x[..., None]  # [*, 1]
        for layer in self.mlp[:-1]:  # type: ignore[misc]
            out = leaky_relu(layer(out), LEAK)
        return self.mlp[-1](out)[..., 0]  # [*]


class LearnedEST(nn.Module):
    r"""Event spike tensor with a trainable kernel, from lists of events to ``[N, 2C, H, W]``.

    .. math::
        V(c, i, y, x) = \sum_k t^*_k\, \kappa_\theta\Big(t^*_k - \frac{i}{C - 1}\Big)\,
        \delta(x - x_k, y - y_k, c - c_k), \quad t^*_k = t_k / \max t

    with the maximum per sample, and 1 where it is 0. Gradients reach :math:`\theta`; they do not reach the events.

    The network starts as a fit of a triangle of half width :math:`1 / (B - 1)`: 1,000 steps of Adam (learning rate
    0.01) on the sum of squared errors of 2,000 times, drawn anew in every step uniformly from (-1, 1).

    Args:
        size: Height and width of the sensor in pixels.
        n_bins: Time bins per polarity, C, at least 2.
        n_bins_init: Bins B of the triangle that the network starts as; 15 in the file that the authors ship.
        seed: Seed of the fit. The fit is made once per seed and B in a process, in a second or two.
        weights: A user's ``trilinear_init.pth`` to start from instead.

    Shape:
        - Input: :math:`(M, 5)` with columns x, y, t, p, b (column, row, time from the start of the sample, polarity
          {0, 1} or {-1, 1}, index of the sample), or a sequence of N `EventStream`, or of N tensors :math:`(M_n, 4)`
          without b. The unit of the time does not matter; streams count from their first event.
        - Output: :math:`(N, 2C, H, W)`, float32; bins of OFF events before those of ON events.

    Raises:
        SnnferError: fewer than 2 bins.
        ShapeError: events of another shape, or outside the sensor.
        CheckpointError: `weights` is missing or holds something else.

    References:
        Gehrig et al., "End-to-End Learning of Representations for Asynchronous Event-Based Data", ICCV 2019, section 3.

    Examples:
        >>> events = torch.tensor([[1.0, 0.0, 5.0, 0.0, 0.0], [3.0, 1.0, 10.0, 1.0, 0.0]])
        >>> est = LearnedEST((2, 4))
        >>> est(events).shape, sum(p.numel() for p in est.parameters())
        (torch.Size([1, 18, 2, 4]), 1021)
    """

    def __init__(
        self,
        size: tuple[int, int],
        n_bins: int = 9,
        *,
        n_bins_init: int = SHIPPED_BINS,
        seed: int = 1,
        weights: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__()
        for name, value in {"n_bins": n_bins, "n_bins_init": n_bins_init}.items():
            if value < 2:
                raise SnnferError(f"{name} = {value}", expected="a whole number of at least 2")
        self.size, self.n_bins = tuple(size), n_bins
        self.kernel = ValueLayer(generator=torch.Generator().manual_seed(seed))
        self.kernel.load_state_dict(
            fit_value_layer(n_bins_init, seed) if weights is None else load_value_layer(weights)
        )

    @property
    def n_channels(self) -> int:
        """Twice the number of bins: OFF, then ON."""
        return 2 * self.n_bins

    def forward(
        self,
        events: torch.Tensor | Sequence[EventStream] | Sequence[torch.Tensor],
        *,
        n_samples: int | None = None,
    ) -> torch.Tensor:
        """Voxels ``[N, 2C, H, W]``; `n_samples` is N where the last samples of a tensor may be empty."""
        device = next(self.parameters()).device
        if not isinstance(events, torch.Tensor):
            n_samples, events = len(events), join_events(events)
        check_event_tensor(events, self.size)
        x, y, time, p, b = events.to(device).unbind(1)
        sample = b.long()
        n = count_samples(sample, n_samples)
        latest = time.new_zeros(n).scatter_reduce(0, sample, time, "amax")[sample]
        time = torch.where(latest > 0, time / latest, torch.ones_like(time)).to(next(self.parameters()).dtype)
        height, width = self.size
        bins = torch.arange(self.n_bins, device=device)
        values = time[:, None] * self.kernel(time[:, None] - bins / (self.n_bins - 1))  # [M, C]
        first_bin = (sample * 2 + (p > 0)) * self.n_bins
        index = ((first_bin[:, None] + bins) * height + y.long()[:, None]) * width + x.long()[:, None]  # [M, C]
        voxels = values.new_zeros(n * 2 * self.n_bins * height * width)
        voxels = voxels.scatter_add(0, index.reshape(-1), values.reshape(-1))
        return voxels.view(n, 2 * self.n_bins, height, width)  # [N, 2C, H, W]


def count_samples(sample: torch.Tensor, n_samples: int | None) -> int:
    """N: as given, or one more than the greatest index."""
    needed = int(sample.max()) + 1 if len(sample) else 0
    if n_samples is not None and needed > n_samples:
        raise ShapeError(f"events of sample {needed - 1}", expected=f"indices below n_samples = {n_samples}")
    return needed if n_samples is None else n_samples


def join_events(samples: Sequence[EventStream] | Sequence[torch.Tensor]) -> torch.Tensor:
    """Events of several samples as one tensor ``[M, 5]``: x, y, t, p, b; times of streams from their first event."""
    parts = []
    for b, sample in enumerate(samples):
        if isinstance(sample, EventStream):
            t = sample.events["t"] - sample.t_start_us
            columns = [sample.events["x"], sample.events["y"], t, sample.events["p"]]
            sample = torch.from_numpy(np.stack([c.astype(np.float32) for c in columns], axis=1))
        if sample.ndim != 2 or sample.shape[1] != 4:
            raise ShapeError(f"events of shape {list(sample.shape)}", expected="[M, 4], columns x, y, t, p")
        parts.append(torch.cat([sample, sample.new_full((len(sample), 1), b)], dim=1))
    return torch.cat(parts) if parts else torch.zeros(0, 5)


def check_event_tensor(events: torch.Tensor, size: tuple[int, ...]) -> None:
    """Raise `ShapeError` unless `events` is ``[M, 5]`` with coordinates inside the sensor."""
    if events.ndim != 2 or events.shape[1] != 5:
        raise ShapeError(f"events of shape {list(events.shape)}", expected="[M, 5], columns x, y, t, p, b")
    if not len(events):
        return
    (x0, y0), (x1, y1) = events[:, :2].amin(0).tolist(), events[:, :2].amax(0).tolist()
    if x0 < 0 or y0 < 0 or x1 >= size[1] or y1 >= size[0]:
        raise ShapeError(
            f"events from ({x0:g}, {y0:g}) to ({x1:g}, {y1:g})",
            expected=f"columns below {size[1]} and rows below {size[0]}",
            cause="the size is height before width, or belongs to another sensor",
        )


@lru_cache(maxsize=8)
def fit_value_layer(n_bins: int, seed: int) -> dict[str, torch.Tensor]:
    """State of a `ValueLayer` fitted to a triangle of half width ``1 / (n_bins - 1)``; see `LearnedEST`."""
    generator = torch.Generator().manual_seed(seed)
    layer = ValueLayer(generator=generator)
    optimiser = torch.optim.Adam(layer.parameters(), lr=FIT_LEARNING_RATE)
    with _one_thread(), torch.enable_grad():
        for _ in range(FIT_STEPS):
            tau = torch.rand(FIT_SAMPLES, generator=generator) * 2 - 1
            target = (1 - (n_bins - 1) * tau.abs()).clamp(min=0)
            optimiser.zero_grad()
            (layer(tau) - target).square().sum().backward()
            optimiser.step()
    return {name: value.detach().clone() for name, value in layer.state_dict().items()}


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread of torch: the same bits on every machine, and no waiting for busy cores in tiny products."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)
