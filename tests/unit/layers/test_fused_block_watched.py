"""The compiled block must not be seen: who watches or changes a module of it finds the modules at work."""

import contextlib

import pytest
import torch
from torch import nn

from snnfer.layers import SpikingConv2d, TimeBatchNorm2d
from snnfer.neurons import kernel_status, observe, use_kernel

pytestmark = pytest.mark.skipif(not kernel_status("cpu").available, reason=kernel_status("cpu").reason)


@contextlib.contextmanager
def removed(handle):
    yield
    handle.remove()


WATCHERS = {
    "hook of the norm": lambda b, seen: removed(b.norm.register_forward_hook(lambda *_: seen.append(1))),
    "pre-hook of the norm": lambda b, seen: removed(b.norm.register_forward_pre_hook(lambda *_: seen.append(1))),
    "hook of the pooling": lambda b, seen: removed(b.pool.register_forward_hook(lambda *_: seen.append(1))),
    "backward hook of the norm": lambda b, seen: removed(b.norm.register_full_backward_hook(lambda *_: seen.append(1))),
    "observer": lambda b, seen: observe(b, lambda *_: seen.append(1)),
    "hook of all modules": lambda b, seen: removed(
        nn.modules.module.register_module_forward_hook(lambda *_: seen.append(1))
    ),
}


@pytest.mark.parametrize("watcher", list(WATCHERS))
def test_who_watches_a_module_sees_it(watcher, fused):
    block, x, seen = SpikingConv2d(2, 4), torch.rand(3, 1, 2, 8, 8), []
    with WATCHERS[watcher](block, seen):
        block(x).sum().backward()
    assert seen
    assert not fused
    seen.clear()
    block(x).sum().backward()
    assert not seen
    assert fused


def test_who_watches_the_convolution_sees_it_in_the_kernel_too(fused):
    block, seen = SpikingConv2d(2, 4), []
    block.conv.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    block(torch.rand(3, 2, 2, 8, 8))
    assert seen == [(6, 4, 8, 8)]
    assert fused


class OwnCurrent(SpikingConv2d):
    def current(self, x):
        return torch.zeros_like(super().current(x))


class OwnNorm(TimeBatchNorm2d):
    def forward(self, input):
        return torch.zeros_like(super().forward(input))


def replaced_forward():
    block = SpikingConv2d(2, 4)
    block.norm.forward = torch.zeros_like
    return block


def parametrised_norm():
    class Zero(nn.Module):
        def forward(self, weight):
            return 0 * weight

    block = SpikingConv2d(2, 4)
    nn.utils.parametrize.register_parametrization(block.norm, "weight", Zero())
    return block


@pytest.mark.parametrize(
    "make",
    [lambda: OwnCurrent(2, 4), lambda: SpikingConv2d(2, 4, norm=OwnNorm), replaced_forward, parametrised_norm],
)
def test_what_was_changed_is_heeded(make, fused):
    assert make()(9 * torch.rand(4, 2, 2, 8, 8)).sum() == 0
    assert not fused


@pytest.mark.parametrize("kernel", ["cpu", None])
def test_what_the_kernel_does_not_know_runs_in_the_modules(kernel, fused):
    x = torch.rand(3, 2, 2, 8, 8)
    with use_kernel(kernel) if kernel else contextlib.nullcontext():
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert SpikingConv2d(2, 4)(x).shape == (3, 2, 4, 4, 4)
        overlapping = SpikingConv2d(2, 4)
        overlapping.pool.stride = 1
        assert overlapping(x).shape == (3, 2, 4, 7, 7)
    with use_kernel("reference"):
        SpikingConv2d(2, 4)(x)
    assert not fused
