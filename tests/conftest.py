"""Fixtures shared by all tests."""

import os
from pathlib import Path

import numpy as np
import pytest

from snnfer.events import EventStream, FrameStream
from snnfer.events.hdf5 import write_hdf5


@pytest.fixture(scope="session")
def samples() -> Path:
    """Folder of real recordings (``events/`` and ``face/``), which the repository does not carry."""
    given = os.environ.get("SNNFER_SAMPLES")
    folder = Path(given) if given else Path(__file__).parents[2] / "shared" / "samples"
    if not folder.is_dir():
        pytest.skip(f"no real recordings at '{folder}'; set SNNFER_SAMPLES to the folder that holds them")
    return folder


@pytest.fixture(scope="session")
def lava() -> Path:
    """Interpreter of lava's own environment, which the first run of the tests builds in the cache (331 MB)."""
    from snnfer.converters.lava.environment import build_lava_environment
    from snnfer.errors import SnnferError

    try:
        return build_lava_environment()
    except SnnferError as error:
        if "could not install numpy" in str(error):
            pytest.skip(f"the package index is out of reach, so lava cannot be installed: {error}")
        raise


@pytest.fixture
def toy_manifest(tmp_path: Path) -> Path:
    """Folder with a manifest of 3 subjects x 3 Action Units x 2 clips: each class moves another corner of the image."""
    return _write_toy_manifest(tmp_path / "toy")


@pytest.fixture(scope="module")
def module_toy_manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, one folder for all tests of a module."""
    return _write_toy_manifest(tmp_path_factory.mktemp("data") / "toy")


def _write_toy_manifest(folder: Path) -> Path:
    folder.mkdir()
    rows = ["subject,au,sensor,path,t_start_us,t_end_us"]
    for s, subject in enumerate(("anna", "ben", "cleo")):
        for c, au in enumerate((2, 12, 45)):
            for repetition in range(2):
                name = f"{subject}-au{au}-{repetition}.h5"
                write_hdf5(folder / name, _toy_recording(np.random.default_rng([s, c, repetition]), corner=c))
                rows.append(f"{subject},{au},davis346,{name},0,300000")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def _toy_recording(generator: np.random.Generator, *, corner: int) -> EventStream:
    """300 ms at 32 x 32: 1,500 events in one corner, 300 anywhere, RGB that brightens and depth that falls there."""
    left, top = ((0, 0), (16, 0), (0, 16))[corner]
    t = np.sort(generator.integers(0, 300_000, 1800))
    moving = np.arange(1800) < 1500
    generator.shuffle(moving)
    size = np.where(moving, 16, 32)
    x, y = ((generator.random((2, 1800)) * size).astype(int) + np.where(moving, [[left], [top]], 0)).tolist()
    images = generator.integers(90, 110, (10, 32, 32, 3), dtype=np.uint8)
    images[:, top : top + 16, left : left + 16] += np.arange(10, dtype=np.uint8)[:, None, None, None] * 8
    depth = np.full((10, 32, 32), 1000, dtype=np.uint16)
    depth[:, top : top + 16, left : left + 16] -= np.arange(10, dtype=np.uint16)[:, None, None] * 8
    t_us = np.arange(10) * 30_000
    frames = {"rgb": FrameStream(t_us, images), "depth": FrameStream(t_us, depth)}
    return EventStream.from_arrays(t, x, y, generator.integers(0, 2, 1800), 32, 32, frames=frames)
