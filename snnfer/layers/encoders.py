"""Encoders that turn every image into `n_steps` steps of a spiking network: direct, Poisson, latency.

Each step of the input is shown for `n_steps` steps of the output, so that an image is a clip of one step, ``x[None]``,
and a film of T frames becomes T * `n_steps` steps. Nothing looks at another frame, so that all of them stream.
"""

from typing import Literal

import torch
from torch import nn

from snnfer._check import check_choice, check_positive
from snnfer.errors import SnnferError
from snnfer.layers._input import check_maps

LatencyCode = Literal["linear", "rc"]


class DirectEncoder(nn.Module):
    r"""Show every image for `n_steps` steps: a constant current, which the first neurons turn into spikes.

    .. math::
        y_{t} = x, \qquad t = 0, \dots, n_\text{steps} - 1

    Args:
        n_steps: Steps per image.

    Shape:
        - Input: :math:`(T, N, C, H, W)`; images :math:`(N, C, H, W)` enter as ``x[None]``.
        - Output: :math:`(T \cdot n_\text{steps}, N, C, H, W)`.

    Raises:
        SnnferError: `n_steps` is not above zero.
        ShapeError: the input has another layout.

    References:
        Rueckauer et al., "Conversion of Continuous-Valued Deep Networks to Efficient Event-Driven Networks for Image
        Classification", Frontiers in Neuroscience 2017; Eshraghian et al., "Training Spiking Neural Networks Using
        Lessons From Deep Learning", Proceedings of the IEEE 2023, section on input encoding.

    Examples:
        >>> images = torch.rand(2, 1, 8, 8)
        >>> DirectEncoder(5)(images[None]).shape
        torch.Size([5, 2, 1, 8, 8])
    """

    def __init__(self, n_steps: int) -> None:
        super().__init__()
        check_positive(n_steps, name="n_steps", unit="steps per image")
        self.n_steps = n_steps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_maps(x)
        return x.repeat_interleave(self.n_steps, 0)  # [T * n_steps, N, C, H, W]

    def extra_repr(self) -> str:
        return f"n_steps={self.n_steps}"


