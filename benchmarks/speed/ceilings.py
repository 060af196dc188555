"""What the machine can do: products of matrices, convolutions, copies."""

import time
from collections.abc import Callable

import torch
from torch.nn import functional as F

REPEATS = 20


def measure(device: str) -> dict[str, float]:
    """Best of many calls: GFLOP/s of a float32 product and of W's second convolution (channels last), GB/s of a copy.

    A copy counts every byte twice: read and written. Processor time of one thread; events on a CUDA device.
    """
    side = 2048 if device == "cpu" else 8192
    a, b = torch.randn(2, side, side, device=device).unbind()
    product = torch.empty_like(a)
    images = torch.randn(304, 32, 32, 32, device=device).to(memory_format=torch.channels_last)
    kernels = torch.randn(32, 32, 3, 3, device=device).to(memory_format=torch.channels_last)
    source = torch.ones(50_000_000, device=device)
    target = torch.empty_like(source)
    with torch.no_grad():
        gemm_s = _best(lambda: torch.mm(a, b, out=product), device)
        convolution_s = _best(lambda: F.conv2d(images, kernels, padding=1), device)
        copy_s = _best(lambda: target.copy_(source), device)
    return {
        "gemm_gflops": 2 * side**3 / gemm_s / 1e9,
        "convolution_gflops": 2 * images.numel() * 32 * 9 / convolution_s / 1e9,
        "copy_gbs": 2 * source.numel() * 4 / copy_s / 1e9,
    }


def _best(work: Callable[[], object], device: str) -> float:
    timed = cuda_seconds if device == "cuda" else _cpu_seconds
    timed(work)
    return min(timed(work) for _ in range(REPEATS))


def _cpu_seconds(work: Callable[[], object]) -> float:
    start = time.thread_time()
    work()
    return time.thread_time() - start


def cuda_seconds(work: Callable[[], object]) -> float:
    """Seconds between two events of CUDA around `work`."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    work()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000
