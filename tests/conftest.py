"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def samples() -> Path:
    """Folder of real recordings (``events/`` and ``face/``), which the repository does not carry."""
    given = os.environ.get("SNNFER_SAMPLES")
    folder = Path(given) if given else Path(__file__).parents[2] / "shared" / "samples"
    if not folder.is_dir():
        pytest.skip(f"no real recordings at '{folder}'; set SNNFER_SAMPLES to the folder that holds them")
    return folder
