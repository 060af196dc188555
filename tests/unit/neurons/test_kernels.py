"""Every kernel against the reference in plain torch: the same spikes, gradients within 1e-5."""

import contextlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snnfer.errors import KernelError, SnnferError
from snnfer.neurons import (
    IF,
    LIF,
    PLIF,
    ATan,
    Sigmoid,
    SuperSpike,
    Surrogate,
    Triangle,
    functional,
    kernel_status,
    use_kernel,
)
from snnfer.neurons.kernels import _library

needs_cpu = pytest.mark.skipif(not kernel_status("cpu").available, reason=kernel_status("cpu").reason)

neurons = st.fixed_dictionaries(
    {
        "v_threshold": st.sampled_from([0.5, 0.9, 1.0, 1.7]),
        "v_reset": st.sampled_from([0.0, -0.3, 0.2]),
        "reset": st.sampled_from(["hard", "soft"]),
        "detach_reset": st.booleans(),
        "surrogate": st.sampled_from([ATan(), ATan(3.0), Sigmoid(), Triangle(), SuperSpike()]),
    }
)
leaks = st.sampled_from(["none", "tau", "rate", "rates"])


def run(leak, x, v, w, decay_input, options):
    if leak == "none":
        return functional.if_(x, v, **options)
    if leak == "tau":
        return functional.lif(x, v, tau=2.7, decay_input=decay_input, **options)
    return functional.plif(x, v, w=w, decay_input=decay_input, **options)


def outcome(kernel, leak, tensors, weights, decay_input, options):
    x, v, w = (a.detach().clone(memory_format=torch.preserve_format).requires_grad_() for a in tensors)
    with use_kernel(kernel) if kernel else contextlib.nullcontext():
        spikes, last = run(leak, x, v, w, decay_input, options)
    inputs = (x, v, w) if leak.startswith("rate") else (x, v)
    return spikes, last, torch.autograd.grad((spikes * weights).sum() + (last * weights[0]).sum(), inputs)


def inputs_of(leak, shape, dtype, seed, *, channels_last):
    generator = torch.Generator().manual_seed(seed)
    x = 1.5 * torch.randn(shape, generator=generator, dtype=dtype)
    if channels_last and len(shape) == 5:
        x = x.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    v = torch.rand(shape[1:], generator=generator, dtype=dtype)
    w_shape = (shape[2], *[1] * (len(shape) - 3)) if leak == "rates" and len(shape) > 2 else ()
    return (x, v, torch.randn(w_shape, generator=generator, dtype=dtype)), torch.randn(shape, generator=generator)


@needs_cpu
@settings(max_examples=150, deadline=None)
@given(
    leak=leaks, options=neurons, decay_input=st.booleans(), n_steps=st.integers(1, 60), seed=st.integers(0, 2**20),
    shape=st.sampled_from([(3,), (1, 7), (2, 5, 3, 4), (3, 2, 9, 8), (2, 2100)]), channels_last=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)  # fmt: skip
def test_compiled_neurons_equal_the_reference(leak, options, decay_input, n_steps, seed, shape, channels_last, dtype):
    tensors, weights = inputs_of(leak, (n_steps, *shape), dtype, seed, channels_last=channels_last)
    weights = weights.to(dtype)
    spikes, last, gradients = outcome("cpu", leak, tensors, weights, decay_input, options)
    expected, expected_last, expected_gradients = outcome("reference", leak, tensors, weights, decay_input, options)
    assert torch.equal(spikes, expected)
    torch.testing.assert_close(last, expected_last, rtol=0, atol=1e-37)  # the kernel takes subnormals for 0
    x, v, w = tensors
    apart = outcome("reference", leak, (x, v, w.expand_as(v)), weights, decay_input, options)[2]  # a rate per neuron
    for ours, reference, terms in zip(gradients, expected_gradients, apart, strict=True):
        scale = terms.abs().sum() if terms.shape != reference.shape else reference.abs().max()
        assert (ours - reference).abs().max() <= 1e-5 * scale.clamp(min=1e-20)


@needs_cpu
@pytest.mark.parametrize("n_steps", [0, 1, 200])
def test_any_number_of_steps(n_steps):
    x = torch.randn(n_steps, 2, 6, generator=torch.Generator().manual_seed(0))
    with use_kernel("cpu"):
        spikes, last = functional.lif(x)
    with use_kernel("reference"):
        expected, expected_last = functional.lif(x)
    assert torch.equal(spikes, expected)
    assert torch.equal(last, expected_last)


@needs_cpu
def test_channels_last_input_gives_channels_last_spikes():
    x = torch.randn(5, 2, 4, 4, 3).permute(0, 1, 4, 2, 3)
    with use_kernel("cpu"):
        assert PLIF()(x).stride() == x.stride()


@needs_cpu
def test_several_threads_give_the_same_bits():
    x = torch.randn(9, 3, 20_000, generator=torch.Generator().manual_seed(3)).requires_grad_()
    neuron, found = PLIF(), []
    before = torch.get_num_threads()
    try:
        for threads in (1, 4):
            torch.set_num_threads(threads)
            with use_kernel("cpu"):
                spikes = neuron(x)
            found.append((spikes, *torch.autograd.grad(spikes.cumsum(0).sum(), (x, *neuron.parameters()))))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@needs_cpu
def test_by_default_a_cpu_tensor_takes_the_compiled_kernel(monkeypatch):
    called = []
    monkeypatch.setattr(_library, "function", lambda name: called.append(name) or (lambda *arguments: None))
    IF()(torch.randn(3, 2, 5))
    assert called == ["neuron_forward_f32"]


@needs_cpu
def test_a_surrogate_of_ones_own_runs_in_plain_torch_unless_the_kernel_was_demanded():
    class Flat(Surrogate):
        def derivative_(self, u):
            return u.fill_(self.alpha)

    neuron = LIF(surrogate=Flat(2.0))
    x = torch.randn(4, 2, 3, requires_grad=True)
    neuron(x).sum().backward()
    assert x.grad is not None
    with use_kernel("cpu"), pytest.raises(KernelError, match="Flat"):
        neuron(x)


def test_an_unknown_kernel_is_named():
    with pytest.raises(SnnferError, match="reference, cpu, triton"), use_kernel("gpu"):
        pass


def test_a_missing_library_is_an_error_that_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setattr(_library, "PATH", tmp_path / "missing.so")
    _library._load.cache_clear()
    try:
        assert not kernel_status("cpu").available
        with pytest.raises(KernelError, match="compiler"), use_kernel("cpu"):
            pass
        assert LIF()(torch.full((4, 1), 1.5)).sum() == 2  # plain torch
    finally:
        _library._load.cache_clear()


def test_a_foreign_library_is_not_loaded(monkeypatch, tmp_path):
    (tmp_path / "broken.so").write_bytes(b"no library")
    monkeypatch.setattr(_library, "PATH", tmp_path / "broken.so")
    _library._load.cache_clear()
    try:
        assert "cannot be loaded" in kernel_status("cpu").reason
    finally:
        _library._load.cache_clear()


def test_the_choice_ends_with_the_context():
    with contextlib.suppress(ValueError), use_kernel("reference"):
        raise ValueError
    from snnfer.neurons.kernels._select import chosen_kernel

    assert chosen_kernel(torch.ones(1))[1] is False
