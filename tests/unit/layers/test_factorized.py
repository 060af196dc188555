"""The factorised convolution against loops in NumPy, a count with a pencil, and its own chunks."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from snnfer.errors import ShapeError, StateError
from snnfer.layers import FactorizedConv3d, SpikingSequential, TemporalSpatialAttention
from snnfer.neurons import PLIF, SoftSpiking

NEURONS = {"soft_spiking": SoftSpiking, "plif": PLIF, "relu": nn.ReLU, "low": partial(SoftSpiking, theta=0.1)}


def make_block(*args, **kwargs):
    torch.manual_seed(0)
    block = FactorizedConv3d(*args, **kwargs)
    for norm in (block.norm1, block.norm2):
        nn.init.uniform_(norm.weight, 0.5, 2)
        nn.init.uniform_(norm.bias, -0.3, 0.6)
        norm.running_mean.uniform_(-0.1, 0.1)
        norm.running_var.uniform_(0.1, 0.3)
    return block.eval()


def brute_force(block, x, *, theta, causal):
    """Equation of the docstring, one multiplication after the other, on ``[T, N, C, H, W]`` float64."""
    weights = {name: p.detach().double().numpy() for name, p in block.named_parameters()}
    n_steps, _, _, height, width = x.shape
    first = -2 if causal else -1

    def norm(name, y):
        module = getattr(block, name)
        mean, var = module.running_mean.double().numpy(), module.running_var.double().numpy()
        scale = weights[f"{name}.weight"] / np.sqrt(var + module.eps)
        return (y - mean[:, None, None]) * scale[:, None, None] + weights[f"{name}.bias"][:, None, None]

    def fire(y):
        return np.where(y > theta, y, 0)

    y = np.zeros_like(x)
    for t in range(n_steps):
        for tap in range(3):
            if 0 <= t + first + tap < n_steps:
                y[t] += weights["temporal.weight"][:, 0, tap] * x[t + first + tap]
    inner = fire(norm("norm1", np.einsum("oi,tnihw->tnohw", weights["pointwise1.weight"][..., 0, 0, 0], y)))
    z = np.zeros_like(inner)
    for i in range(height):
        for j in range(width):
            for a in (-1, 0, 1):
                for b in (-1, 0, 1):
                    if 0 <= i + a < height and 0 <= j + b < width:
                        z[..., i, j] += weights["spatial.weight"][:, 0, 0, a + 1, b + 1] * inner[..., i + a, j + b]
    z = norm("norm2", np.einsum("oi,tnihw->tnohw", weights["pointwise2.weight"][..., 0, 0, 0], z))
    if block.shortcut is not None:
        shortcut = weights.get("shortcut.weight")
        z = z + (x if shortcut is None else np.einsum("oi,tnihw->tnohw", shortcut[..., 0, 0, 0], x))
    return fire(z)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("channels", "residual"), [((3, 5), True), ((4, 4), True), ((3, 5), False)])
def test_equals_loops(channels, residual, causal):
    block = make_block(*channels, residual=residual, causal=causal).double()
    x = torch.randn(5, 2, channels[0], 4, 6, dtype=torch.float64)
    expected = brute_force(block, x.numpy(), theta=0.5, causal=causal)
    assert (expected > 0).mean() > 0.1
    torch.testing.assert_close(block(x), torch.from_numpy(expected))


def test_the_weights_can_be_counted_by_hand():
    block = FactorizedConv3d(3, 5)
    assert sum(p.numel() for p in block.parameters()) == 3 * 3 + 3 * 5 + 9 * 5 + 5 * 5 + 3 * 5 + 4 * 5
    assert isinstance(FactorizedConv3d(4, 4).shortcut, nn.Identity)
    assert FactorizedConv3d(4, 4, residual=False).shortcut is None
    assert not any(module.bias is not None for module in block.modules() if isinstance(module, nn.Conv3d))


@pytest.mark.parametrize("neuron", NEURONS)
class TestNeurons:
    def test_two_of_them_stand_in_the_block(self, neuron):
        block = make_block(2, 3, neuron=NEURONS[neuron])
        assert type(block.neuron1) is type(NEURONS[neuron]()) is type(block.neuron2)
        assert block.neuron1 is not block.neuron2
        assert block(torch.randn(4, 2, 2, 6, 6)).std() > 0

    @pytest.mark.parametrize("chunks", [[1] * 7, [3, 4], [6, 1]])
    def test_chunks_equal_the_whole_bit_for_bit(self, neuron, chunks):
        block = make_block(2, 3, neuron=NEURONS[neuron], causal=True)
        x = torch.randn(7, 2, 2, 6, 6)
        outputs, state = [], None
        for chunk in x.split(chunks):
            y, state = block.forward_with_state(chunk, state)
            outputs.append(y)
        assert torch.equal(torch.cat(outputs), block(x))
        assert torch.equal(state[0], x[-2:])

    def test_gradients_reach_every_parameter(self, neuron):
        block = make_block(2, 3, neuron=NEURONS[neuron]).train()
        block(torch.randn(5, 2, 2, 6, 6)).square().sum().backward()
        for name, parameter in block.named_parameters():
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().sum() > 0, name


def test_only_a_causal_block_ignores_the_future():
    x = torch.randn(6, 1, 2, 5, 5)
    later = x.clone()
    later[4:] += 1
    causal, centred = make_block(2, 3, causal=True), make_block(2, 3)
    assert torch.equal(causal(x)[:4], causal(later)[:4])
    assert not torch.equal(centred(x)[:4], centred(later)[:4])
    assert torch.equal(centred(x)[:3], centred(later)[:3])  # one step ahead, no more


def test_training_sees_the_whole_clip_also_when_causal():
    block = make_block(2, 3, causal=True).train()
    x = torch.randn(6, 2, 2, 5, 5)
    pre_norm = []
    block.pointwise1.register_forward_hook(lambda module, args, y: pre_norm.append(y))
    block.norm1.momentum = 1.0
    block(x)
    (y,) = pre_norm
    assert y.shape == (2, 3, 6, 5, 5)
    torch.testing.assert_close(block.norm1.running_mean, y.mean((0, 2, 3, 4)))


def test_it_streams_in_a_chain_with_attention():
    torch.manual_seed(0)
    chain = SpikingSequential(make_block(2, 4, causal=True), TemporalSpatialAttention(4, causal=True)).eval()
    x = torch.randn(5, 2, 2, 6, 6)
    first, state = chain.forward_with_state(x[:2])
    rest, _ = chain.forward_with_state(x[2:], state)
    assert torch.equal(torch.cat([first, rest]), chain(x))


def test_what_does_not_fit_is_refused():
    block, causal = make_block(2, 3), make_block(2, 3, causal=True)
    x = torch.randn(4, 2, 2, 5, 5)
    with pytest.raises(ShapeError, match=r"shape \[4, 2, 3, 5, 5\]; expected at least one time step and 2 channels"):
        block(torch.randn(4, 2, 3, 5, 5))
    with pytest.raises(ShapeError, match="at least one time step"):
        causal(x[:0])
    with pytest.raises(ShapeError, match="5 dimensions"):
        block(x[:, 0])
    with pytest.raises(StateError, match=r"FactorizedConv3d sees later steps and cannot stream; .*causal=True"):
        SpikingSequential(block)(x)
    _, state = causal.forward_with_state(x)
    with pytest.raises(StateError, match=r"a state of \[2, 2, 2, 5, 5\] .*expected a state of shape \[2, 1, 2, 5, 5\]"):
        causal.forward_with_state(x[:, :1], state)
    with pytest.raises(StateError, match=r"a state of dict for FactorizedConv3d; expected 3 entries"):
        causal.forward_with_state(x, {})
    with pytest.raises(StateError, match=r"a state of 2 entries for FactorizedConv3d"):
        causal.forward_with_state(x, state[:2])
