"""Neurons as pure functions over a whole sequence: parameters in, ``(spikes, state)`` out.

Time is the first dimension; the state is the membrane potential after the last step. Half-precision inputs are
integrated in float32 and the spikes are returned in the dtype of the input. The same equations written one step at a
time with ordinary autograd are in `snnfer.neurons.steps`; both give the same bits.
"""

import torch

from snnfer.errors import ShapeError, SnnferError, StateError
from snnfer.neurons._dynamics import Dynamics, Reset
from snnfer.neurons._leaky_sequence import leaky_sequence
from snnfer.neurons._soft_spike import soft_spike
from snnfer.neurons.kernels._dispatch import spiking_sequence
from snnfer.neurons.surrogate import ATan, Surrogate

_ATAN = ATan()


def if_(
    x: torch.Tensor,
    v: torch.Tensor | None = None,
    *,
    v_threshold: float = 1.0,
    v_reset: float = 0.0,
    reset: Reset = "hard",
    detach_reset: bool = True,
    surrogate: Surrogate = _ATAN,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Integrate-and-fire over a sequence; see `snnfer.neurons.IF` for the equation and the arguments.

    Args:
        x: Input current ``[T, N, *]``.
        v: Initial potential ``[N, *]``; at rest (`v_reset`) where None.

    Returns:
        Spikes ``[T, N, *]`` and the potential after the last step ``[N, *]``.

    Examples:
        >>> spikes, v = if_(torch.full((4, 1), 0.5))
        >>> spikes[:, 0], v
        (tensor([0., 1., 0., 1.]), tensor([0.]))
    """
    dynamics = Dynamics(surrogate, v_threshold, v_reset, reset, detach_reset=detach_reset)
    return _spiking(x, v, None, dynamics)


def lif(
    x: torch.Tensor,
    v: torch.Tensor | None = None,
    *,
    tau: float = 2.0,
    v_threshold: float = 1.0,
    v_reset: float = 0.0,
    reset: Reset = "hard",
    decay_input: bool = True,
    detach_reset: bool = True,
    surrogate: Surrogate = _ATAN,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Leaky integrate-and-fire over a sequence; see `snnfer.neurons.LIF` for the equation and the arguments.

    Args:
        x: Input current ``[T, N, *]``.
        v: Initial potential ``[N, *]``; at rest (`v_reset`) where None.

    Returns:
        Spikes ``[T, N, *]`` and the potential after the last step ``[N, *]``.

    Examples:
        >>> spikes, v = lif(torch.full((4, 1), 1.5), tau=2.0)
        >>> spikes[:, 0]
        tensor([0., 1., 0., 1.])
    """
    check_tau(tau)
    return _spiking(x, v, None, Dynamics(surrogate, v_threshold, v_reset, reset, decay_input, detach_reset, tau))


def plif(
    x: torch.Tensor,
    v: torch.Tensor | None = None,
    *,
    w: torch.Tensor,
    v_threshold: float = 1.0,
    v_reset: float = 0.0,
    reset: Reset = "hard",
    decay_input: bool = False,
    detach_reset: bool = True,
    surrogate: Surrogate = _ATAN,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Parametric LIF over a sequence; see `snnfer.neurons.PLIF` for the equation and the arguments.

    Args:
        x: Input current ``[T, N, *]``.
        v: Initial potential ``[N, *]``; at rest (`v_reset`) where None.
        w: Leak parameter, 1 / tau = sigmoid(w); a scalar, or any shape that broadcasts to ``[N, *]``.

    Returns:
        Spikes ``[T, N, *]`` and the potential after the last step ``[N, *]``.

    Examples:
        >>> spikes, v = plif(torch.tensor([[0.6], [0.9], [1.5], [0.2], [3.0]]), w=torch.tensor(0.0))
        >>> spikes[:, 0]
        tensor([0., 1., 1., 0., 1.])
    """
    _check_rate_shape(w, x)
    return _spiking(x, v, w.sigmoid(), Dynamics(surrogate, v_threshold, v_reset, reset, decay_input, detach_reset))


def li(
    x: torch.Tensor,
    v: torch.Tensor | None = None,
    *,
    tau: float = 2.0,
    v_rest: float = 0.0,
    decay_input: bool = True,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Leaky integrator (no spikes) over a sequence; see `snnfer.neurons.LI`.

    Args:
        x: Input current ``[T, N, *]``.
        v: Initial potential ``[N, *]``; `v_rest` where None.

    Returns:
        Potentials ``[T, N, *]`` and the potential after the last step ``[N, *]``.

    Examples:
        >>> potentials, v = li(torch.ones(3, 1), tau=2.0)
        >>> potentials[:, 0]
        tensor([0.5000, 0.7500, 0.8750])
    """
    check_tau(tau)
    dynamics = Dynamics(_ATAN, v_rest + 1, v_rest, decay_input=decay_input, tau=tau)
    current, v = prepare(x, v, v_rest)
    potentials = leaky_sequence(current, v, dynamics)
    return potentials.to(x.dtype), potentials[-1] if len(x) else v


def soft_spiking(x: torch.Tensor, *, theta: float = 0.5, beta: float = 4.0) -> tuple[torch.Tensor, None]:
    """Soft spiking activation, without memory; see `snnfer.neurons.SoftSpiking`.

    Args:
        x: Input ``[T, N, *]``.
        theta: Threshold; inputs above it pass unchanged.
        beta: Sharpness of the gradient, > 0.

    Returns:
        Output ``[T, N, *]`` and None, because there is no state.

    Examples:
        >>> soft_spiking(torch.tensor([[0.4, 0.6]]))[0]
        tensor([[0.0000, 0.6000]])
    """
    check_input(x)
    return soft_spike(x, theta, beta), None


def check_tau(tau: float) -> None:
    """Raise `SnnferError` unless `tau`, in time steps, is above one."""
    if not tau > 1:
        raise SnnferError(
            f"tau = {tau}",
            expected="a membrane time constant above 1, in time steps",
            cause="a time constant in seconds or milliseconds",
            fix="divide it by the duration of a step",
        )


def check_input(x: torch.Tensor) -> None:
    """Raise unless `x` holds floats and has the dimensions ``[T, N, *]``."""
    if x.ndim < 2:
        raise ShapeError(
            f"the input of a neuron has shape {list(x.shape)}",
            expected="at least two dimensions [T, N, *]",
            fix="add the batch dimension with x[:, None]",
        )
    if not x.is_floating_point():
        raise SnnferError(f"the input of a neuron has dtype {x.dtype}", expected="floats", fix="call x.float()")


def prepare(x: torch.Tensor, v: torch.Tensor | None, v_rest: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Input and initial potential in the dtype of the integration (float32 for half precision)."""
    check_input(x)
    current = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    if v is None:
        like = current[0] if len(x) else current.new_empty(x.shape[1:])
        return current, torch.full_like(like, v_rest)
    if v.shape != x.shape[1:] or v.dtype != current.dtype or v.device != x.device:
        raise StateError(
            f"a state of shape {list(v.shape)}, {v.dtype} on {v.device} with an input of shape {list(x.shape)}",
            expected=f"a state of shape {list(x.shape[1:])}, {current.dtype} on {x.device}",
            cause="the state of another batch, layer or device",
            fix="pass state=None to start from rest",
        )
    return current, v


def _spiking(
    x: torch.Tensor, v: torch.Tensor | None, rate: torch.Tensor | None, dynamics: Dynamics
) -> tuple[torch.Tensor, torch.Tensor]:
    current, v = prepare(x, v, dynamics.v_reset)
    rate = rate.to(current.dtype) if rate is not None else None
    spikes, v = spiking_sequence(current, v, rate, dynamics)
    return spikes.to(x.dtype), v


def _check_rate_shape(w: torch.Tensor, x: torch.Tensor) -> None:
    shape = x.shape[1:]
    trailing = zip(reversed(w.shape), reversed(shape), strict=False)
    if w.ndim > len(shape) or any(a not in (1, b) for a, b in trailing):
        raise ShapeError(
            f"w has shape {list(w.shape)}", expected=f"a scalar or a shape that broadcasts to {list(shape)}"
        )
