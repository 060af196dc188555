"""Compiled and generated code behind the neurons, and which of it runs.

Every kernel equals the reference in plain torch: the same spikes, gradients within 1e-5. What a tensor runs on follows
from its device, or from `use_kernel`.
"""

from snnfer.neurons.kernels._select import KERNELS, KernelStatus, default_kernel, kernel_status, use_kernel

__all__ = ["KERNELS", "KernelStatus", "default_kernel", "kernel_status", "use_kernel"]
