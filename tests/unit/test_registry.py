"""Registries: look up, list, refuse duplicates."""

import pytest

from snnfer._registry import look_up, names, register
from snnfer.errors import ConfigError


def alpha_one():
    return 1


def alpha_two():
    return 2


@pytest.fixture
def registry():
    entries = {}
    register(entries, alpha_two)
    register(entries, alpha_one)
    return entries


def test_finds_what_was_registered(registry):
    assert look_up(registry, "alpha_one", kind="model")() == 1
    assert register(registry, alpha_one, name="beta") is alpha_one
    assert look_up(registry, "beta", kind="model") is alpha_one


def test_lists_sorted_names_by_pattern(registry):
    assert names(registry) == ["alpha_one", "alpha_two"]
    assert names(registry, "*_two") == ["alpha_two"]
    assert names(registry, "beta*") == []


def test_a_duplicate_is_refused(registry):
    with pytest.raises(ConfigError, match="'alpha_one' is registered twice"):
        register(registry, alpha_one)


def test_an_unknown_name_gets_the_nearest_one(registry):
    with pytest.raises(ConfigError, match="unknown model 'alpha_on'; expected one of alpha_one, alpha_two; fix: use '"):
        look_up(registry, "alpha_on", kind="model")


def test_a_name_near_to_nothing_gets_no_suggestion(registry):
    with pytest.raises(ConfigError) as error:
        look_up(registry, "zzz", kind="model")
    assert "fix" not in str(error.value)
