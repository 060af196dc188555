"""IF, LIF and LI against norse where the equations coincide.

norse's LIF box model, dv = dt tau_mem_inv (v_leak - v + i), is our LIF with decay_input=True, v_leak = v_reset and
tau = 1 / (dt tau_mem_inv); its IAF is our IF; its leaky integrator box model is our LI. norse does not detach the
reset, and fires above the threshold where we fire at it (no test input meets the threshold exactly). norse multiplies
by dt * tau_mem_inv where we divide by tau, so potentials agree to float32 rounding. The backward pass of norse 1.1's
SuperSpike leaves alpha out, so the surrogates coincide at alpha = 1.
"""

import pytest
import torch

from snnfer.neurons import IF, LI, LIF, SuperSpike
from snnfer.neurons.adapters import from_norse

pytest.importorskip("norse", reason="needs snnfer[norse]")

DT = 0.004
TAU_MEM_INV = 100.0  # 1 / s, so tau = 1 / (0.004 * 100) = 2.5 steps


def make_input():
    generator = torch.Generator().manual_seed(5)
    return 2 * torch.rand(25, 3, 7, generator=generator), torch.randn(25, 3, 7, generator=generator)


def check_equal(ours, theirs):
    x, weights = make_input()
    results = []
    for neuron in (ours, theirs):
        leaf = x.clone().requires_grad_()
        y = neuron(leaf)
        results.append((y.detach(), torch.autograd.grad(y, leaf, weights)[0]))
    (y, grad), (expected, expected_grad) = results
    if set(expected.unique().tolist()) <= {0.0, 1.0}:
        assert 0.02 < expected.mean() < 0.98
        assert torch.equal(y, expected)
    torch.testing.assert_close(y, expected, rtol=1e-6, atol=1e-6)
    assert (grad - expected_grad).abs().max() <= 2e-5 * expected_grad.abs().max()


@pytest.mark.parametrize("v_reset", [0.0, -0.2])
@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_lif_equals_the_box_model(v_reset, reset):
    from norse.torch import LIFBoxCell, LIFBoxParameters
    from norse.torch.functional.reset import reset_subtract, reset_value

    parameters = LIFBoxParameters(
        tau_mem_inv=torch.tensor(TAU_MEM_INV),
        v_leak=torch.tensor(v_reset),
        v_reset=torch.tensor(v_reset),
        alpha=torch.tensor(1.0),
        reset_method=reset_value if reset == "hard" else reset_subtract,
    )
    ours = LIF(tau=1 / (DT * TAU_MEM_INV), v_reset=v_reset, reset=reset, detach_reset=False, surrogate=SuperSpike(1.0))
    check_equal(ours, from_norse(LIFBoxCell(parameters, dt=DT)))


def test_if_equals_iaf():
    from norse.torch import IAFCell, IAFParameters

    parameters = IAFParameters(alpha=torch.tensor(1.0))
    check_equal(IF(detach_reset=False, surrogate=SuperSpike(1.0)), from_norse(IAFCell(parameters)))


def test_li_equals_the_leaky_integrator_box_model():
    from norse.torch import LIBoxCell, LIBoxParameters

    parameters = LIBoxParameters(tau_mem_inv=torch.tensor(TAU_MEM_INV), v_leak=torch.tensor(0.3))
    check_equal(LI(tau=1 / (DT * TAU_MEM_INV), v_rest=0.3), from_norse(LIBoxCell(parameters, dt=DT)))
