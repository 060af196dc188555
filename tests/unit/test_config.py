"""Configurations: strict keys and types, dotted overrides, a hash that only depends on the values."""

import subprocess
import sys
from dataclasses import dataclass, field
from typing import Literal

import pytest

from snnfer._config import apply_overrides, build_config, config_hash, read_yaml, to_dict
from snnfer.errors import ConfigError

pytest.importorskip("jsonargparse", reason="needs the extra 'cli'")
pytest.importorskip("yaml", reason="needs the extra 'cli'")


@dataclass(frozen=True)
class Train:
    epochs: int = 10
    learning_rate: float = 1e-3
    schedule: Literal["cosine", "constant"] = "cosine"


@dataclass(frozen=True)
class Model:
    name: str
    args: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    loss: Literal["mse", "cross_entropy"] = "mse"
    size: tuple[int, int] = (1, 2)
    train: Train = field(default_factory=Train)
    limit: int | None = None
    args: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    name: str
    train: Train = field(default_factory=Train)
    models: tuple[Model, ...] = ()
    limit: int | None = None


def test_builds_nested_dataclasses_with_defaults():
    values = {"name": "a", "train": {"epochs": 3}, "models": [{"name": "m", "args": {"hidden": 4}}]}
    assert build_config(Run, values) == Run("a", Train(epochs=3), (Model("m", {"hidden": 4}),))


@pytest.mark.parametrize(
    ("values", "where", "suggestion"),
    [
        ({"name": "a", "trian": {}}, "trian", "train"),
        ({"name": "a", "train": {"epoch": 3}}, "train.epoch", "train.epochs"),
        ({"name": "a", "models": [{"nam": "m"}]}, "models.nam", "models.name"),
    ],
)
def test_an_unknown_key_gets_the_nearest_one(values, where, suggestion):
    with pytest.raises(ConfigError) as error:
        build_config(Run, values, source="'run.yaml'")
    assert f"'run.yaml' has an unknown key '{where}'" in str(error.value)
    assert f"did you mean '{suggestion}'?" in str(error.value)


@pytest.mark.parametrize(
    "train", [{"epochs": "many"}, {"epochs": 1.5}, {"learning_rate": "fast"}, {"schedule": "linear"}]
)
def test_a_wrong_type_is_refused_and_named(train):
    with pytest.raises(ConfigError, match=next(iter(train))):
        build_config(Run, {"name": "a", "train": train})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"loss": "huber"}, "the config has loss = huber; expected one of mse, cross_entropy."),
        ({"size": [1, 2, 3]}, r"the config has size = [1, 2, 3]; expected a list of 2: each a whole number."),
        ({"train": {"learning_rate": "x"}}, "the config has train.learning_rate = x; expected a number."),
        ({"train": 3}, "the config has train = 3; expected a group of settings: epochs, learning_rate, schedule."),
        ({"limit": "many"}, "the config has limit = many; expected a whole number, or null."),
        ({"args": 3}, "the config has args = 3; expected settings by name."),
    ],
)
def test_a_value_that_does_not_fit_is_answered_with_what_does(values, message):
    with pytest.raises(ConfigError) as error:
        build_config(Settings, values)
    assert str(error.value) == message


def test_a_missing_key_is_refused_and_named():
    with pytest.raises(ConfigError, match="name"):
        build_config(Run, {})


def test_round_trip_through_plain_values():
    config = Run("a", models=(Model("m", {"hidden": 4}), Model("n")), limit=3)
    values = to_dict(config)
    assert values["models"] == [{"name": "m", "args": {"hidden": 4}}, {"name": "n", "args": {}}]
    assert build_config(Run, values) == config


def test_overrides_are_yaml_and_leave_the_original_alone():
    values = {"train": {"epochs": 1}}
    changed = apply_overrides(
        values, ["train.epochs=5", "train.learning_rate=1.0e-2", "models=[{name: m}]", "a.b=null"]
    )
    assert changed == {
        "train": {"epochs": 5, "learning_rate": 0.01},
        "models": [{"name": "m"}],
        "a": {"b": None},
    }
    assert values == {"train": {"epochs": 1}}


def test_the_last_override_wins_and_a_value_may_hold_an_equals_sign():
    assert apply_overrides({}, ["a=1", "a='x=y'"]) == {"a": "x=y"}


@pytest.mark.parametrize("override", ["epochs", "=3", "train.epochs.x=3", "a=[1"])
def test_a_broken_override_is_refused_and_quoted(override):
    with pytest.raises(ConfigError) as error:
        apply_overrides({"train": {"epochs": 1}}, [override])
    assert f"'{override}'" in str(error.value)


def test_the_hash_depends_on_values_only():
    assert config_hash(Run("a")) == config_hash(build_config(Run, {"train": {"epochs": 10}, "name": "a"}))
    assert config_hash(Run("a")) != config_hash(Run("a", Train(epochs=11)))
    assert len(config_hash(Run("a"))) == 12


def test_the_hash_is_the_same_in_another_process():
    code = (
        "from dataclasses import dataclass\nfrom snnfer._config import config_hash\n"
        "@dataclass(frozen=True)\nclass C:\n    a: int = 1\n    b: tuple = ('x', 'y')\n"
        "print(config_hash(C()))"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": s}
        )
        for s in ("1", "2")
    ]
    assert runs[0].stdout == runs[1].stdout != ""


def test_read_yaml(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("name: a\ntrain: {epochs: 3}\n", encoding="utf-8")
    assert read_yaml(file) == {"name": "a", "train": {"epochs": 3}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [1", "is not valid YAML"),
        (b"- 1\n", "holds no settings"),
        (b"", "holds no settings"),
        (b"\xff\xfe\xfa", "cannot be read as text"),
    ],
)
def test_a_file_that_is_no_config_is_refused_by_name(tmp_path, content, message):
    file = tmp_path / "c.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as error:
        read_yaml(file)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match="no config file at"):
        read_yaml(tmp_path / "none.yaml")
