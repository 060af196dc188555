"""The built source archive and wheel hold every module and data file of the tree."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOPS = {"snnfer": "snnfer", "neurons": "snnfer/neurons", "converters": "snnfer/converters"}
NOT_SHIPPED = ("__pycache__", ".pyc")


def shipped_files():
    """Path in the wheel of every file of the tree that belongs there."""
    files = set()
    for top, target in TOPS.items():
        for file in (ROOT / top).rglob("*"):  # does not follow the links
            if file.is_file() and not file.is_symlink() and not any(part in str(file) for part in NOT_SHIPPED):
                files.add(f"{target}/{file.relative_to(ROOT / top).as_posix()}")
    return files


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Source archive and wheel, the wheel built from the source archive as an installer would."""
    pytest.importorskip("build", reason="needs the extra 'dev'")
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for top in TOPS:
        shutil.copytree(ROOT / top, copy / top, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(copy / "dist"), str(copy)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    (source,), (wheel,) = (copy / "dist").glob("*.tar.gz"), (copy / "dist").glob("*.whl")
    return source, wheel


def test_the_wheel_holds_every_file(archives):
    with zipfile.ZipFile(archives[1]) as wheel:
        held = set(wheel.namelist())
    assert shipped_files() <= held, sorted(shipped_files() - held)


def test_the_wheel_holds_nothing_else(archives):
    with zipfile.ZipFile(archives[1]) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held <= shipped_files(), sorted(held - shipped_files())


def test_both_archives_carry_the_licence(archives):
    with tarfile.open(archives[0]) as source:
        assert any(name.endswith("/LICENSE") for name in source.getnames())
    with zipfile.ZipFile(archives[1]) as wheel:
        assert any(name.endswith("/LICENSE") for name in wheel.namelist())


def test_the_wheel_works_without_the_checkout(archives, tmp_path):
    with zipfile.ZipFile(archives[1]) as wheel:
        wheel.extractall(tmp_path)
    code = (
        "import snnfer, snnfer.neurons, snnfer.converters;"
        "print(snnfer.__file__, snnfer.neurons.__file__, len(snnfer.list_models()))"
    )
    # -S -E would hide torch; putting the wheel first on the path hides the checkout.
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {code}"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert result.returncode == 0, result.stderr
    package, neurons, n_models = result.stdout.split()
    assert Path(package).is_relative_to(tmp_path)
    assert Path(neurons).is_relative_to(tmp_path)
    assert int(n_models) > 0
