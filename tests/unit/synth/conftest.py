"""One person and one small data set, shared by the tests of the generator."""

import pytest

from snnfer.synth import SynthConfig, generate
from snnfer.synth.identity import Identity
from snnfer.synth.person import Person
from snnfer.synth.renderer import View
from snnfer.synth.scene import Session, build_session

SMALL = SynthConfig(n_subjects=2, aus=(12, 45), width=80, height=60, seed=3)


@pytest.fixture(scope="session")
def person() -> Person:
    return Person(Identity.sample(5))


@pytest.fixture(scope="session")
def session() -> Session:
    return build_session(0, View(173, 130, 380.0), seed=0, lux=500.0)


@pytest.fixture(scope="session")
def small_config() -> SynthConfig:
    return SMALL


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory: pytest.TempPathFactory):
    return generate(tmp_path_factory.mktemp("synth") / "small", SMALL)
