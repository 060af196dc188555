"""IF, LIF and PLIF against spikingjelly: spikes identical, float32 gradients of the input within 1e-6.

The tolerance is absolute up to gradients of 1 and relative to the largest gradient above. The gradient of w is a sum of
6,000 terms of both signs, which the two libraries add in another order: 5e-6. In float64 all are within 1e-10.
"""

import itertools

import pytest
import torch

from snnfer.neurons import IF, LIF, PLIF, ATan

sj_neuron = pytest.importorskip("spikingjelly.activation_based.neuron", reason="needs snnfer[spikingjelly]")
sj_surrogate = pytest.importorskip("spikingjelly.activation_based.surrogate")

OPTIONS = list(itertools.product(("hard", "soft"), (True, False), (True, False)))


def make_pair(name, reset, decay_input, detach_reset):
    ours = {"reset": reset, "detach_reset": detach_reset, "v_threshold": 0.8, "surrogate": ATan(2.0)}
    theirs = {
        "v_reset": 0.0 if reset == "hard" else None,
        "v_threshold": 0.8,
        "detach_reset": detach_reset,
        "surrogate_function": sj_surrogate.ATan(alpha=2.0),
        "step_mode": "m",
    }
    if name == "IF":
        return IF(**ours), sj_neuron.IFNode(**theirs)
    if name == "LIF":
        return LIF(tau=3.0, decay_input=decay_input, **ours), sj_neuron.LIFNode(3.0, decay_input, **theirs)
    return PLIF(init_tau=3.0, decay_input=decay_input, **ours), sj_neuron.ParametricLIFNode(3.0, decay_input, **theirs)


def run(neuron, x, weights):
    x = x.clone().requires_grad_()
    spikes = neuron(x)
    parameters = list(neuron.parameters())
    return spikes, *torch.autograd.grad(spikes, [x, *parameters], weights)


def assert_within(ours, theirs, tolerance):
    assert (ours - theirs).abs().max() <= tolerance * max(1.0, float(theirs.abs().max()))


@pytest.mark.parametrize(("dtype", "tolerances"), [(torch.float32, (1e-6, 5e-6)), (torch.float64, (1e-10, 1e-10))])
@pytest.mark.parametrize("name", ["IF", "LIF", "PLIF"])
@pytest.mark.parametrize(("reset", "decay_input", "detach_reset"), OPTIONS)
def test_spikes_and_gradients_equal_spikingjelly(name, reset, decay_input, detach_reset, dtype, tolerances):
    generator = torch.Generator().manual_seed(3)
    x = 1.5 * torch.rand(30, 4, 8, 6, generator=generator, dtype=dtype)
    weights = torch.randn(x.shape, generator=generator, dtype=dtype)
    ours, theirs = (neuron.to(dtype) for neuron in make_pair(name, reset, decay_input, detach_reset))
    spikes, *grads = run(ours, x, weights)
    expected, *expected_grads = run(theirs, x, weights)
    assert 0.02 < expected.mean() < 0.98
    assert torch.equal(spikes, expected)
    for a, b, tolerance in zip(grads, expected_grads, tolerances, strict=False):
        assert_within(a, b, tolerance)
    assert len(grads) == len(expected_grads)
    v = ours.forward_with_state(x)[1]
    torch.testing.assert_close(v, theirs.v, rtol=0, atol=0)


def test_w_starts_where_spikingjelly_starts():
    for tau in (1.5, 2.0, 7.0):
        assert PLIF(init_tau=tau).w.item() == sj_neuron.ParametricLIFNode(init_tau=tau).w.item()
