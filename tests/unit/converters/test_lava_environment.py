"""Finding and building the environment of lava, without building it (see tests/export for the real one)."""

import json
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from snnfer.converters.lava import environment, launch
from snnfer.converters.lava.environment import build_lava_environment, describe_lava, find_lava_python, lava_folder
from snnfer.errors import MissingExtraError, SnnferError


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SNNFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SNNFER_LAVA_PYTHON", raising=False)


def stand_up(recipe):
    """An environment as a finished build leaves it."""
    python = lava_folder() / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    (lava_folder() / "snnfer-lava.json").write_text(json.dumps(recipe))
    return python


RECIPE = {"libraries": list(environment.LIBRARIES), "lava": list(environment.LAVA)}


def test_absent_environment_names_the_command():
    with pytest.raises(MissingExtraError, match="run 'snnfer simulate --setup-lava'"):
        find_lava_python()


def test_finds_a_complete_one_only():
    python = stand_up(RECIPE)
    assert find_lava_python() == python
    assert build_lava_environment() == python  # stands: nothing is built
    (lava_folder() / "snnfer-lava.json").write_text(json.dumps({**RECIPE, "lava": ["lava-nc==0.9.0"]}))
    with pytest.raises(MissingExtraError):
        find_lava_python()
    (lava_folder() / "snnfer-lava.json").unlink()  # an interrupted build
    with pytest.raises(MissingExtraError):
        find_lava_python()


def test_interpreter_of_the_user_comes_first(monkeypatch, tmp_path):
    stand_up(RECIPE)
    monkeypatch.setenv("SNNFER_LAVA_PYTHON", sys.executable)
    assert str(find_lava_python()) == sys.executable
    monkeypatch.setenv("SNNFER_LAVA_PYTHON", str(tmp_path / "none"))
    with pytest.raises(MissingExtraError, match="is no interpreter"):
        find_lava_python()


def test_registry_out_of_reach_leaves_nothing(monkeypatch):
    """pip's own last words, and no half-built environment."""
    real = subprocess.run

    def run(command, **kwargs):
        if "install" in command:
            return subprocess.CompletedProcess(
                command, 1, "", "WARNING: retry\nERROR: No matching distribution found\n"
            )
        if "venv" in command:
            command = [*command[:3], "--without-pip", *command[3:]]
        return real(command, **kwargs)

    monkeypatch.setattr(environment.subprocess, "run", run)
    with pytest.raises(SnnferError, match="could not install numpy.*ERROR: No matching distribution.*--setup-lava"):
        build_lava_environment()
    assert not list(lava_folder().parent.iterdir())


def test_an_environment_is_described_by_its_own_interpreter(monkeypatch, tmp_path):
    monkeypatch.setenv("SNNFER_LAVA_PYTHON", sys.executable)  # snnfer's own has no lava, which is said
    found = describe_lava()
    assert found.version == platform.python_version()
    assert set(found.packages) == {"lava-nc", "lava-dl"}
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho hello\n")
    broken.chmod(0o755)
    monkeypatch.setenv("SNNFER_LAVA_PYTHON", str(broken))
    with pytest.raises(MissingExtraError, match="is no Python interpreter; fix: correct SNNFER_LAVA_PYTHON"):
        describe_lava()
    broken.write_text("#!/nowhere/interpreter\n")
    with pytest.raises(SnnferError, match="could not start"):
        describe_lava()


HOLDS = """
import subprocess, sys, time
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
memory = SharedMemory(create=True, size=64)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
Path("ready.tmp").write_text(f"{memory.name} {child.pid}")
Path("ready.tmp").rename("ready")
time.sleep(60)
"""


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="looks at the files of Linux")
def test_an_interruption_leaves_no_process_and_no_shared_memory(tmp_path):
    def interrupt(*_):
        if (tmp_path / "ready").exists():
            signal.setitimer(signal.ITIMER_REAL, 0)  # once
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
    try:
        with pytest.raises(KeyboardInterrupt):
            launch._run([sys.executable, "-c", HOLDS], str(tmp_path))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    memory, child = (tmp_path / "ready").read_text().split()
    assert not Path("/dev/shm", memory).exists()
    state = Path(f"/proc/{child}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"
