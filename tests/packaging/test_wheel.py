"""The built source archive and wheel hold every module and data file of the tree, and the compiled kernels."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOPS = {"snnfer": "snnfer", "neurons": "snnfer/neurons", "converters": "snnfer/converters"}
NOT_SHIPPED = ("__pycache__", ".pyc", "_snnfer_cpu")
LIBRARY = "snnfer/neurons/kernels/_snnfer_cpu"
ONE_STEP = """
import sys; sys.path.insert(0, {folder!r})
import torch, snnfer, snnfer.neurons, snnfer.converters
from snnfer.neurons.kernels import default_kernel, kernel_status
assert snnfer.layers.SpikingConv2d(2, 4)(torch.rand(3, 1, 2, 8, 8)).shape == (3, 1, 4, 4, 4)
print(snnfer.__file__, snnfer.neurons.__file__, len(snnfer.list_models()), default_kernel("cpu"))
print(kernel_status("cpu").reason)
"""


def shipped_files():
    """Path in the wheel of every file of the tree that belongs there."""
    files = set()
    for top, target in TOPS.items():
        for file in (ROOT / top).rglob("*"):  # does not follow the links
            if file.is_file() and not file.is_symlink() and not any(part in str(file) for part in NOT_SHIPPED):
                files.add(f"{target}/{file.relative_to(ROOT / top).as_posix()}")
    return files


def build(folder, *options, **variables):
    """Build a copy of the tree, without what was compiled there, into ``folder/dist``."""
    pytest.importorskip("build", reason="needs the extra 'dev'")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for top in TOPS:
        left_out = shutil.ignore_patterns("__pycache__", "_snnfer_cpu.*")
        shutil.copytree(ROOT / top, folder / top, symlinks=True, ignore=left_out)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), *options, str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **variables})
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Source archive and wheel, the wheel built from the source archive as an installer would."""
    copy = tmp_path_factory.mktemp("checkout")
    build(copy)
    (source,), (wheel,) = (copy / "dist").glob("*.tar.gz"), (copy / "dist").glob("*.whl")
    return source, wheel


def held_files(wheel):
    """What a wheel holds, its metadata left out, and the compiled library apart."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    libraries = {name for name in names if name.startswith(LIBRARY)}
    return names - libraries, libraries


def run_from(wheel, folder):
    """Lines that `ONE_STEP` prints where the wheel stands first on the path, which hides the checkout."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    command = [sys.executable, "-B", "-c", ONE_STEP.format(folder=str(folder))]  # -S -E would hide torch
    result = subprocess.run(command, capture_output=True, text=True, cwd=folder.parent, check=False)
    assert result.returncode == 0, result.stderr
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == before, "the installation was written to"
    return result.stdout.splitlines()


def test_the_wheel_holds_every_file_and_nothing_else(archives):
    held, _ = held_files(archives[1])
    assert held == shipped_files(), sorted(held ^ shipped_files())


def test_both_archives_carry_the_licence(archives):
    with tarfile.open(archives[0]) as source:
        assert any(name.endswith("/LICENSE") for name in source.getnames())
    with zipfile.ZipFile(archives[1]) as wheel:
        assert any(name.endswith("/LICENSE") for name in wheel.namelist())


def test_the_wheel_serves_every_python_of_this_platform(archives):
    _, python, abi, platform = archives[1].stem.rsplit("-", 3)
    assert (python, abi) == ("py3", "none")
    assert platform != "any"


def test_the_wheel_works_without_the_checkout(archives, tmp_path):
    package, neurons, n_models, kernel = run_from(archives[1], tmp_path / "site")[0].split()
    assert Path(package).is_relative_to(tmp_path)
    assert Path(neurons).is_relative_to(tmp_path)
    assert int(n_models) > 0
    if shutil.which("g++") is None:
        pytest.skip("no C++ compiler: the rest needs compiled kernels")
    assert len(held_files(archives[1])[1]) == 1
    assert kernel == "cpu"


def test_a_broken_compiler_leaves_an_installation_that_runs_and_says_so(tmp_path):
    copy = tmp_path / "checkout"
    copy.mkdir()
    output = build(copy, "--wheel", CC="/bin/false", CXX="/bin/false")
    assert "the kernels of snnfer were not compiled" in output
    assert "snnfer will run in plain torch" in output
    (wheel,) = (copy / "dist").glob("*.whl")
    assert held_files(wheel) == (shipped_files(), set())
    first, reason = run_from(wheel, tmp_path / "site")
    assert first.split()[-1] == "reference"
    assert reason.startswith("the kernels were not compiled; install a C++ compiler")
