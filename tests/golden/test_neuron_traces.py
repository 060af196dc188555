"""Golden traces and gradients: hand-computed numbers that must never change."""

import pytest
import torch

from snnfer.neurons import LIF, PLIF, ATan, functional

CURRENT = torch.tensor([0.6, 0.9, 1.5, 0.2, 3.0], dtype=torch.float64).reshape(5, 1)
TRACES = {  # decay_input -> potential before the reset, tau = 2, threshold 1, hard reset to 0
    False: [0.6, 1.2, 1.5, 0.2, 3.1],
    True: [0.3, 0.6, 1.05, 0.1, 1.55],
}


def charged_potentials(neuron):
    """The potential before the reset, read from a copy of the step whose threshold is out of reach."""
    potentials, state = [], None
    for x in CURRENT.split(1):
        rate = 1 / neuron.tau
        v = torch.zeros(1, dtype=torch.float64) if state is None else state
        never = {"v_threshold": 1e9, "decay_input": neuron.decay_input}
        potentials.append(functional.lif(x, v, tau=1 / rate, **never)[1].item())
        state = neuron.forward_with_state(x, state)[1]
    return potentials


@pytest.mark.parametrize("decay_input", [True, False])
@pytest.mark.parametrize("make", [lambda d: LIF(tau=2.0, decay_input=d), lambda d: PLIF(decay_input=d)])
def test_golden_trace(make, decay_input):
    neuron = make(decay_input)
    expected = TRACES[decay_input]
    assert charged_potentials(neuron) == pytest.approx(expected, abs=1e-12)
    spikes = neuron(CURRENT)[:, 0].tolist()
    assert spikes == [float(h >= 1) for h in expected]


def test_golden_atan_gradients():
    u = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0])
    expected = torch.tensor([0.0920, 0.2884, 1.0, 0.2884, 0.0920])
    torch.testing.assert_close(ATan(alpha=2.0).derivative(u), expected, rtol=0, atol=5e-5)


def test_golden_plif_gradient():
    """Two steps by hand: x = (0.5, 0.9), w = 0, so h = (0.5, 0.25 + 0.9) and only the second step fires.

    With g(u) = 1 / (1 + (pi u)^2): ds2/dx2 = g(0.15), ds2/dx1 = g(0.15) / 2, ds2/dw = -g(0.15) * 0.5 * sigmoid'(0).
    """
    x = torch.tensor([[0.5], [0.9]], dtype=torch.float64, requires_grad=True)
    w = torch.zeros((), dtype=torch.float64, requires_grad=True)
    spikes, _ = functional.plif(x, w=w)
    grad_x, grad_w = torch.autograd.grad(spikes[1, 0], (x, w))
    g = 1 / (1 + (torch.pi * 0.15) ** 2)
    assert spikes[:, 0].tolist() == [0.0, 1.0]
    torch.testing.assert_close(grad_x[:, 0], torch.tensor([g / 2, g], dtype=torch.float64))
    torch.testing.assert_close(grad_w, torch.tensor(-g * 0.5 * 0.25, dtype=torch.float64))
