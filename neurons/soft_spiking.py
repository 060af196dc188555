"""The soft spiking neuron of CS3D, as a module."""

from typing import Any

import torch

from snnfer._check import check_positive
from snnfer.neurons import functional
from snnfer.neurons._base import Neuron, register_neuron


@register_neuron
class SoftSpiking(Neuron):
    r"""Soft spiking neuron: a threshold that passes the value of its input instead of a binary spike.

    .. math::
        y = x\,\Theta(x - \theta), \qquad \frac{\mathrm{d}y}{\mathrm{d}x} := \sigma(\beta\,(x - \theta))

    It has no membrane: its state is None, and each step stands alone.

    Args:
        theta: Threshold; the defaults of `theta` and `beta` are a choice of this library, the paper names none.
        beta: Sharpness of the gradient, > 0.

    Shape:
        - Input: :math:`(T, N, *)`, real-valued.
        - Output: :math:`(T, N, *)`, 0 or the input.

    Raises:
        SnnferError: `beta` is not above zero.

    References:
        "CS3D: an efficient facial expression recognition via event vision", arXiv:2512.09592.

    Examples:
        >>> SoftSpiking(theta=0.5)(torch.tensor([[0.4, 0.6]]))
        tensor([[0.0000, 0.6000]])
    """

    def __init__(self, *, theta: float = 0.5, beta: float = 4.0) -> None:
        super().__init__()
        check_positive(beta, name="beta")
        self.theta = theta
        self.beta = beta

    def forward_with_state(self, x: torch.Tensor, state: None = None) -> tuple[torch.Tensor, None]:
        return functional.soft_spiking(x, **self.settings())

    def settings(self) -> dict[str, Any]:
        return {"theta": self.theta, "beta": self.beta}