class PoissonEncoder(nn.Module):
    r"""Spikes at random, more often where the image is brighter: a rate code.

    .. math::
        y_t \sim \text{Bernoulli}(gain \cdot x), \qquad x \in [0, 1],

    independently for every step and pixel: a Poisson process seen in bins that hold at most one spike.

    Where the random numbers come from is explicit. In evaluation mode they follow from `seed` alone, so that two calls
    give the same spikes, and the state is the state of the generator. In training mode they are drawn from torch's
    generator, as those of `torch.nn.Dropout`: every batch sees other spikes, and the trainer that seeds its steps
    repeats them. A `generator` that is passed to `forward` counts in both modes. No gradient reaches the input.

    Args:
        n_steps: Steps per image.
        gain: Probability of a spike per step where the input is 1, in (0, 1].
        seed: Of the spikes in evaluation mode.

    Shape:
        - Input: :math:`(T, N, C, H, W)` in [0, 1]; images :math:`(N, C, H, W)` enter as ``x[None]``.
        - Output: :math:`(T \cdot n_\text{steps}, N, C, H, W)`, values in {0, 1}, dtype of the input.

    Raises:
        SnnferError: an argument is out of range, or a value of the input is outside [0, 1].
        ShapeError: the input has another layout.

    References:
        Heeger, "Poisson Model of Spike Generation", 2000; Eshraghian et al., Proceedings of the IEEE 2023, section on
        rate coding.

    Examples:
        >>> encoder = PoissonEncoder(1000).eval()
        >>> spikes = encoder(torch.full((1, 1, 1, 8, 8), 0.25))
        >>> round(spikes.mean().item(), 2)
        0.25
        >>> own = torch.Generator().manual_seed(5)
        >>> spikes = encoder(torch.rand(1, 1, 1, 8, 8), generator=own)
    """

    def __init__(self, n_steps: int, *, gain: float = 1.0, seed: int = 0) -> None:
        super().__init__()
        check_positive(n_steps, name="n_steps", unit="steps per image")
        if not 0 < gain <= 1:
            raise SnnferError(f"gain = {gain}", expected="a probability in (0, 1]")
        self.n_steps, self.gain, self.seed = n_steps, gain, seed

    def forward(self, x: torch.Tensor, *, generator: torch.Generator | None = None) -> torch.Tensor:
        if generator is None:
            return self.forward_with_state(x)[0]
        return self._draw(x, generator)

    def forward_with_state(
        self, x: torch.Tensor, state: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Spikes and the state of the generator after them, which is None in training mode."""
        if self.training:
            return self._draw(x, None), None
        generator = torch.Generator(x.device).manual_seed(self.seed)
        if state is not None:
            generator.set_state(state)
        return self._draw(x, generator), generator.get_state()

    def _draw(self, x: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        check_maps(x)
        check_unit_range(x, layer="PoissonEncoder")
        steps = []
        for frame in x.detach().float():  # one draw per frame, so that chunks use the same numbers as the whole
            dice = torch.rand((self.n_steps, *frame.shape), generator=generator, device=x.device)
            steps.append(dice < self.gain * frame)
        return torch.cat(steps).to(x.dtype)  # [T * n_steps, N, C, H, W]

    def extra_repr(self) -> str:
        return f"n_steps={self.n_steps}, gain={self.gain}, seed={self.seed}"


class LatencyEncoder(nn.Module):
    r"""One spike per pixel and image, the earlier the brighter: time to first spike.

    .. math::
        t_\text{linear} = n_\text{steps}\,(1 - x), \qquad
        t_\text{rc} = \tau \ln \frac{x}{x - \theta}, \qquad
        y_t = [\,t = \lfloor t_\text{code} \rfloor\,] \ \text{ where } x > \theta

    ``rc`` is the time at which a leaky membrane, charged from rest by the constant current x, crosses the threshold:
    the solution of :math:`\tau \dot v = x - v,\ v(t) = \theta`. Values up to the threshold, and those whose spike would
    come after `n_steps`, stay silent. No gradient reaches the input.

    Args:
        n_steps: Steps per image.
        code: ``linear`` gives every step an equal range of values, ``rc`` separates dark values best.
        threshold: :math:`\theta`, in [0, 1), above 0 for ``rc``: with small ones only dark pixels come late.
        tau: Time constant of the membrane of ``rc``, in time steps, > 0.

    Shape:
        - Input: :math:`(T, N, C, H, W)` in [0, 1]; images :math:`(N, C, H, W)` enter as ``x[None]``.
        - Output: :math:`(T \cdot n_\text{steps}, N, C, H, W)`, values in {0, 1}, dtype of the input.

    Raises:
        SnnferError: an argument is out of range, or a value of the input is outside [0, 1].
        ShapeError: the input has another layout.

    References:
        Thorpe et al., "Spike-based strategies for rapid processing", Neural Networks 2001; Eshraghian et al.,
        Proceedings of the IEEE 2023, section on latency coding (``rc``).

    Examples:
        >>> x = torch.tensor([1.0, 0.6, 0.3, 0.0]).reshape(1, 1, 4, 1, 1)
        >>> LatencyEncoder(4)(x)[:, 0, :, 0, 0].T
        tensor([[1., 0., 0., 0.],
                [0., 1., 0., 0.],
                [0., 0., 1., 0.],
                [0., 0., 0., 0.]])
    """

    def __init__(
        self, n_steps: int, *, code: LatencyCode = "linear", threshold: float = 0.01, tau: float = 10.0
    ) -> None:
        super().__init__()
        check_positive(n_steps, name="n_steps", unit="steps per image")
        check_choice(code, ("linear", "rc"), name="code")
        check_positive(tau, name="tau", unit="time steps")
        if not 0 <= threshold < 1 or (code == "rc" and threshold == 0):
            raise SnnferError(
                f"threshold = {threshold} with code = '{code}'", expected="a value in [0, 1), not 0 for rc"
            )
        self.n_steps, self.code, self.threshold, self.tau = n_steps, code, threshold, tau

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_maps(x)
        check_unit_range(x, layer="LatencyEncoder")
        step = self._spike_time(x.detach().float()).floor()  # [T, N, C, H, W]
        steps = torch.arange(self.n_steps, device=x.device).reshape(-1, 1, 1, 1, 1)  # [n_steps, 1, 1, 1, 1]
        return (step[:, None] == steps).flatten(0, 1).to(x.dtype)  # [T * n_steps, N, C, H, W]

    def _spike_time(self, x: torch.Tensor) -> torch.Tensor:
        linear = self.code == "linear"
        time = self.n_steps * (1 - x) if linear else self.tau * torch.log(x / (x - self.threshold))
        return torch.where(x > self.threshold, time, torch.inf)

    def extra_repr(self) -> str:
        return f"n_steps={self.n_steps}, code={self.code!r}, threshold={self.threshold}, tau={self.tau}"


def check_unit_range(x: torch.Tensor, *, layer: str) -> None:
    """Raise `SnnferError` unless all values are in [0, 1]."""
    if not x.numel():
        return
    low, high = (float(value) for value in x.detach().aminmax())
    if not (low >= 0 and high <= 1):
        raise SnnferError(
            f"{layer} was given values from {low:g} to {high:g}",
            expected="values in [0, 1]",
            cause="pixels in 0..255 or event counts" if high > 1 else "a normalised input" if low < 0 else "NaN",
            fix="scale them first, e.g. x / 255 or x / x.max()",
        )
