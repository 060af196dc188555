"""The core needs torch and numpy alone, and adds little to their import time."""

import json
import subprocess
import sys

SCRIPT = """
import json, sys, time
import numpy, torch, torch.utils.flop_counter
before, start = set(sys.modules), time.perf_counter()
import snnfer
from snnfer import layers, models, neurons, profiling
import snnfer.neurons.adapters
seconds = time.perf_counter() - start
added = {name.split(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)
print(json.dumps({"seconds": seconds, "added": sorted(added)}))
"""


def test_core_imports_torch_and_numpy_alone_and_fast():
    result = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    measured = json.loads(result.stdout)
    assert set(measured["added"]) - {"numpy", "torch"} == {"snnfer"}  # submodules of these two are imported late
    assert measured["seconds"] < 2
