"""The compiled library: a plain C interface, found beside this file, called through ctypes."""

import ctypes
import functools
import sys
from pathlib import Path
from typing import Any

import torch

from snnfer.errors import KernelError

INTERFACE = 4
"""Number of the C interface that this code calls; ``snnfer_interface`` of dispatch.cpp."""
STEM = "_snnfer_cpu"
_SUFFIX = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
PATH = Path(__file__).with_name(STEM + _SUFFIX)
_BUILD = "install a C++ compiler (Debian: apt install g++) and then snnfer again: pip install --force-reinstall snnfer"
LEVELS = {"avx512": "AVX-512", "avx2": "AVX2", "base": "no vector extension beyond the processor's base"}


@functools.cache
def _load() -> tuple[ctypes.CDLL | None, str]:
    """The library and the instruction set that it runs with, or None and what is wrong."""
    if not PATH.exists():
        return None, f"the kernels were not compiled; {_BUILD}"
    try:
        library = ctypes.CDLL(str(PATH))
        found = library.snnfer_interface()
    except (OSError, AttributeError) as error:
        return None, f"the compiled kernels cannot be loaded ({error}); {_BUILD}"
    if found != INTERFACE:
        return None, f"the compiled kernels are of another version of snnfer; {_BUILD}"
    library.snnfer_level.restype = ctypes.c_char_p
    return library, library.snnfer_level().decode()


def status() -> tuple[bool, str]:
    """Whether the compiled kernels can run, and with what, or why not."""
    library, text = _load()
    return (True, f"compiled, runs with {LEVELS[text]}") if library is not None else (False, text)


@functools.cache
def function(name: str) -> ctypes._CFuncPtr:  # type: ignore[name-defined]
    """A function of the library, in the version for this processor."""
    library, text = _load()
    if library is None:
        raise KernelError("the compiled kernels cannot run here", cause=text)
    found = getattr(library, f"{name}_{text}")
    found.restype = None
    return found


def call(name: str, *arguments: Any) -> None:
    """Call a function of the library with contiguous tensors (or None), whole numbers, numbers and structures.

    The number of threads, which is the last parameter of every such function, is torch's.
    """
    function(name)(*(_converted(argument) for argument in arguments), ctypes.c_int(torch.get_num_threads()))


def _converted(argument: Any) -> Any:
    if argument is None:
        return ctypes.c_void_p(None)
    if isinstance(argument, torch.Tensor):
        return ctypes.c_void_p(argument.data_ptr())
    if isinstance(argument, ctypes.Structure):
        return ctypes.byref(argument)
    return ctypes.c_float(argument) if isinstance(argument, float) else ctypes.c_int64(argument)
