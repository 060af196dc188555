r"""Surrogate gradients: smooth stand-ins for the derivative of the Heaviside step.

The forward pass of a spiking neuron emits :math:`s = \Theta(u)` with :math:`u = h - v_\text{threshold}`; its
derivative is zero almost everywhere. In the backward pass `Surrogate.derivative` stands in its place.
"""

import dataclasses
import math
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from snnfer._check import check_positive


class _Spike(torch.autograd.Function):
    """Heaviside step whose derivative is that of a surrogate."""

    @staticmethod
    def forward(ctx: Any, u: torch.Tensor, surrogate: "Surrogate") -> torch.Tensor:
        ctx.save_for_backward(u)
        ctx.surrogate = surrogate
        return torch.ge(u, 0).to(u.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:  # type: ignore[override]
        (u,) = ctx.saved_tensors
        return grad * ctx.surrogate.derivative(u), None


@dataclasses.dataclass(frozen=True)
class Surrogate:
    """Base of the surrogate gradients; a new one defines `derivative_` and is a frozen dataclass.

    Args:
        alpha: Sharpness, > 0; larger is closer to the true step.

    Raises:
        SnnferError: `alpha` is not above zero.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        check_positive(self.alpha, name="alpha")

    def derivative_(self, u: torch.Tensor) -> torch.Tensor:
        """Derivative at `u`; may overwrite `u` (the fast path of the sequence functions)."""
        raise NotImplementedError

    def derivative(self, u: torch.Tensor) -> torch.Tensor:
        """Derivative of the surrogate at `u`, the potential above threshold; leaves `u` as it is."""
        return self.derivative_(u.detach().clone())

    def __call__(self, u: torch.Tensor) -> torch.Tensor:
        """Spikes ``u >= 0`` as 0 or 1 in the dtype of `u`; the backward pass uses `derivative`."""
        return _Spike.apply(u, self)  # type: ignore[return-value]


@dataclasses.dataclass(frozen=True)
class ATan(Surrogate):
    r"""Arctangent surrogate.

    .. math::
        \frac{\mathrm{d}s}{\mathrm{d}u} = \frac{\alpha / 2}{1 + (\frac{\pi}{2} \alpha u)^2}

    Args:
        alpha: Sharpness, > 0; the peak is alpha / 2.

    References:
        Fang et al., "Incorporating Learnable Membrane Time Constant to Enhance Learning of Spiking Neural Networks",
        ICCV 2021.

    Examples:
        >>> ATan(alpha=2.0).derivative(torch.tensor([-1.0, 0.0, 0.5]))
        tensor([0.0920, 1.0000, 0.2884])
    """

    alpha: float = 2.0

    def derivative_(self, u: torch.Tensor) -> torch.Tensor:
        torch.addcmul(u.new_ones(()), u, u, value=(math.pi / 2 * self.alpha) ** 2, out=u).reciprocal_()
        return u if self.alpha == 2 else u.mul_(self.alpha / 2)


@dataclasses.dataclass(frozen=True)
class Sigmoid(Surrogate):
    r"""Logistic surrogate.

    .. math::
        \frac{\mathrm{d}s}{\mathrm{d}u} = \alpha\, \sigma(\alpha u)\, (1 - \sigma(\alpha u))

    Args:
        alpha: Sharpness, > 0; the peak is alpha / 4.

    Examples:
        >>> Sigmoid(alpha=4.0).derivative(torch.tensor([0.0]))
        tensor([1.])
    """

    alpha: float = 4.0

    def derivative_(self, u: torch.Tensor) -> torch.Tensor:
        u.mul_(self.alpha).sigmoid_()
        return u.addcmul_(u, u, value=-1).mul_(self.alpha)


@dataclasses.dataclass(frozen=True)
class Triangle(Surrogate):
    r"""Triangular (piecewise linear) surrogate.

    .. math::
        \frac{\mathrm{d}s}{\mathrm{d}u} = \alpha\, \max(0,\ 1 - \alpha |u|)

    Args:
        alpha: Sharpness, > 0; the peak is alpha, the support is :math:`|u| < 1/\alpha`.

    References:
        Esser et al., "Convolutional networks for fast, energy-efficient neuromorphic computing", PNAS 2016.

    Examples:
        >>> Triangle(alpha=1.0).derivative(torch.tensor([0.0, 0.25, 2.0]))
        tensor([1.0000, 0.7500, 0.0000])
    """

    alpha: float = 1.0

    def derivative_(self, u: torch.Tensor) -> torch.Tensor:
        return u.abs_().mul_(-(self.alpha**2)).add_(self.alpha).clamp_(min=0)


@dataclasses.dataclass(frozen=True)
class SuperSpike(Surrogate):
    r"""Derivative of the fast sigmoid :math:`u / (1 + \alpha |u|)`.

    .. math::
        \frac{\mathrm{d}s}{\mathrm{d}u} = \frac{1}{(1 + \alpha |u|)^2}

    Args:
        alpha: Sharpness, > 0; the peak is 1.

    References:
        Zenke and Ganguli, "SuperSpike: Supervised Learning in Multilayer Spiking Neural Networks", Neural Computation
        2018.

    Examples:
        >>> SuperSpike(alpha=10.0).derivative(torch.tensor([0.0, 0.1]))
        tensor([1.0000, 0.2500])
    """

    alpha: float = 10.0

    def derivative_(self, u: torch.Tensor) -> torch.Tensor:
        return u.abs_().mul_(self.alpha).add_(1).reciprocal_().square_()
