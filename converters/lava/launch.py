"""Runs a script of this folder by the interpreter of lava's own environment."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from snnfer.converters.lava.environment import SETUP_COMMAND, find_lava_python
from snnfer.errors import ExportError, MissingExtraError

GRACE_S = 5.0
"""Seconds that interrupted processes have to end by themselves."""


def run_worker(script: str, job: Mapping[str, Any], *, what: str) -> dict[str, np.ndarray]:
    """Give the arrays of `job` to a script; the arrays that it answers.

    An interruption ends all processes that lava has started and leaves no shared memory behind.

    Args:
        script: Name of the script, such as ``worker.py``.
        job: What the script reads.
        what: What lava runs, for the error.

    Raises:
        MissingExtraError: there is no environment with lava.
        ExportError: lava failed.
    """
    python = find_lava_python()
    with tempfile.TemporaryDirectory(prefix="snnfer-lava-") as folder:
        given, answer = Path(folder, "job.npz"), Path(folder, "result.npz")
        np.savez(given, **job)
        # -I: the folder of the script hides no package
        command = [str(python), "-I", str(Path(__file__).with_name(script)), str(given), str(answer)]
        output, code = _run(command, folder)
        if answer.is_file():
            with np.load(answer) as arrays:
                result = dict(arrays)
        else:
            result = {"error": np.array(output)}
    if code == 0:
        return result
    reason = next((line.strip() for line in reversed(str(result["error"]).splitlines()) if line.strip()), "no message")
    if "No module named" in reason:
        raise MissingExtraError(
            f"'{python}' has no lava", cause=reason, fix=f"run '{SETUP_COMMAND}', or name another interpreter"
        )
    raise ExportError(f"lava failed on {what}", cause=reason)


def _run(command: list[str], folder: str) -> tuple[str, int]:
    """What a command printed, and its exit code."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = process.communicate()
    except BaseException:
        _end(process)
        raise
    return output, process.returncode


def _end(process: subprocess.Popen[str]) -> None:
    """End a command and the processes that it has started, in its own session.

    Python's tracker of shared memory is one of them: it outlives a request to end, and removes what the others leave.
    """
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=GRACE_S)  # until the last of them has closed its output
    except (subprocess.TimeoutExpired, ProcessLookupError):
        pass
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
