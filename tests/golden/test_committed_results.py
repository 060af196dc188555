"""Committed results: every number in them is what their stored predictions give today."""

import json
import shutil
from pathlib import Path

import pytest

from snnfer._config import to_dict
from snnfer.benchmark import load_config, write_report

ROOT = Path(__file__).parents[2] / "benchmarks"
RUNS = sorted(path.parent for path in (ROOT / "results").glob("*/manifest.json"))


@pytest.mark.parametrize("run", RUNS, ids=lambda path: path.name)
def test_stored_predictions_give_the_committed_numbers(run, tmp_path):
    again = Path(shutil.copytree(run, tmp_path / run.name))
    (again / "metrics.json").unlink()
    write_report(again)
    assert json.loads((again / "metrics.json").read_text()) == json.loads((run / "metrics.json").read_text())


@pytest.mark.parametrize("run", RUNS, ids=lambda path: path.name)
def test_the_committed_config_is_the_one_that_made_them(run):
    manifest = json.loads((run / "manifest.json").read_text())
    config = load_config(ROOT / "configs" / f"{manifest['name']}.yaml")
    assert is_part(manifest["config"], to_dict(config))  # a setting added since then is at its default
    assert manifest["complete"]


def is_part(old, new):
    """Whether every setting of `old` has the same value in `new`."""
    if isinstance(old, dict):
        return isinstance(new, dict) and all(key in new and is_part(value, new[key]) for key, value in old.items())
    if isinstance(old, list):
        return isinstance(new, list) and len(old) == len(new) and all(map(is_part, old, new))
    return old == new
