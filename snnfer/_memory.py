"""The C allocator: keeping freed memory for the next training step."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # from glibc's malloc.h


def retain_freed_memory() -> bool:
    """Let the process keep the memory that it frees; True where that is possible (Linux with glibc).

    By default glibc gives every large tensor back to the system when it is freed and gets fresh, zeroed pages for the
    next one. Training on the processor frees and allocates gigabytes per step, and can spend most of its time there.
    The price is that the process keeps its peak memory until it ends. It changes the whole process, so it is for
    programs, not for library code.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, 256 * 2**20))
    return all([mallopt(parameter, value) == 1 for parameter, value in settings])
