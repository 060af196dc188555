"""Surrogate gradients of other libraries, known by their values rather than by their names."""

from collections.abc import Callable

import torch

from snnfer.errors import ConversionError
from snnfer.neurons import ATan, Sigmoid, SuperSpike, Surrogate, Triangle

_KINDS: tuple[type[Surrogate], ...] = (ATan, Sigmoid, Triangle, SuperSpike)


def find_surrogate(step: Callable[[torch.Tensor], torch.Tensor], alpha: float) -> Surrogate | None:
    """The surrogate of snnfer with the derivative of `step`, or None.

    Libraries give one name to different functions, and some leave their parameter out of the derivative.

    Args:
        step: From potentials above threshold to spikes.
        alpha: What the other library calls the sharpness.

    Examples:
        >>> find_surrogate(Sigmoid(4.0), 4.0)
        Sigmoid(alpha=4.0)
    """
    u = torch.linspace(-2.25, 2.25, 80, dtype=torch.float64, requires_grad=True)  # not at 0
    spikes = step(u)
    if not torch.equal(spikes.detach(), (u.detach() > 0).to(u.dtype)) or not spikes.requires_grad:
        return None
    (derivative,) = torch.autograd.grad(spikes.sum(), u)
    sharpness = [a for a in dict.fromkeys((alpha, 2 * alpha, 1.0, 2.0)) if a > 0]
    for surrogate in (kind(a) for a in sharpness for kind in _KINDS):
        if torch.allclose(surrogate.derivative(u), derivative, rtol=1e-6, atol=1e-9):
            return surrogate
    return None


def or_replaced(found: Surrogate | None, name: str, kind: str, replacement: Surrogate | None) -> Surrogate:
    """`found`, or what takes the place of a surrogate without counterpart.

    Raises:
        ConversionError: neither is there.
    """
    surrogate = found or replacement
    if surrogate is None:
        raise ConversionError(
            f"'{name}' trains with the surrogate gradient {kind}",
            expected="one that both libraries have: ATan, Sigmoid, Triangle, or SuperSpike where it is the same",
            fix="pass replace_surrogate=snnfer.neurons.ATan(2.0), which changes training alone, and no spike",
        )
    return surrogate
