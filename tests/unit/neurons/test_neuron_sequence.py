"""The sequence functions against a naive loop over the step functions with ordinary autograd."""

import itertools

import pytest
import torch

from snnfer.errors import ShapeError, SnnferError, StateError
from snnfer.neurons import ATan, Sigmoid, functional, steps

FIRING = [
    {"reset": reset, "detach_reset": detach, "v_reset": v_reset, "v_threshold": 0.9, "surrogate": Sigmoid(2.0)}
    for reset, detach, v_reset in itertools.product(("hard", "soft"), (True, False), (0.0, -0.3))
]
PAIRS = {"if": (functional.if_, steps.if_step, [{}])}
PAIRS["lif"] = (functional.lif, steps.lif_step, [{"tau": 2.7, "decay_input": d} for d in (True, False)])
PAIRS["plif"] = (functional.plif, steps.plif_step, [{"decay_input": d} for d in (True, False)])
CASES = [
    pytest.param(sequence, step, {**firing, **extra}, id=f"{name}-{extra}-{i}")
    for name, (sequence, step, extras) in PAIRS.items()
    for extra in extras
    for i, firing in enumerate(FIRING)
]


def loop(step, x, v, **kwargs):
    outputs = []
    for x_t in x.unbind(0):
        y, v = step(x_t, v, **kwargs)
        outputs.append(y)
    return torch.stack(outputs), v


def tensors(dtype, w_shape=()):
    generator = torch.Generator().manual_seed(1)
    x = 1.5 * torch.randn(15, 3, 4, 5, generator=generator, dtype=dtype)
    v = torch.rand(3, 4, 5, generator=generator, dtype=dtype)
    w = torch.randn(w_shape, generator=generator, dtype=dtype)
    weights = torch.randn(15, 3, 4, 5, generator=generator, dtype=dtype)
    return x.requires_grad_(), v.requires_grad_(), w.requires_grad_(), weights


def gradients(spikes, last, weights, inputs):
    return torch.autograd.grad((spikes * weights).sum() + (last * weights[0]).sum(), inputs)


@pytest.mark.parametrize(("sequence", "step", "kwargs"), CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sequence_equals_the_loop_over_steps_bit_for_bit(sequence, step, kwargs, dtype):
    x, v, w, _ = tensors(dtype)
    extra = {"w": w} if sequence is functional.plif else {}
    spikes, last = sequence(x, v, **kwargs, **extra)
    expected, expected_last = loop(step, x, v, **kwargs, **extra)
    assert 0 < spikes.mean() < 1
    assert torch.equal(spikes, expected)
    assert torch.equal(last, expected_last)


@pytest.mark.parametrize(("sequence", "step", "kwargs"), CASES)
def test_gradients_equal_the_loop_over_steps(sequence, step, kwargs):
    x, v, w, weights = tensors(torch.float64)
    extra = {"w": w} if sequence is functional.plif else {}
    inputs = (x, v, w) if extra else (x, v)
    ours = gradients(*sequence(x, v, **kwargs, **extra), weights, inputs)
    expected = gradients(*loop(step, x, v, **kwargs, **extra), weights, inputs)
    for a, b in zip(ours, expected, strict=True):
        assert b.abs().max() > 1e-3
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


@pytest.mark.parametrize("w_shape", [(1,), (5,), (4, 1), (3, 4, 5)])
@pytest.mark.parametrize("decay_input", [True, False])
def test_the_leak_of_plif_may_differ_between_neurons(w_shape, decay_input):
    x, v, w, weights = tensors(torch.float64, w_shape)
    kwargs = {"w": w, "decay_input": decay_input}
    ours = gradients(*functional.plif(x, v, **kwargs), weights, (x, v, w))
    expected = gradients(*loop(steps.plif_step, x, v, **kwargs), weights, (x, v, w))
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


@pytest.mark.parametrize("decay_input", [True, False])
def test_leaky_integrator_equals_the_loop_and_gradcheck(decay_input):
    x, v, _, _ = tensors(torch.float64)
    kwargs = {"tau": 3.0, "v_rest": 0.2, "decay_input": decay_input}
    potentials, last = functional.li(x, v, **kwargs)
    expected, expected_last = loop(steps.li_step, x, v, **kwargs)
    assert torch.equal(potentials, expected)
    assert torch.equal(last, expected_last)
    small = x[:4, :2, :2, 0].detach().requires_grad_()
    start = v[:2, :2, 0].detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: functional.li(a, b, **kwargs), (small, start))


