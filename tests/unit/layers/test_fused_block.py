"""The compiled kernel behind a convolution against the modules that it stands in for."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from snnfer.errors import ShapeError, StateError
from snnfer.layers import SEWBlock, SpikingConv2d, SpikingSequential, ThresholdDependentBatchNorm2d, TimeBatchNorm2d
from snnfer.layers._block import fused_block
from snnfer.neurons import IF, LIF, PLIF, ATan, Sigmoid, SuperSpike, Triangle, kernel_status, use_kernel
from snnfer.neurons.kernels import _block_cpu

pytestmark = pytest.mark.skipif(not kernel_status("cpu").available, reason=kernel_status("cpu").reason)

firing = st.fixed_dictionaries(
    {
        "v_threshold": st.sampled_from([0.5, 1.0, 1.3]),
        "v_reset": st.sampled_from([0.0, -0.3, 0.2]),
        "reset": st.sampled_from(["hard", "soft"]),
        "detach_reset": st.booleans(),
        "surrogate": st.sampled_from([ATan(), ATan(3.0), Sigmoid(), Triangle(), SuperSpike()]),
    }
)
NORMS = {
    "batch": TimeBatchNorm2d,
    "threshold": lambda n: ThresholdDependentBatchNorm2d(n, v_threshold=0.7),
    "cumulative": lambda n: TimeBatchNorm2d(n, momentum=None),  # type: ignore[arg-type]
    "plain": lambda n: without_parameters(TimeBatchNorm2d(n)),
    "none": nn.Identity,
}


def without_parameters(norm):
    norm.weight, norm.bias = None, None
    return norm


def make_neuron(kind, decay_input, options, n_channels, generator):
    if kind == "if":
        return IF(**options)
    if kind == "lif":
        return LIF(tau=2.7, decay_input=decay_input, **options)
    neuron = PLIF(init_tau=2.3, decay_input=decay_input, **options)
    if kind == "rates":
        neuron.w = nn.Parameter(torch.randn(n_channels, 1, 1, generator=generator))
    return neuron


def randomise(block, generator):
    for p in block.parameters():
        p.data += 0.2 * torch.randn(p.shape, generator=generator)
    if isinstance(block.norm, nn.BatchNorm2d):
        block.norm.running_mean.normal_(generator=generator)
        block.norm.running_var.uniform_(0.5, 2, generator=generator)
    return block


def outcome(kernel, block, x, state, seed):
    """Everything that one forward and backward pass leaves behind."""
    block, x = copy.deepcopy(block), x.clone().requires_grad_()
    state = state.clone().requires_grad_() if state is not None else None
    with use_kernel(kernel):
        spikes, last = block.forward_with_state(x, state)
    generator = torch.Generator().manual_seed(seed)
    loss = sum((y * torch.randn(y.shape, generator=generator).to(y.dtype)).sum() for y in (spikes, last))
    inputs = [x, *block.parameters(), *([state] if state is not None else [])]
    return spikes, last, torch.autograd.grad(loss, inputs), list(block.buffers())


@settings(max_examples=120, deadline=None)
@given(
    kind=st.sampled_from(["if", "lif", "rate", "rates"]), options=firing, decay_input=st.booleans(),
    norm=st.sampled_from(list(NORMS)), train=st.booleans(), starts=st.booleans(), n_steps=st.integers(1, 9),
    n_channels=st.sampled_from([1, 3, 8, 24, 40]), size=st.sampled_from([(4, 5), (6, 6), (9, 7), (1, 13)]),
    pool=st.sampled_from([1, 2, 3, 4]), kernel_size=st.sampled_from([1, 3, 5]), stride=st.sampled_from([1, 2]),
    seed=st.integers(0, 2**20),
)  # fmt: skip
def test_the_kernel_equals_the_modules(
    kind, options, decay_input, norm, train, starts, n_steps, n_channels, size, pool, kernel_size, stride, seed
):
    generator = torch.Generator().manual_seed(seed)
    neuron = make_neuron(kind, decay_input, options, n_channels, generator)
    maps = [-(-side // stride) for side in size]
    pool = min(pool, *maps)
    block = SpikingConv2d(
        2, n_channels, kernel_size=kernel_size, stride=stride, neuron=neuron, norm=NORMS[norm], pool=pool
    )
    block = randomise(block, generator).double().train(train)
    x = 2 * torch.rand(n_steps, 2, 2, *size, generator=generator, dtype=torch.float64)
    state = torch.rand(2, n_channels, *maps, generator=generator, dtype=torch.float64) if starts else None
    spikes, last, gradients, buffers = outcome("cpu", block, x, state, seed)
    expected, expected_last, expected_gradients, expected_buffers = outcome("reference", block, x, state, seed)
    assert torch.equal(spikes, expected)
    torch.testing.assert_close(last, expected_last, rtol=1e-9, atol=1e-9)
    for ours, reference in zip(buffers, expected_buffers, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-12, atol=1e-12)
    for ours, reference in zip(gradients, expected_gradients, strict=True):
        # Sums over all pixels may cancel: they are compared at the scale of their terms.
        assert (ours - reference).abs().max() <= 1e-9 * max(1.0, reference.abs().max())


def dyadic_block(neuron, generator, pool):
    """A block whose sums and products have no rounding, on whole numbers."""
    block = SpikingConv2d(2, 24, neuron=neuron, pool=pool).eval()
    block.conv.weight.data = torch.randint(-4, 5, block.conv.weight.shape, generator=generator) / 8
    block.norm.eps = 0.0
    block.norm.running_var.copy_(4.0 ** torch.randint(-1, 2, (24,), generator=generator))
    block.norm.running_mean.copy_(torch.randint(-4, 5, (24,), generator=generator) / 8)
    block.norm.bias.data = torch.randint(-4, 5, (24,), generator=generator) / 8
    return block


@pytest.mark.parametrize("pool", [1, 2, 3])
@pytest.mark.parametrize("neuron", [IF(), IF(reset="soft"), LIF(), PLIF(v_reset=-0.25), PLIF(decay_input=True)])
def test_spikes_are_the_same_bits_where_nothing_is_rounded(neuron, pool):
    generator = torch.Generator().manual_seed(0)
    block = dyadic_block(neuron, generator, pool)
    x = torch.randint(0, 4, (8, 2, 2, 11, 10), generator=generator).float()
    results = []
    for kernel in ("cpu", "reference"):
        with use_kernel(kernel), torch.no_grad():
            results.append(block.forward_with_state(x))
    assert 0 < results[0][0].mean() < 1
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_float32_spikes_differ_only_where_the_potential_lies_at_the_threshold():
    torch.manual_seed(0)
    block = SpikingConv2d(2, 24, pool=1)  # statistics of the batch: torch adds them up in another order
    x = 3 * torch.rand(20, 3, 2, 24, 24)
    with torch.no_grad():
        with use_kernel("cpu"):
            spikes = copy.deepcopy(block)(x)
        with use_kernel("reference"):
            current = block.current(x)
            expected = block.neuron(current)
    potentials, v = [], torch.zeros_like(current[0])
    for x_t, s_t in zip(current, expected, strict=True):
        potentials.append(v - v * 0.5 + x_t)
        v = potentials[-1] * (1 - s_t)
    first = (spikes != expected).cumsum(0).cumsum(0) == 1
    assert (spikes != expected).float().mean() < 1e-5
    assert ((torch.stack(potentials)[first] - 1).abs() <= 2e-6).all()


def test_stored_statistics_give_the_currents_of_torch(fused):
    torch.manual_seed(1)
    norm, neuron = TimeBatchNorm2d(24).eval(), IF(v_threshold=1e9)  # the last potential is the current
    for tensor in (*norm.parameters(), norm.running_mean, norm.running_var):
        tensor.data.uniform_(0.5, 2)
    y = torch.randn(1, 3, 24, 5, 7)
    _, last = fused_block(norm, neuron, nn.Identity(), y, None)
    torch.testing.assert_close(last, norm(y)[0], rtol=2**-22, atol=2**-22)
    assert fused


def test_statistics_are_accurate_far_from_zero():
    y = 1000 + torch.randn(3, 4, 2, 33, 31, generator=torch.Generator().manual_seed(2))
    mean, variance = _block_cpu.statistics(y)
    exact = y.double()
    torch.testing.assert_close(mean, exact.mean((0, 1, 3, 4)), rtol=1e-14, atol=0)
    torch.testing.assert_close(variance, exact.var((0, 1, 3, 4), unbiased=False), rtol=1e-12, atol=0)


def test_float32_gradients_against_float64():
    torch.manual_seed(3)
    block = SpikingConv2d(2, 24, neuron=PLIF(v_threshold=0.8))
    x = 3 * torch.rand(30, 3, 2, 20, 20)
    ours, exact = outcome("cpu", block, x, None, 0), outcome("reference", block.double(), x.double(), None, 0)
    assert torch.equal(ours[0].double(), exact[0])  # otherwise the gradients are those of other spikes
    for a, b in zip(ours[2], exact[2], strict=True):
        assert (a - b).abs().max() <= 1e-5 * b.abs().max()


def test_several_threads_give_the_same_bits():
    torch.manual_seed(4)
    block, x = SpikingConv2d(2, 24), 3 * torch.rand(12, 4, 2, 40, 40)
    before, found = torch.get_num_threads(), []
    convolved = block.conv(x.flatten(0, 1)).unflatten(0, (12, 4)).detach().requires_grad_()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            norm = copy.deepcopy(block.norm)
            spikes, last = fused_block(norm, block.neuron, block.pool, convolved, None)
            inputs = (convolved, *norm.parameters(), block.neuron.w)
            found.append((spikes, last, norm.running_var, *torch.autograd.grad(spikes.cumsum(0).sum(), inputs)))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_cut_into_chunks_the_bits_stay(fused):
    torch.manual_seed(5)
    chain = SpikingSequential(SpikingConv2d(1, 6), SpikingConv2d(6, 5, stride=2, pool=1)).eval()
    x = 4 * torch.rand(9, 2, 1, 13, 12)
    whole, last = chain.forward_with_state(x)
    state, parts = None, []
    for chunk in x.split([2, 1, 6]):
        y, state = chain.forward_with_state(chunk, state)
        parts.append(y)
    assert torch.equal(torch.cat(parts), whole)
    assert all(torch.equal(a, b) for a, b in zip(state, last, strict=True))
    assert len(fused) == 2 * 2 * 9


def test_any_layout_of_the_convolution_gives_the_same(fused):
    torch.manual_seed(6)
    norm, neuron, pool, y = TimeBatchNorm2d(6), PLIF(), nn.Identity(), torch.randn(5, 2, 6, 7, 8)
    last_axis = y.movedim(2, -1).contiguous().movedim(-1, 2)
    transposed = y.transpose(0, 1).contiguous().transpose(0, 1)
    results = [fused_block(norm, neuron, pool, a, None)[0] for a in (y, last_axis, transposed)]
    assert all(torch.equal(results[0], result) for result in results)
    assert results[0][0].is_contiguous(memory_format=torch.channels_last)


def test_frozen_statistics_and_parameters(fused):
    torch.manual_seed(7)
    block, x = SpikingConv2d(2, 4), 3 * torch.rand(5, 2, 2, 8, 8)
    block.norm.eval().requires_grad_(False)
    block(x).sum().backward()
    assert torch.equal(block.norm.running_mean, torch.zeros(4))
    assert block.norm.weight.grad is None
    assert block.conv.weight.grad.abs().sum() > 0
    block.train().requires_grad_(True).zero_grad()
    block.conv.requires_grad_(False)
    block(x).sum().backward()
    assert block.conv.weight.grad is None
    assert block.norm.weight.grad.abs().sum() > 0
    assert len(fused) == 2


def test_only_the_convolution_is_kept_for_the_backward_pass():
    block, kept = SpikingConv2d(2, 16), set()
    with torch.autograd.graph.saved_tensors_hooks(lambda a: kept.add((a.data_ptr(), a.numel())) or a, lambda a: a):
        block(torch.rand(6, 2, 2, 32, 32))
    large = 6 * 2 * 16 * 32 * 32
    assert large <= sum(numel for _, numel in kept) < 1.3 * large  # it, its input and the weights


def test_a_second_backward_pass_gives_the_same():
    block, x = SpikingConv2d(2, 4), 3 * torch.rand(5, 2, 2, 8, 8)
    y = block(x).square().sum()
    first = torch.autograd.grad(y, list(block.parameters()), retain_graph=True)
    assert all(torch.equal(a, b) for a, b in zip(first, torch.autograd.grad(y, list(block.parameters())), strict=True))


@pytest.mark.parametrize("connect", ["add", "iand"])
def test_residual_blocks_equal_the_modules(connect, fused):
    torch.manual_seed(8)
    block = SEWBlock(3, 6, stride=2, connect=connect, neuron=PLIF).double()
    x = torch.randint(0, 2, (5, 2, 3, 9, 8)).double()
    results = []
    for kernel in ("cpu", "reference"):
        other = copy.deepcopy(block)
        with use_kernel(kernel):
            y = other(x)
        results.append((y, *torch.autograd.grad(y.square().sum(), list(other.parameters()))))
    assert len(fused) == 3
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_errors_are_those_of_the_modules():
    block, x = SpikingConv2d(2, 4, pool=4), torch.rand(3, 2, 2, 8, 8)
    with pytest.raises(ShapeError, match="maps of 3 x 3 pixels"):
        block(x[..., :3, :3])
    with pytest.raises(StateError, match=r"a state of shape \[1, 4, 8, 8\]"):
        block.forward_with_state(x, torch.zeros(1, 4, 8, 8))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        SpikingConv2d(2, 4, pool=1)(x[:1, :1, :, :1, :1])
