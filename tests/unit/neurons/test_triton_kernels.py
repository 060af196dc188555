"""The Triton kernels, interpreted on the CPU, against the reference in plain torch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from snnfer.errors import KernelError
from snnfer.neurons import LIF, kernel_status, use_kernel

pytest.importorskip("triton", reason="Triton comes with torch for CUDA on Linux")

COMPARE = """
import itertools, torch
from snnfer.neurons import ATan, Sigmoid, SuperSpike, Triangle, functional, kernel_status, use_kernel

def run(leak, x, v, w, decay_input, options):
    if leak == "none":
        return functional.if_(x, v, **options)
    if leak == "tau":
        return functional.lif(x, v, tau=2.7, decay_input=decay_input, **options)
    return functional.plif(x, v, w=w, decay_input=decay_input, **options)

def outcome(kernel, leak, tensors, weights, decay_input, options):
    x, v, w = (a.detach().clone().requires_grad_() for a in tensors)
    with use_kernel(kernel):
        spikes, last = run(leak, x, v, w, decay_input, options)
    inputs = (x, v, w) if leak.startswith("rate") else (x, v)
    return spikes, last, torch.autograd.grad((spikes * weights).sum() + (last * weights[0]).sum(), inputs)

assert kernel_status("triton").available
surrogates = itertools.cycle((ATan(), Sigmoid(), Triangle(), SuperSpike(), ATan(3.0)))
n_compared = 0
for leak, decay_input, reset, v_reset, detach in itertools.product(
    ("none", "tau", "rate", "rates"), (True, False), ("hard", "soft"), (0.0, -0.3), (True, False)
):
    options = dict(v_threshold=0.9, v_reset=v_reset, reset=reset, detach_reset=detach, surrogate=next(surrogates))
    generator = torch.Generator().manual_seed(n_compared)
    x = 1.5 * torch.randn(7, 2, 3, 50, generator=generator)
    weights = torch.randn(7, 2, 3, 50, generator=generator)
    w = torch.randn((3, 1) if leak == "rates" else (), generator=generator)
    tensors = x, torch.rand(2, 3, 50, generator=generator), w
    spikes, last, gradients = outcome("triton", leak, tensors, weights, decay_input, options)
    expected, expected_last, expected_gradients = outcome("reference", leak, tensors, weights, decay_input, options)
    assert 0 < expected.mean() < 1
    assert torch.equal(spikes, expected), (leak, decay_input, options)
    assert torch.equal(last, expected_last), (leak, decay_input, options)
    for ours, reference in zip(gradients, expected_gradients):
        scale = reference.abs().max() if reference.ndim > 1 else weights.abs().sum()
        assert (ours - reference).abs().max() <= 1e-5 * scale, (leak, decay_input, options)
    n_compared += 1
with use_kernel("triton"):
    assert functional.if_(torch.zeros(0, 2, 3))[0].shape == (0, 2, 3)
print(n_compared)
"""


def test_triton_neurons_equal_the_reference():
    environment = {**os.environ, "TRITON_INTERPRET": "1"}  # read when triton is imported
    command = [sys.executable, "-c", COMPARE]
    root = Path(__file__).parents[3]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=root, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    assert int(result.stdout) == 64


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_triton_without_a_gpu_is_an_error_that_says_so():
    if os.environ.get("TRITON_INTERPRET") == "1":
        pytest.skip("triton is interpreted")
    assert "no CUDA device" in kernel_status("triton").reason
    with pytest.raises(KernelError, match="no CUDA device"), use_kernel("triton"):
        LIF()(torch.ones(3, 1))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_the_spikes_are_those_of_the_reference():
    x = torch.randn(20, 3, 1000, device="cuda")
    with use_kernel("triton"):
        spikes = LIF()(x)
    with use_kernel("reference"):
        assert torch.equal(spikes, LIF()(x))


def test_importing_snnfer_does_not_import_triton():
    code = "import snnfer.neurons, snnfer.layers, sys; print('triton' in sys.modules)"
    before = "import torch, sys; print('triton' in sys.modules)"
    loaded = [
        subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout
        for text in (before, code)
    ]
    assert loaded[0] == loaded[1]
