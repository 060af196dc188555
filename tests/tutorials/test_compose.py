"""The tutorial on composing a network runs, and the pages show the code that runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "docs" / "tutorials" / "compose.py"


def test_the_tutorial_composes_trains_and_tests_on_held_out_people(tmp_path):
    """In a process of its own: it registers a model."""
    for module in ("numba", "lightning"):
        pytest.importorskip(module)
    command = [sys.executable, str(SCRIPT), "--subjects", "2", "--aus", "26", "51", "--epochs", "1"]
    environment = os.environ | {"SNNFER_CACHE": str(tmp_path), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert run.returncode == 0, run.stderr
    recognised = [int(n) for n in re.findall(r"s\d\d: (\d) of 4 clips recognised", run.stdout)]
    assert len(recognised) == 2
    assert f"accuracy {sum(recognised) / 8:.1%}, 95 % interval over 2 people" in run.stdout
    assert "chance 50.0%" in run.stdout


def network_of(text):
    """The lines from ``@sf.models.register_model`` to the return of the network, without comments."""
    block = text[text.index("@sf.models.register_model") :]
    end = re.search(r"return sf.models.SpikingClassifier\(.*\n", block)
    assert end is not None
    return [line.split("  # ")[0].rstrip() for line in block[: end.end()].splitlines()]


@pytest.mark.parametrize("page", ["README.md", "docs/tutorials/compose.md"])
def test_the_pages_show_the_network_that_runs(page):
    shown = network_of((ROOT / page).read_text(encoding="utf-8"))
    assert shown == network_of(SCRIPT.read_text(encoding="utf-8"))
    assert len(shown) <= 20


def test_the_links_of_the_page_lead_somewhere():
    page = ROOT / "docs" / "tutorials" / "compose.md"
    for target in re.findall(r"\]\((?!https?://|#)([^)#\s]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
