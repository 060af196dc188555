"""Measurements in processes of their own, each in the environment under test."""

import dataclasses
import json
import os
import subprocess
import sys
from typing import Any

from benchmarks.speed.measure import Job

RETAINED = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "20000000000",
    "MALLOC_TOP_PAD_": "268435456",
}
SETTINGS: dict[str, dict[str, dict[str, str]]] = {
    "cpu": {"default": {}, "retained": RETAINED},
    "cuda": {
        name: {f"SJ_{neuron}_CUDA_IMPLEMENTATION": name for neuron in ("IF", "PLIF")} for name in ("triton", "cuda")
    },
}
"""Environments of each device: of the CPU two settings of the allocator; of CUDA the back ends of spikingjelly: Triton,
and its compiled kernels, which took the place of CuPy in spikingjelly 2.0 and must be built from source."""


def run_apart(job: Job, setting: str) -> dict[str, Any]:
    """The result of a job in a process with one thread and the environment of `setting`."""
    command = [sys.executable, "-m", "benchmarks.speed.measure", json.dumps(dataclasses.asdict(job))]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(job.device, setting))
    if result.returncode:
        raise RuntimeError(f"{job} in the setting '{setting}' failed:\n{result.stderr[-2000:]}")
    return json.loads(result.stdout.splitlines()[-1])


def environment(device: str, setting: str) -> dict[str, str]:
    """The variables of this process, without those of other settings, with those of `setting`."""
    others = {name for variables in SETTINGS[device].values() for name in variables}
    kept = {name: value for name, value in os.environ.items() if name not in others}
    return {**kept, "OMP_NUM_THREADS": "1", **SETTINGS[device][setting]}
