"""Keeping freed memory, measured as page faults in fresh processes."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys, torch
from snnfer._memory import retain_freed_memory
if sys.argv[1] == "retain":
    assert retain_freed_memory()
for i in range(8):  # 8 tensors of 40 MB (10,000 pages) alive at once, like the activations of a training step
    if i == 4:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    tensors = [torch.ones(10_000_000) for _ in range(8)]
    del tensors
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(mode):
    result = subprocess.run([sys.executable, "-c", SCRIPT, mode], capture_output=True, text=True, check=True)
    return int(result.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_freed_memory_is_used_again():
    assert page_faults("retain") < 0.2 * page_faults("default")
