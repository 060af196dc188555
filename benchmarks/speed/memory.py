"""Peak memory of a piece of work."""

import resource
import sys
from pathlib import Path
from typing import Any

import torch

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Peak:
    """Context that measures the most memory in use inside it, beyond what was in use before.

    On the CPU the resident set of the process, on a CUDA device what torch has allocated there.

    Attributes:
        mib: The peak in MiB, known when the context has ended.
    """

    mib: float

    def __init__(self, device: str) -> None:
        self.device = device

    def __enter__(self) -> "Peak":
        if self.device == "cuda":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            self.before = torch.cuda.memory_allocated()
        else:
            self.before = _start()
        return self

    def __exit__(self, *error: Any) -> None:
        after = torch.cuda.max_memory_allocated() if self.device == "cuda" else _highest()
        self.mib = (after - self.before) / 2**20


def _start() -> int:
    """Bytes in use now; the highest mark starts here where the system can do that (Linux)."""
    try:
        _RESET.write_text("5")
    except OSError:
        return _highest()
    return _of_status("VmRSS")


def _highest() -> int:
    if _STATUS.exists():
        return _of_status("VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _of_status(name: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024
