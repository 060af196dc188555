"""Integrate-and-fire neurons as modules: IF, LIF, PLIF, and the leaky integrator LI."""

import math
from typing import Any

import torch
from torch import nn

from snnfer.neurons import functional
from snnfer.neurons._base import Neuron, SpikingNeuron, register_neuron
from snnfer.neurons._dynamics import Dynamics, Reset
from snnfer.neurons.surrogate import ATan, Surrogate

_ATAN = ATan()


@register_neuron
class IF(SpikingNeuron):
    r"""Integrate-and-fire neuron without leak.

    .. math::
        h_t = v_{t-1} + x_t, \quad
        s_t = \Theta(h_t - v_\text{threshold}), \quad
        v_t = (1 - s_t)\,h_t + s_t\,v_\text{reset} \ \text{(hard)} \quad\text{or}\quad
        v_t = h_t - s_t\,v_\text{threshold} \ \text{(soft)}

    Args:
        v_threshold: Firing threshold, dimensionless, same scale as the input; it fires at ``h >= v_threshold``.
        v_reset: Potential at rest and after a hard reset.
        reset: "hard" sets the potential to `v_reset` after a spike, "soft" subtracts `v_threshold`.
        detach_reset: Whether the gradient ignores the reset.
        surrogate: Surrogate gradient of the step.

    Shape:
        - Input: :math:`(T, N, *)`, real-valued current.
        - Output: :math:`(T, N, *)`, values in {0, 1}.
        - State: :math:`(N, *)`, the potential.

    Raises:
        ShapeError: the input has fewer than two dimensions.
        StateError: the state does not fit the input.

    References:
        Gerstner et al., "Neuronal Dynamics", 2014, section 1.3.

    Examples:
        >>> IF()(torch.full((4, 1), 0.5))[:, 0]
        tensor([0., 1., 0., 1.])
    """

    def __init__(
        self,
        *,
        v_threshold: float = 1.0,
        v_reset: float = 0.0,
        reset: Reset = "hard",
        detach_reset: bool = True,
        surrogate: Surrogate = _ATAN,
    ) -> None:
        super().__init__(
            v_threshold=v_threshold, v_reset=v_reset, reset=reset, detach_reset=detach_reset, surrogate=surrogate
        )

    def forward_with_state(
        self, x: torch.Tensor, state: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return functional.if_(x, state, **self._firing())

    def dynamics(self) -> tuple[Dynamics, None]:
        return Dynamics(**self._firing()), None

    def settings(self) -> dict[str, Any]:
        return self._firing()


@register_neuron
class LIF(SpikingNeuron):
    r"""Leaky integrate-and-fire neuron with a fixed time constant.

    .. math::
        h_t = v_{t-1} + \tfrac{1}{\tau}\,(x_t - (v_{t-1} - v_\text{reset})), \quad
        s_t = \Theta(h_t - v_\text{threshold}), \quad
        v_t = (1 - s_t)\,h_t + s_t\,v_\text{reset}

    With ``decay_input=False`` the input is not scaled:
    :math:`h_t = v_{t-1} - \tfrac{1}{\tau}(v_{t-1} - v_\text{reset}) + x_t`.
    Discretisation: explicit Euler, one step = one time bin.

    Args:
        tau: Membrane time constant, in time steps, > 1.
        v_threshold: Firing threshold, dimensionless, same scale as the input; it fires at ``h >= v_threshold``.
        v_reset: Potential at rest and after a hard reset.
        reset: "hard" sets the potential to `v_reset` after a spike, "soft" subtracts `v_threshold`.
        decay_input: Whether the input is scaled by 1 / tau.
        detach_reset: Whether the gradient ignores the reset.
        surrogate: Surrogate gradient of the step.

    Shape:
        - Input: :math:`(T, N, *)`, real-valued current.
        - Output: :math:`(T, N, *)`, values in {0, 1}.
        - State: :math:`(N, *)`, the potential.

    Raises:
        SnnferError: `tau` is not above 1.
        ShapeError: the input has fewer than two dimensions.
        StateError: the state does not fit the input.

    References:
        Gerstner et al., "Neuronal Dynamics", 2014, eq. (1.5).

    Examples:
        >>> LIF(tau=2.0)(torch.full((4, 1), 1.5))[:, 0]
        tensor([0., 1., 0., 1.])
    """

    def __init__(
        self,
        *,
        tau: float = 2.0,
        v_threshold: float = 1.0,
        v_reset: float = 0.0,
        reset: Reset = "hard",
        decay_input: bool = True,
        detach_reset: bool = True,
        surrogate: Surrogate = _ATAN,
    ) -> None:
        super().__init__(
            v_threshold=v_threshold, v_reset=v_reset, reset=reset, detach_reset=detach_reset, surrogate=surrogate
        )
        functional.check_tau(tau)
        self.tau = tau
        self.decay_input = decay_input

    def forward_with_state(
        self, x: torch.Tensor, state: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return functional.lif(x, state, tau=self.tau, decay_input=self.decay_input, **self._firing())

    def dynamics(self) -> tuple[Dynamics, None]:
        functional.check_tau(self.tau)
        return Dynamics(tau=self.tau, decay_input=self.decay_input, **self._firing()), None

    def settings(self) -> dict[str, Any]:
        return {"tau": self.tau, "decay_input": self.decay_input, **self._firing()}


@register_neuron
class PLIF(SpikingNeuron):
    r"""Parametric leaky integrate-and-fire neuron: the time constant is learned.

    .. math::
        h_t = v_{t-1} - \sigma(w)\,(v_{t-1} - v_\text{reset}) + x_t, \quad
        s_t = \Theta(h_t - v_\text{threshold}), \quad
        v_t = (1 - s_t)\,h_t + s_t\,v_\text{reset}

    with :math:`\tau = 1/\sigma(w)` in time steps, learnable, one per layer, started at
    :math:`w = -\ln(\tau_0 - 1)`. With ``decay_input=True``:
    :math:`h_t = v_{t-1} + \sigma(w)\,(x_t - (v_{t-1} - v_\text{reset}))`.
    Discretisation: explicit Euler, one step = one time bin.

    Args:
        init_tau: Initial membrane time constant, in time steps, > 1.
        v_threshold: Firing threshold, dimensionless, same scale as the input; it fires at ``h >= v_threshold``.
        v_reset: Potential at rest and after a hard reset.
        reset: "hard" sets the potential to `v_reset` after a spike, "soft" subtracts `v_threshold`.
        decay_input: Whether the input is scaled by 1 / tau.
        detach_reset: Whether the gradient ignores the reset.
        surrogate: Surrogate gradient of the step.

    Shape:
        - Input: :math:`(T, N, *)`, real-valued current.
        - Output: :math:`(T, N, *)`, values in {0, 1}.
        - State: :math:`(N, *)`, the potential.

    Raises:
        SnnferError: `init_tau` is not above 1.
        ShapeError: the input has fewer than two dimensions.
        StateError: the state does not fit the input.

    References:
        Fang et al., "Incorporating Learnable Membrane Time Constant to Enhance Learning of Spiking Neural Networks",
        ICCV 2021, eq. (8)-(10).

    Examples:
        >>> neuron = PLIF(init_tau=2.0)
        >>> neuron(torch.tensor([[0.6], [0.9], [1.5], [0.2], [3.0]]))[:, 0].detach()
        tensor([0., 1., 1., 0., 1.])
        >>> round(neuron.tau, 3)
        2.0
    """

    def __init__(
        self,
        *,
        init_tau: float = 2.0,
        v_threshold: float = 1.0,
        v_reset: float = 0.0,
        reset: Reset = "hard",
        decay_input: bool = False,
        detach_reset: bool = True,
        surrogate: Surrogate = _ATAN,
    ) -> None:
        super().__init__(
            v_threshold=v_threshold, v_reset=v_reset, reset=reset, detach_reset=detach_reset, surrogate=surrogate
        )
        functional.check_tau(init_tau)
        self.init_tau = init_tau
        self.decay_input = decay_input
        self.w = nn.Parameter(torch.tensor(-math.log(init_tau - 1)))

    @property
    def tau(self) -> float:
        """Present membrane time constant, in time steps."""
        return 1 / torch.sigmoid(self.w.detach().double()).item()

    def forward_with_state(
        self, x: torch.Tensor, state: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return functional.plif(x, state, w=self.w, decay_input=self.decay_input, **self._firing())

    def dynamics(self) -> tuple[Dynamics, torch.Tensor]:
        return Dynamics(decay_input=self.decay_input, **self._firing()), self.w.sigmoid()

    def settings(self) -> dict[str, Any]:
        return {"init_tau": self.init_tau, "decay_input": self.decay_input, **self._firing()}


@register_neuron
class LI(Neuron):
    r"""Leaky integrator: a membrane without threshold, used as a readout.

    .. math::
        v_t = v_{t-1} + \tfrac{1}{\tau}\,(x_t - (v_{t-1} - v_\text{rest}))

    With ``decay_input=False``: :math:`v_t = v_{t-1} - \tfrac{1}{\tau}(v_{t-1} - v_\text{rest}) + x_t`.

    Args:
        tau: Membrane time constant, in time steps, > 1.
        v_rest: Potential at rest.
        decay_input: Whether the input is scaled by 1 / tau.

    Shape:
        - Input: :math:`(T, N, *)`, real-valued current.
        - Output: :math:`(T, N, *)`, the potential after each step.
        - State: :math:`(N, *)`, the potential.

    Raises:
        SnnferError: `tau` is not above 1.
        ShapeError: the input has fewer than two dimensions.
        StateError: the state does not fit the input.

    Examples:
        >>> LI(tau=2.0)(torch.ones(3, 1))[:, 0]
        tensor([0.5000, 0.7500, 0.8750])
    """

    def __init__(self, *, tau: float = 2.0, v_rest: float = 0.0, decay_input: bool = True) -> None:
        super().__init__()
        functional.check_tau(tau)
        self.tau = tau
        self.v_rest = v_rest
        self.decay_input = decay_input

    def forward_with_state(
        self, x: torch.Tensor, state: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return functional.li(x, state, **self.settings())

    def settings(self) -> dict[str, Any]:
        return {"tau": self.tau, "v_rest": self.v_rest, "decay_input": self.decay_input}
