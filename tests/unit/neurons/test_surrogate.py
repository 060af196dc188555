"""Surrogate gradients against closed forms, spikingjelly and norse."""

import math

import pytest
import torch

from snnfer.errors import SnnferError
from snnfer.neurons import ATan, Sigmoid, SuperSpike, Surrogate, Triangle

POINTS = torch.linspace(-2, 2, 81, dtype=torch.float64)
CLOSED_FORMS = {
    ATan: lambda u, a: a / 2 / (1 + (math.pi / 2 * a * u) ** 2),
    Sigmoid: lambda u, a: a * math.exp(-a * u) / (1 + math.exp(-a * u)) ** 2,
    Triangle: lambda u, a: max(0.0, a - a * a * abs(u)),
    SuperSpike: lambda u, a: 1 / (1 + a * abs(u)) ** 2,
}
CASES = [(cls, alpha) for cls in CLOSED_FORMS for alpha in (0.7, 2.0, 5.0)]


@pytest.mark.parametrize(("cls", "alpha"), CASES)
def test_derivative_equals_the_closed_form(cls, alpha):
    expected = [CLOSED_FORMS[cls](u, alpha) for u in POINTS.tolist()]
    torch.testing.assert_close(cls(alpha).derivative(POINTS), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize(("cls", "alpha"), CASES)
def test_spikes_are_the_step_and_carry_the_derivative(cls, alpha):
    u = POINTS.clone().requires_grad_()
    spikes = cls(alpha)(u)
    (grad,) = torch.autograd.grad(spikes, u, torch.full_like(u, 3.0))
    assert torch.equal(spikes, (POINTS >= 0).double())
    torch.testing.assert_close(grad, 3 * cls(alpha).derivative(POINTS))


def test_derivative_leaves_its_argument_alone():
    u = POINTS.clone()
    for cls in CLOSED_FORMS:
        cls().derivative(u)
    assert torch.equal(u, POINTS)


@pytest.mark.parametrize(
    ("ours", "theirs"), [(ATan(3.0), "ATan"), (Sigmoid(3.0), "Sigmoid"), (Triangle(0.8), "PiecewiseQuadratic")]
)
def test_gradient_equals_spikingjelly(ours, theirs):
    surrogate = pytest.importorskip("spikingjelly.activation_based.surrogate")
    u = torch.linspace(-2, 2, 81).requires_grad_()
    (expected,) = torch.autograd.grad(getattr(surrogate, theirs)(alpha=ours.alpha)(u).sum(), u)
    torch.testing.assert_close(ours.derivative(u), expected, rtol=1e-6, atol=1e-6)


def test_superspike_gradient_equals_norse():
    threshold = pytest.importorskip("norse.torch.functional.threshold").threshold
    u = torch.linspace(-2, 2, 80).requires_grad_()
    (expected,) = torch.autograd.grad(threshold(u, "super", 1.0).sum(), u)  # norse 1.1 leaves alpha out
    torch.testing.assert_close(SuperSpike(1.0).derivative(u), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("cls", list(CLOSED_FORMS))
def test_alpha_must_be_positive(cls):
    with pytest.raises(SnnferError, match=r"alpha = 0; expected a value above 0"):
        cls(alpha=0)


def test_the_base_class_has_no_derivative():
    with pytest.raises(NotImplementedError):
        Surrogate().derivative(POINTS)
