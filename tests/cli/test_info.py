"""``snnfer info``."""

import platform
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch

from snnfer.cli import info
from snnfer.cli import main as cli
from snnfer.converters.lava.environment import LavaEnvironment
from snnfer.neurons.kernels import _library, _select


@pytest.fixture(autouse=True)
def only_info(monkeypatch):
    monkeypatch.setattr(cli, "COMMAND_MODULES", ("info",))


def test_versions_and_devices_are_those_of_this_machine(capsys):
    assert cli.main(["info"]) == 0
    out = capsys.readouterr().out
    assert platform.python_version() in out
    assert torch.__version__.split("+")[0] in out
    assert "CPU" in out
    assert ("cuda:0" in out) == torch.cuda.is_available()


def test_a_missing_package_is_named_with_its_pip_line(monkeypatch, capsys):
    real = info.version_of
    monkeypatch.setattr(info, "version_of", lambda name: None if name in ("norse", "lightning") else real(name))
    assert cli.main(["info"]) == 0
    out = capsys.readouterr().out
    assert "missing norse: pip install 'snnfer[norse]'" in out
    assert "missing lightning: pip install 'snnfer[train]'" in out


def test_extras_come_from_the_metadata(monkeypatch):
    requirements = [
        "numpy>=1.26",
        'lightning>=2.3; extra == "train"',
        "torchmetrics ; extra=='train'",
        'snnfer[data]; extra == "synth"',
        'numba>=0.60; extra == "synth"',
        'old-package; python_version >= "3.99" and extra == "future"',
        'pytest>=8; extra == "dev"',
        'snnfer[cli]; extra == "all"',
    ]
    monkeypatch.setattr(metadata, "requires", lambda name: requirements)
    assert info.extras() == {"train": ["lightning", "torchmetrics"], "synth": ["numba"]}


def test_an_uninstalled_checkout_says_so(monkeypatch, capsys):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", absent)
    monkeypatch.setattr(metadata, "version", absent)
    assert cli.main(["info"]) == 0
    assert "running from a source folder" in capsys.readouterr().out


def test_the_environment_of_lava_is_shown_or_the_command_that_builds_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("SNNFER_CACHE", str(tmp_path))
    monkeypatch.delenv("SNNFER_LAVA_PYTHON", raising=False)
    assert cli.main(["info"]) == 0
    assert "lava simulator not built: snnfer simulate --setup-lava\n" in capsys.readouterr().out
    monkeypatch.setattr(
        "snnfer.converters.lava.environment.describe_lava",
        lambda: LavaEnvironment(Path("/env/python"), "3.11.7", {"lava-nc": "0.10.0", "lava-dl": None}),
    )
    line = info.lava_line()
    assert line.startswith("lava simulator /env/python (Python 3.11.7, lava-nc 0.10.0, lava-dl missing): ")
    monkeypatch.setenv("SNNFER_LAVA_PYTHON", str(tmp_path / "none"))
    monkeypatch.undo()
    monkeypatch.setenv("SNNFER_LAVA_PYTHON", str(tmp_path / "none"))
    assert "is no interpreter" in info.lava_line()


def test_the_python_marker_is_compared_as_numbers():
    assert info.applies_here('x; python_version >= "3.9"')
    assert not info.applies_here(f'x; python_version >= "{sys.version_info[0]}.{sys.version_info[1] + 1}"')


def kernel_line(out, name):
    return next(line for line in out.splitlines() if line.startswith("kernel") and line.split()[1] == name)


def set_up(monkeypatch, *, compiled, triton):
    monkeypatch.setattr(_library, "status", lambda: compiled)
    monkeypatch.setattr(_select, "_triton_status", lambda: triton)


def test_compiled_kernels_are_told_with_their_instruction_set(monkeypatch, capsys):
    set_up(monkeypatch, compiled=(True, "compiled, runs with AVX2"), triton=(False, "triton is not installed"))
    assert cli.main(["info"]) == 0
    out = capsys.readouterr().out
    assert kernel_line(out, "cpu").endswith("active, default for CPU tensors: compiled, runs with AVX2")
    assert kernel_line(out, "triton").endswith("not active: triton is not installed")
    assert "active, default for all other tensors: plain torch" in kernel_line(out, "reference")


def test_on_a_machine_with_cuda_triton_is_the_default_there(monkeypatch, capsys):
    set_up(monkeypatch, compiled=(True, "compiled"), triton=(True, "triton 3 on a card"))
    assert cli.main(["info"]) == 0
    assert kernel_line(capsys.readouterr().out, "triton").endswith(
        "active, default for CUDA tensors: triton 3 on a card"
    )


def test_without_the_library_plain_torch_is_the_default_and_the_fix_is_told(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(_library, "PATH", tmp_path / "missing.so")
    _library._load.cache_clear()
    try:
        assert cli.main(["info"]) == 0
    finally:
        _library._load.cache_clear()
    out = capsys.readouterr().out
    assert "not active: the kernels were not compiled; install a C++ compiler" in kernel_line(out, "cpu")
    if not torch.cuda.is_available():
        assert "default for all tensors" in kernel_line(out, "reference")
