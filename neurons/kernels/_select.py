"""Which kernel runs: by device, or as the user said."""

import contextlib
import contextvars
import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Literal, get_args

import torch

from snnfer._check import check_choice
from snnfer.errors import KernelError
from snnfer.neurons.kernels import _library

Kernel = Literal["reference", "cpu", "triton"]
KERNELS: tuple[Kernel, ...] = get_args(Kernel)
_chosen: contextvars.ContextVar[Kernel | None] = contextvars.ContextVar("snnfer_kernel", default=None)


@dataclass(frozen=True)
class KernelStatus:
    """Whether a kernel can run here.

    Args:
        name: Its name, as for `use_kernel`.
        available: Whether it can run.
        reason: What it runs with, or what is missing and how to get it.
    """

    name: Kernel
    available: bool
    reason: str


@contextlib.contextmanager
def use_kernel(name: Kernel) -> Iterator[None]:
    """Run all neurons and fused blocks on one kernel while the context lasts, in this thread.

    Without it a CPU tensor takes the compiled kernels where they were built, and plain torch otherwise; `snnfer info`
    and `kernel_status` say which. A backward pass uses the kernel of its forward pass.

    Args:
        name: "reference" (plain torch, any device), "cpu" (compiled at installation) or "triton" (CUDA).

    Raises:
        KernelError: the kernel cannot run here; or, inside the context, it cannot run on a tensor or with a surrogate.
        SnnferError: an unknown name.

    Examples:
        >>> from snnfer.neurons import LIF
        >>> with use_kernel("reference"):
        ...     LIF()(torch.full((4, 1), 1.5))[:, 0]
        tensor([0., 1., 0., 1.])
    """
    check_choice(name, KERNELS, name="kernel")
    status = kernel_status(name)
    if not status.available:
        raise KernelError(f"the kernel '{name}' cannot run here", cause=status.reason)
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


def kernel_status(name: Kernel) -> KernelStatus:
    """Whether a kernel can run on this machine, and why.

    Examples:
        >>> kernel_status("reference").available
        True
    """
    if name == "cpu":
        return KernelStatus("cpu", *_library.status())
    if name == "triton":
        return KernelStatus("triton", *_triton_status())
    return KernelStatus("reference", True, f"plain torch {torch.__version__.partition('+')[0]}")


def chosen_kernel(x: torch.Tensor) -> tuple[Kernel, bool]:
    """Kernel for `x`, and whether the user insists on it (then what it cannot do is an error)."""
    chosen = _chosen.get()
    if chosen is None:
        return default_kernel(x.device.type), False
    if chosen == "cpu" and x.device.type != "cpu":
        raise KernelError(
            f"a tensor on {x.device} with the kernel 'cpu'", expected="a tensor on the CPU", fix="move it with x.cpu()"
        )
    if chosen == "triton" and x.device.type != "cuda" and not _interpreted():
        raise KernelError(
            f"a tensor on {x.device} with the kernel 'triton'",
            expected="a CUDA tensor",
            fix='move it with x.to("cuda")',
        )
    return chosen, True


def default_kernel(device: str) -> Kernel:
    """The kernel that tensors of a type of device ("cpu", "cuda" ...) take without `use_kernel`.

    Examples:
        >>> default_kernel("meta")
        'reference'
    """
    if device == "cpu" and _library.status()[0]:
        return "cpu"
    return "triton" if device == "cuda" and _triton_status()[0] else "reference"


def _interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"


@functools.cache
def _triton_status() -> tuple[bool, str]:
    """Whether Triton kernels can run, and with what, or why not; does not import triton."""
    try:
        version = metadata.version("triton")
    except metadata.PackageNotFoundError:
        return False, "triton is not installed: it comes with torch for CUDA on Linux"
    if _interpreted():
        return True, f"triton {version}, interpreted on the CPU (TRITON_INTERPRET=1)"
    if not torch.cuda.is_available():
        return False, f"triton {version} is installed, but torch sees no CUDA device"
    if torch.cuda.get_device_capability() < (7, 0):
        return False, f"{torch.cuda.get_device_name()} is too old for triton, which needs compute capability 7.0"
    return True, f"triton {version} on {torch.cuda.get_device_name()}"
