"""Blocks that compute again what they do not keep: the same spikes, statistics and gradients as without."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from snnfer.errors import ConfigError
from snnfer.layers import (
    SEWBlock,
    SpikingConv2d,
    SpikingLinear,
    SpikingSequential,
    ThresholdDependentBatchNorm2d,
    TimeConstantDropout,
    checkpoint_over_time,
)
from snnfer.models import create_model
from snnfer.neurons import IF, LIF

BLOCKS = {
    "plain": {},
    "soft reset": {"neuron": lambda: LIF(reset="soft", detach_reset=True), "pool": 1},
    "strided": {"stride": 2, "pool": 1, "norm": ThresholdDependentBatchNorm2d},
    "without normalisation": {"norm": nn.Identity, "neuron": IF},
    "without scale": {"norm": lambda n: without_scale(n)},
    "evaluated": {},
}


def without_scale(n_channels):
    norm = SpikingConv2d(1, n_channels).norm
    norm.weight = norm.bias = None
    return norm


def make(name):
    torch.manual_seed(3)
    options = dict(BLOCKS[name])
    neuron = options.pop("neuron", None)
    block = SpikingConv2d(2, 5, **options, **({"neuron": neuron()} if neuron else {})).double()
    if name == "evaluated":
        block.norm.eval()
    return block


def outcome(block, x, *, state=None, every=0):
    """Output, last state, all gradients and buffers."""
    block = checkpoint_over_time(copy.deepcopy(block), every=every)
    x = x.clone().requires_grad_()
    y, last = block.forward_with_state(x, state)
    weights = torch.rand(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
    inputs = [x, *block.parameters(), *([state] if state is not None else [])]
    gradients = torch.autograd.grad((y * weights).sum() + last.square().sum(), inputs)
    return y.detach(), last.detach(), gradients, list(block.buffers())


@pytest.mark.parametrize("every", [1, 3, 7, 50])
@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_computed_again_in_parts_gives_the_same(name, every):
    block, x = make(name), torch.randn(7, 2, 2, 6, 6, dtype=torch.float64)
    shape = block.forward_with_state(x)[1].shape
    state = torch.rand(shape, dtype=torch.float64, requires_grad=True)
    for begin in (None, state):
        plain, parts = outcome(block, x, state=begin), outcome(block, x, state=begin, every=every)
        assert torch.equal(parts[0], plain[0])
        assert torch.allclose(parts[1], plain[1], rtol=1e-10)
        for after, before in zip(parts[2], plain[2], strict=True):
            assert torch.allclose(after, before, atol=1e-10 * float(before.abs().max()))
        for after, before in zip(parts[3], plain[3], strict=True):
            assert torch.allclose(after.double(), before.double(), rtol=1e-10)


def gradients_of(model, x, *, every, seed=0):
    model = checkpoint_over_time(copy.deepcopy(model), every=every)
    torch.manual_seed(seed)  # of dropout
    y = model(x)
    y.square().sum().backward()
    return y.detach(), [p.grad for p in model.parameters()]


def test_the_published_network_has_the_same_gradients_and_dropout():
    torch.manual_seed(0)
    model = create_model("au_snn", size=(16, 16), channels=4, hidden=32).double()
    x = torch.poisson(torch.full((9, 3, 2, 16, 16), 0.5)).double()
    plain, parts = (gradients_of(model, x, every=every) for every in (0, 2))
    assert torch.equal(parts[0], plain[0])
    for after, before in zip(parts[1], plain[1], strict=True):
        assert torch.allclose(after, before, atol=1e-10 * float(before.abs().max() + 1e-30))


def test_blocks_inside_of_blocks_are_computed_again():
    torch.manual_seed(0)
    chain = SpikingSequential(SEWBlock(2, 4, stride=2), TimeConstantDropout(0.2), nn.Flatten(2), SpikingLinear(64, 3))
    chain, x = chain.double(), torch.randint(0, 2, (6, 2, 2, 8, 8)).double()
    plain, parts = (gradients_of(chain, x, every=every) for every in (0, 4))
    assert torch.equal(parts[0], plain[0])
    assert all(torch.allclose(a, b, atol=1e-11) for a, b in zip(parts[1], plain[1], strict=True))


def test_frozen_weights_get_no_gradient():
    block = checkpoint_over_time(SpikingConv2d(2, 4), every=2)
    block.conv.requires_grad_(False)
    block(torch.rand(5, 1, 2, 8, 8)).sum().backward()
    assert block.conv.weight.grad is None
    assert block.norm.weight.grad is not None


def test_half_precision_is_the_same_forward_and_backward():
    block, x = SpikingConv2d(2, 4), torch.rand(6, 2, 2, 8, 8)
    found = []
    for every in (0, 6):
        own = checkpoint_over_time(copy.deepcopy(block), every=every)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = own(x)
        y.sum().backward()
        found.append((y, own.conv.weight.grad))
    assert (found[0][0] != found[1][0]).float().mean() < 0.02  # bfloat16 rounds potentials to 3 digits
    assert found[1][1].dtype == torch.float32


def test_what_cannot_be_computed_again_is_said():
    with pytest.raises(ConfigError, match=r"for a Linear; expected a model with spiking convolutions"):
        checkpoint_over_time(nn.Linear(2, 2), every=4)
    with pytest.raises(ConfigError, match="every = -1"):
        checkpoint_over_time(SpikingConv2d(1, 1), every=-1)


PEAK = """
import re, sys, torch
from snnfer.layers import SpikingConv2d, checkpoint_over_time
from snnfer.neurons import use_kernel
torch.set_num_threads(1)
block = checkpoint_over_time(SpikingConv2d(2, 32), every=int(sys.argv[1]))
x = torch.rand(24, 4, 2, 64, 64)
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
with use_kernel("reference"):
    block(x[:1, :1, :, :8, :8]).sum().backward()
    before = peak()
    block(x).sum().backward()
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_peak_of_memory_falls():
    def peak(every):
        result = subprocess.run([sys.executable, "-c", PEAK, str(every)], capture_output=True, text=True, check=True)
        return float(result.stdout)

    assert peak(2) < 0.6 * peak(0)