def test_only_the_needed_gradients_are_computed():
    x, v, w, weights = tensors(torch.float64)
    expected = gradients(*functional.plif(x, v, w=w), weights, (x, v, w))
    for i, name in enumerate("xvw"):
        args = {"x": x.detach(), "v": v.detach(), "w": w.detach()}
        args[name].requires_grad_()
        spikes, last = functional.plif(args["x"], args["v"], w=args["w"])
        (grad,) = gradients(spikes, last, weights, (args[name],))
        assert torch.equal(grad, expected[i])


def test_inference_equals_training():
    x, v, w, _ = tensors(torch.float32)
    spikes, last = functional.plif(x, v, w=w)
    with torch.no_grad():
        inferred, inferred_last = functional.plif(x, v, w=w)
    assert torch.equal(spikes, inferred)
    assert torch.equal(last, inferred_last)


@pytest.mark.parametrize("layout", ["transposed", "channels_last", "expanded"])
def test_memory_layout_does_not_matter(layout):
    x = torch.randn(6, 4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    if layout == "transposed":
        view = x.transpose(0, 1).contiguous().transpose(0, 1)
    elif layout == "channels_last":
        view = x.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    else:
        x = x[:, :1].expand(6, 4, 3, 5, 5).contiguous()
        view = x[:, :1].expand(6, 4, 3, 5, 5)
    results = []
    for tensor in (x, view):
        tensor = tensor.detach().requires_grad_()
        spikes, last = functional.lif(tensor, tau=2.0, decay_input=False)
        (grad,) = torch.autograd.grad(spikes.sum() + last.sum(), tensor)
        results.append((spikes, last, grad))
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)


def test_half_precision_is_integrated_in_float32():
    x = torch.rand(40, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    spikes, v = functional.lif(x, tau=20.0)
    expected, expected_v = functional.lif(x.float(), tau=20.0)
    assert spikes.dtype == torch.bfloat16
    assert v.dtype == torch.float32
    assert torch.equal(spikes.float(), expected)
    assert torch.equal(v, expected_v)


def test_empty_sequence_keeps_the_state():
    v = torch.rand(2, 3, requires_grad=True)
    spikes, last = functional.lif(torch.empty(0, 2, 3), v)
    assert spikes.shape == (0, 2, 3)
    assert torch.equal(last, v)
    assert torch.equal(torch.autograd.grad(last.sum(), v)[0], torch.ones(2, 3))
    assert torch.equal(functional.li(torch.empty(0, 2, 3), v)[1], v)


def test_soft_spiking_gradient_is_the_formula():
    x = torch.linspace(-1, 2, 31, dtype=torch.float64).reshape(1, 31).requires_grad_()
    y, state = functional.soft_spiking(x, theta=0.3, beta=5.0)
    (grad,) = torch.autograd.grad(y.sum(), x)
    assert state is None
    assert torch.equal(y, torch.where(x > 0.3, x, 0.0))
    torch.testing.assert_close(grad, 1 / (1 + torch.exp(-5.0 * (x - 0.3))))


def test_errors_name_what_was_given():
    x = torch.zeros(2, 3)
    with pytest.raises(SnnferError, match=r"tau = 1.0; expected a membrane time constant above 1"):
        functional.lif(x, tau=1.0)
    with pytest.raises(SnnferError, match=r"reset = 'none'; expected 'hard'"):
        functional.if_(x, reset="none")
    with pytest.raises(SnnferError, match=r"v_threshold = 0.0 with v_reset = 0.0"):
        functional.if_(x, v_threshold=0.0)
    with pytest.raises(ShapeError, match=r"w has shape \[2\]; expected a scalar or a shape that broadcasts to \[3\]"):
        functional.plif(x, w=torch.zeros(2))
    with pytest.raises(SnnferError, match=r"dtype torch.int64; expected floats"):
        functional.if_(x.long())
    with pytest.raises(StateError, match=r"torch.float64 .* expected a state of shape \[3\], torch.float32"):
        functional.if_(x, torch.zeros(3, dtype=torch.float64))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_cpu():
    x, v, w, weights = tensors(torch.float64)
    ours = gradients(*functional.plif(x, v, w=w, surrogate=ATan()), weights, (x, v, w))
    moved = [a.detach().cuda().requires_grad_() for a in (x, v, w)]
    spikes, last = functional.plif(moved[0], moved[1], w=moved[2])
    for a, b in zip(ours, gradients(spikes, last, weights.cuda(), moved), strict=True):
        torch.testing.assert_close(a, b.cpu(), rtol=0, atol=1e-10)
