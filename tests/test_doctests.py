"""Runs the examples in the docstrings of every module."""

import doctest
import importlib
import os
from pathlib import Path

import pytest

from snnfer.errors import MissingExtraError

ROOT = Path(__file__).parents[1]
LIBRARIES = (".norse", ".spikingjelly")
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules():
    """Dotted names of all modules, those behind the links included."""
    names = []
    for folder, _, files in os.walk(ROOT / "snnfer", followlinks=True):
        parts = Path(folder).relative_to(ROOT).parts
        names += [".".join([*parts, Path(f).stem]).removesuffix(".__init__") for f in files if f.endswith(".py")]
    return sorted(names)


def load(name):
    try:
        return importlib.import_module(name)
    except MissingExtraError as error:
        pytest.skip(str(error))
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("snnfer"):
            raise
        pytest.skip(f"{name} needs the package '{error.name}', which is not installed")


@pytest.mark.parametrize("name", modules())
def test_examples_of(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # examples may write files
    module = load(name)
    if name.startswith(("snnfer.neurons.adapters.", "snnfer.converters.exchange.")) and name.endswith(LIBRARIES):
        pytest.importorskip(name.rsplit(".", 1)[1])
    finder, runner = doctest.DocTestFinder(exclude_empty=True), doctest.DocTestRunner(optionflags=FLAGS)
    report: list[str] = []
    for test in finder.find(module, name):
        runner.run(test, out=report.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(report)


def test_there_are_examples_to_run():
    finder = doctest.DocTestFinder()
    assert any(test.examples for test in finder.find(importlib.import_module("snnfer.errors")))
