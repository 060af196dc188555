"""The environment that lava runs in: its own interpreter, built once in the cache folder.

lava-nc 0.10 and lava-dl 0.6 ask for old versions of Python and numpy and install packages that a simulation does not
need, so they never share an environment with snnfer.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from snnfer.datasets import default_cache_dir
from snnfer.errors import MissingExtraError, SnnferError

VARIABLE = "SNNFER_LAVA_PYTHON"
SETUP_COMMAND = "snnfer simulate --setup-lava"
LIBRARIES = ("numpy", "scipy", "h5py", "networkx", "asteval")
"""What a simulation with lava imports."""
LAVA = ("lava-nc==0.10.0", "lava-dl==0.6.0")
"""Installed without their dependencies: torch, torchvision and OpenCV serve their training only."""
MARKER = "snnfer-lava.json"
_VERSIONS = """
import json, platform, sys
from importlib import metadata
found = {"python": platform.python_version()}
for name in sys.argv[1:]:
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        found[name] = None
print(json.dumps(found))
"""


def lava_folder() -> Path:
    """Folder of the environment that `build_lava_environment` makes."""
    return default_cache_dir() / "lava-env"


def find_lava_python() -> Path:
    """The interpreter that runs lava: ``$SNNFER_LAVA_PYTHON`` if set, else that of `build_lava_environment`.

    Raises:
        MissingExtraError: there is none.
    """
    given = os.environ.get(VARIABLE)
    if given:
        if not (Path(given).is_file() and os.access(given, os.X_OK)):
            raise MissingExtraError(
                f"{VARIABLE}={given} is no interpreter",
                expected="the python of an environment with lava-nc and lava-dl",
                fix=f"correct it, or unset it and run '{SETUP_COMMAND}'",
            )
        return Path(given)
    python = _python_of(lava_folder())
    if not (_is_complete(lava_folder()) and python.exists()):
        raise MissingExtraError(
            "there is no environment with lava, Intel's simulator",
            cause="it is built once, beside snnfer's own (331 MB)",
            fix=f"run '{SETUP_COMMAND}'",
        )
    return python


@dataclass(frozen=True)
class LavaEnvironment:
    """The environment that simulations run in.

    Args:
        python: Its interpreter.
        version: Of this Python.
        packages: Installed versions of lava-nc and lava-dl; None for one that is missing.
    """

    python: Path
    version: str
    packages: dict[str, str | None]


def describe_lava() -> LavaEnvironment:
    """Interpreter and versions of the environment that `find_lava_python` finds, asked of itself.

    Raises:
        MissingExtraError: there is none, or it is no interpreter.
        SnnferError: its interpreter does not start.
    """
    python = find_lava_python()
    names = [requirement.partition("==")[0] for requirement in LAVA]
    answer = _run([str(python), "-I", "-c", _VERSIONS, *names], what=f"start '{python}'")
    try:
        found = json.loads(answer)
    except ValueError as error:
        raise MissingExtraError(
            f"'{python}' is no Python interpreter", fix=f"correct {VARIABLE}, or unset it and run '{SETUP_COMMAND}'"
        ) from error
    return LavaEnvironment(python, found["python"], {name: found[name] for name in names})


def build_lava_environment(*, rebuild: bool = False) -> Path:
    """Build the environment in the cache folder, unless it stands there; returns its interpreter.

    Two calls at once do not disturb each other: each builds aside, and the first to end wins.

    Args:
        rebuild: Build it again even if it stands there.

    Raises:
        SnnferError: the packages cannot be reached, or this Python cannot make environments.
    """
    folder = lava_folder()
    if _is_complete(folder) and _python_of(folder).exists() and not rebuild:
        return _python_of(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=".lava-env-", dir=folder.parent))
    try:
        _fill(building)
        if folder.exists() and (rebuild or not _is_complete(folder)):
            shutil.rmtree(folder)
        if not folder.exists():
            os.replace(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return _python_of(folder)


def _fill(folder: Path) -> None:
    _run([sys.executable, "-m", "venv", str(folder)], what="make an environment")
    python = _python_of(folder)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    _run([*pip, *LIBRARIES], what="install " + ", ".join(LIBRARIES))
    _run([*pip, "--no-deps", "--ignore-requires-python", *LAVA], what="install " + " and ".join(LAVA))
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(_run([str(python), "-c", code], what="start the new interpreter").strip())
    shutil.rmtree(site / "tests", ignore_errors=True)  # both wheels install 110 MB of tests under this name
    (folder / MARKER).write_text(json.dumps(_recipe()), encoding="utf-8")


def _recipe() -> dict[str, list[str]]:
    return {"libraries": list(LIBRARIES), "lava": list(LAVA)}


def _is_complete(folder: Path) -> bool:
    try:
        return json.loads((folder / MARKER).read_text(encoding="utf-8")) == _recipe()
    except (OSError, ValueError):
        return False


def _python_of(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _run(command: Sequence[str], *, what: str) -> str:
    """Output of a command; its last words in an error."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise SnnferError(
            f"could not {what}", cause=error.strerror or str(error), fix=f"run '{SETUP_COMMAND}', or correct {VARIABLE}"
        ) from error
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines
        raise SnnferError(
            f"the environment for lava is not usable: could not {what}",
            cause=errors[-1] if errors else f"exit code {done.returncode}",
            fix=f"make sure that pip reaches a package index and run '{SETUP_COMMAND}' again, or set {VARIABLE} to a "
            "Python that has lava-nc and lava-dl",
        )
    return done.stdout
