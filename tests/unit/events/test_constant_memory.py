"""Ten million events pass through conversion and summary without ever being in memory together."""

import subprocess
import sys
from pathlib import Path

import pytest

N_EVENTS = 10_000_000
IN_MEMORY_MIB = N_EVENTS * 16 / 2**20  # what the events alone would take

WRITE = f"""
import numpy as np
from snnfer.events import EVENT_DTYPE
from snnfer.events.hdf5 import write_chunks

def chunks():
    rng = np.random.default_rng(0)
    for k in range(20):
        events = np.empty({N_EVENTS} // 20, EVENT_DTYPE)
        events["t"] = k * 500_000 + np.linspace(0, 499_999, len(events)).astype(int)
        events["x"], events["y"] = rng.integers(0, 640, len(events)), rng.integers(0, 480, len(events))
        events["p"] = events["x"] % 4 == 0
        yield events

write_chunks("big.h5", chunks(), 640, 480)
"""
USE = """
import re
import snnfer.events as ev

def peak_mib():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024

ev.summarise("small.h5")
ev.convert("small.h5", "small.raw")
before = peak_mib()
n = ev.convert("big.h5", "big.raw")
summaries = [ev.summarise(path) for path in ("big.h5", "big.raw")]
print(n, *(f"{s.n_events} {s.duration_us} {s.on_share:.6f} {s.peak_rate_hz:.0f}" for s in summaries), sep="\\n")
print(peak_mib() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc to read the peak memory")
def test_ten_million_events(tmp_path):
    small = WRITE.replace(str(N_EVENTS), "2000").replace("big.h5", "small.h5")
    for code in (small, WRITE):
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    done = subprocess.run([sys.executable, "-c", USE], cwd=tmp_path, check=True, capture_output=True, text=True)
    n_events, first, second, increase_mib = done.stdout.splitlines()
    assert int(n_events) == N_EVENTS
    assert first == second
    assert first.split()[0] == str(N_EVENTS)
    assert float(first.split()[2]) == pytest.approx(0.25, abs=0.001)
    assert float(increase_mib) < 0.6 * IN_MEMORY_MIB
