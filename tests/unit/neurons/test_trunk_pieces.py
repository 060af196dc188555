"""The parts of the compiled trunk against torch's own operations."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from snnfer.neurons import kernel_status
from snnfer.neurons.kernels import _bit_block_cpu as bit_block
from snnfer.neurons.kernels import _bit_linear_cpu as bit_linear
from snnfer.neurons.kernels._events_cpu import find_events, patch_moments

pytestmark = pytest.mark.skipif(not kernel_status("cpu").available, reason=kernel_status("cpu").reason)


def random(*shape, seed, rate=None):
    """Normal numbers, or spikes at a rate."""
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randn(shape, generator=generator)
    return numbers if rate is None else (torch.rand(shape, generator=generator) < rate).float()


def bits_of(spikes):
    """Spikes ``[N, T, C, H, W]`` as bits ``[N, T, H, W, C / 16]``."""
    units = spikes.permute(0, 1, 3, 4, 2).unflatten(-1, (-1, 16)).to(torch.int64)
    values = (units << torch.arange(16)).sum(-1)
    return (values - 2**16 * (values >= 2**15)).to(torch.int16)


@settings(max_examples=20, deadline=None)
@given(
    shape=st.tuples(*(st.integers(1, n) for n in (4, 3, 3, 9, 40))), rate=st.sampled_from([0.0, 0.05, 1.0]),
    seed=st.integers(0, 999),
)  # fmt: skip
def test_events_are_what_is_not_zero(shape, rate, seed):
    x = random(*shape, seed=seed) * random(*shape, seed=seed + 1, rate=rate)
    events = find_events(x)
    n, t, y, c, column = x.permute(1, 0, 3, 2, 4).nonzero(as_tuple=True)
    count = int(events.row_start[-1])
    assert count == len(n)
    fields = events.list[:count].view(torch.int16)[:, :2].long()
    assert torch.equal(fields, torch.stack([column, c], 1))
    assert torch.equal(events.list[:count].view(torch.float32)[:, 1], x[t, n, c, y, column])
    rows = torch.bincount((n * shape[0] + t) * shape[3] + y, minlength=len(events.row_start) - 1)
    assert torch.equal(events.row_start.diff().long(), rows)


def test_dense_frames_have_no_lists():
    x = torch.ones(2, 1, 1, 4, 4)
    assert find_events(x, largest_share=0.5) is None
    assert int(find_events(x).row_start[-1]) == 32


@settings(max_examples=20, deadline=None)
@given(shape=st.tuples(*(st.integers(1, n) for n in (3, 2, 3, 7, 20))), seed=st.integers(0, 999))
def test_patch_moments_are_those_of_unfolded_patches(shape, seed):
    x = (4 * random(*shape, seed=seed) * random(*shape, seed=seed + 1, rate=0.3)).round()
    patches = F.unfold(x.flatten(0, 1).double(), 3, padding=1).unflatten(1, (shape[2], 3, 3))
    patches = patches.permute(0, 4, 2, 3, 1).flatten(2).flatten(0, 1)  # [patches, row, column, channel]
    sums, products = patch_moments(find_events(x))
    assert torch.equal(sums, patches.sum(0))
    assert torch.equal(products, patches.T @ patches)


maps = {
    "channels_in": st.sampled_from([16, 32, 48, 64]),
    "channels": st.sampled_from([16, 32, 48, 64]),
    "height": st.integers(1, 19),
    "width": st.integers(1, 37),
    "rate": st.sampled_from([0.0, 0.2, 1.0]),
    "seed": st.integers(0, 999),
}


@settings(max_examples=20, deadline=None)
@given(**maps)
def test_convolution_of_bits(channels_in, channels, height, width, rate, seed):
    spikes = random(1, 3, channels_in, height, width, seed=seed, rate=rate)
    weight = random(channels, channels_in, 3, 3, seed=seed + 1)
    shape = bit_block.BitShape(height, width, channels_in, channels)
    current, sums = torch.empty(1, 3, *shape.state_shape), torch.zeros(2, channels, dtype=torch.float64)
    bit_block.bit_convolution(bits_of(spikes), shape, bit_block.group_weights(weight), current, sums)
    expected = F.conv2d(spikes[0].double(), weight.double(), padding=1).permute(0, 2, 3, 1)
    torch.testing.assert_close(current[0].double(), expected, rtol=0, atol=2e-5 * 9**0.5 * channels_in**0.5)
    found = torch.stack([current.double().sum((0, 1, 2, 3)), current.double().square().sum((0, 1, 2, 3))])
    torch.testing.assert_close(sums, found, rtol=1e-5, atol=1e-3)


@settings(max_examples=15, deadline=None)
@given(**maps)
def test_gradients_of_the_convolution_of_bits(channels_in, channels, height, width, rate, seed):
    spikes = random(1, 3, channels_in, height, width, seed=seed, rate=rate)
    weight = random(channels, channels_in, 3, 3, seed=seed + 1) / (9 * channels) ** 0.5
    grad = random(3, height, width, channels, seed=seed + 2)
    terms = tuple(random(channels, seed=seed + 3 + i) for i in range(3))
    shape = bit_block.BitShape(height, width, channels_in, channels)
    grouped = bit_block.group_weights(weight)
    grad_in, grad_weight = torch.empty(3, height, width, channels_in), torch.zeros_like(grouped, dtype=torch.float64)
    bit_block.bit_convolution_backward(bits_of(spikes)[0], shape, grouped, weight, grad, terms, grad_in, grad_weight)
    x, w = spikes[0].double().requires_grad_(), weight.double().requires_grad_()
    y = F.conv2d(x, w, padding=1)
    a, b, d = (term.double()[:, None, None] for term in terms)
    expected_in, expected_weight = torch.autograd.grad(
        y, (x, w), a * grad.double().permute(0, 3, 1, 2) + b * y.detach() + d
    )
    found = bit_block.ungroup_weights(grad_weight, shape)
    assert (found - expected_weight).abs().max() <= 1e-5 * expected_weight.abs().max().clamp(min=1)
    assert (grad_in.permute(0, 3, 1, 2) - expected_in).abs().max() <= 1e-5 * expected_in.abs().max()


@settings(max_examples=20, deadline=None)
@given(
    n_steps=st.integers(1, 40), n_samples=st.integers(1, 3), channels=st.sampled_from([16, 32, 48]),
    height=st.integers(1, 9), width=st.integers(1, 9), outputs=st.sampled_from([16, 32, 128]),
    rate=st.sampled_from([0.0, 0.1, 1.0]), seed=st.integers(0, 999),
)  # fmt: skip
def test_fully_connected_layer_on_bits(n_steps, n_samples, channels, height, width, outputs, rate, seed):
    spikes = random(n_samples, n_steps, channels, height, width, seed=seed, rate=rate)
    mask = random(n_samples, channels * height * width, seed=seed + 1, rate=0.8) * 1.25
    weight, bias = random(outputs, mask.shape[1], seed=seed + 2), random(outputs, seed=seed + 3)
    flat = spikes.transpose(0, 1).flatten(2)  # [T, N, features]
    rows = bit_linear.rows_from_maps(bits_of(spikes), bit_linear.rows_from_floats(mask))
    assert torch.equal(bit_linear.rows_to_floats(rows, mask.shape[1]), flat * (mask != 0))
    y = bit_linear.bit_linear(rows, weight, bias, 1.25)
    listed = bit_linear.bit_linear(rows, weight, bias, 1.25, weight.T.contiguous())
    assert torch.equal(y, listed)
    expected = (flat * mask).double() @ weight.double().T + bias
    assert (y - expected).abs().max() <= 2e-6 * (1 + expected.abs().max()) * mask.shape[1] ** 0.5
    grad = random(n_steps, n_samples, outputs, seed=seed + 4)
    found = bit_linear.bit_linear_weight_gradient(rows, mask.shape[1], grad, 1.25)
    expected = torch.einsum("tno,tnk->ok", grad.double(), (flat * mask).double())
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-4)
    found = bit_linear.bit_linear_input_gradient(weight, grad, (height, width, channels), mask)
    expected = (grad.double() @ weight.double() * mask).unflatten(2, (channels, height, width)).permute(1, 0, 3, 4, 2)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=2e-4)
