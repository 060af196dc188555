"""Configurations: frozen dataclasses read from YAML, changed by dotted overrides, checked strictly.

jsonargparse checks the types; unknown keys are reported with the nearest known one.
"""

import dataclasses
import difflib
import os
import re
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from snnfer._files import hash_value
from snnfer._optional import require
from snnfer.errors import ConfigError

C = TypeVar("C")


def read_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping; `ConfigError` says what is wrong with it."""
    yaml = require("yaml", extra="cli")
    try:
        value = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"no config file at '{path}'", fix="check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"'{path}' cannot be read as text", cause=str(error)) from error
    except yaml.YAMLError as error:
        where = re.sub(r"\s+", " ", str(error))
        raise ConfigError(f"'{path}' is not valid YAML", cause=where) from error
    if not isinstance(value, dict):
        raise ConfigError(f"'{path}' holds no settings", expected="a YAML mapping such as 'train: {epochs: 10}'")
    return value


def apply_overrides(values: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return `values` with dotted overrides applied, each ``key.subkey=value`` with a YAML value.

    Examples:
        >>> apply_overrides({"train": {"epochs": 1}}, ["train.epochs=5"])
        {'train': {'epochs': 5}}
    """
    yaml = require("yaml", extra="cli")
    result = _copy(values)
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key.strip():
            raise ConfigError(f"override '{override}'", expected="key=value, such as train.epochs=5")
        *parents, last = key.strip().split(".")
        node = result
        for parent in parents:
            child = node.setdefault(parent, {})
            if not isinstance(child, dict):
                raise ConfigError(f"override '{override}'", expected=f"'{parent}' to be a group of settings")
            node = child
        try:
            node[last] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"override '{override}' has a value that is not valid YAML") from error
    return result


def merge(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with `changes` on top: mappings are merged, everything else is replaced.

    Examples:
        >>> merge({"a": {"b": 1, "c": [1, 2]}}, {"a": {"c": [3]}})
        {'a': {'b': 1, 'c': [3]}}
    """
    result = _copy(values)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else _copy(value)
    return result


def build_config(cls: type[C], values: Mapping[str, Any], *, source: str = "the config") -> C:
    """Build the frozen dataclass `cls` from plain values, refusing unknown keys and wrong types.

    Args:
        cls: A dataclass whose fields are plain types, `Literal`, other dataclasses or tuples of them.
        values: Nested mapping, as read from YAML.
        source: Named in error messages.

    Raises:
        ConfigError: unknown key, missing key, wrong type or a value the dataclass itself refuses.
    """
    _check_keys(cls, values, source=source, prefix="")
    jsonargparse = require("jsonargparse", extra="cli")
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls)
    try:
        namespace = parser.parse_object(dict(values))
        return cls(**{f.name: parser.instantiate_classes(namespace)[f.name] for f in dataclasses.fields(cls)})  # type: ignore[arg-type]
    except jsonargparse.ArgumentError as error:
        raise _misfit(cls, values, str(error), source=source) from error


def to_dict(config: Any) -> dict[str, Any]:
    """Nested plain values of a dataclass config, tuples as lists (what JSON and YAML give back)."""
    return _plain(dataclasses.asdict(config))


def added(default: Any) -> Any:
    """A field that a dataclass config gained after results had been published.

    At its default it does not enter `config_hash`: settings that were hashed without it keep their hash.
    """
    return dataclasses.field(default=default, metadata={"added": True})


def config_hash(config: Any) -> str:
    """Hash of the effective config, 12 hexadecimal digits."""
    return hash_value(_plain(hashed_values(config)), length=12)


def hashed_values(value: Any) -> Any:
    """What enters a hash: dataclasses as dictionaries, without the fields of `added` that are at their default."""
    if dataclasses.is_dataclass(value):
        items = [(field, getattr(value, field.name)) for field in dataclasses.fields(value)]
        return {f.name: hashed_values(v) for f, v in items if not (f.metadata.get("added") and v == f.default)}
    if isinstance(value, Mapping):
        return {key: hashed_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [hashed_values(item) for item in value]
    return value


def _misfit(cls: type, values: Mapping[str, Any], message: str, *, source: str) -> ConfigError:
    """jsonargparse's message as the key, its value and what the key takes, in words."""
    named = re.search(r'[Kk]ey "([^"]+)"', message)
    hint: Any = cls
    value: Any = values
    for part in named[1].split(".") if named else ():
        nested = _dataclasses_in(hint)
        hints = typing.get_type_hints(nested[0]) if nested else {}
        hint = hints.get(part)
        value = value.get(part) if isinstance(value, Mapping) else None
    wanted = in_words(hint) if named else ""
    if not wanted or value is None:
        detail = re.sub(r"\s+", " ", message).strip()
        return ConfigError(f"{source} has a value that does not fit", cause=detail)
    assert named is not None
    return ConfigError(f"{source} has {named[1]} = {value}", expected=wanted)


def in_words(hint: Any) -> str:
    """What a field of this type takes, for readers; empty where there are no words for it.

    Examples:
        >>> in_words(typing.Literal["mse", "cross_entropy"])
        'one of mse, cross_entropy'
        >>> in_words(tuple[int, int])
        'a list of 2: each a whole number'
        >>> in_words(float | None)
        'a number, or null'
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin in (types.UnionType, typing.Union):
        words = [in_words(argument) for argument in arguments if argument is not type(None)]
        return ", or ".join([*words, *["null"] * (type(None) in arguments)]) if all(words) else ""
    if origin in (tuple, list):
        inner = {in_words(argument) for argument in arguments if argument is not Ellipsis}
        count = f" of {len(arguments)}" if origin is tuple and Ellipsis not in arguments else ""
        return f"a list{count}: each {inner.pop()}" if len(inner) == 1 and all(inner) else f"a list{count}"
    if dataclasses.is_dataclass(hint):
        return "a group of settings: " + ", ".join(typing.get_type_hints(hint))
    if origin is dict or hint is dict:
        return "settings by name"
    return _WORDS.get(hint, "")


_WORDS: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def _copy(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {key: _copy(value) for key, value in values.items()}
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _check_keys(cls: type, values: Mapping[str, Any], *, source: str, prefix: str) -> None:
    hints = typing.get_type_hints(cls)
    for key, value in values.items():
        if key not in hints:
            near = difflib.get_close_matches(str(key), hints, n=1)
            raise ConfigError(
                f"{source} has an unknown key '{prefix}{key}'",
                expected="one of " + ", ".join(hints),
                fix=f"did you mean '{prefix}{near[0]}'?" if near else "",
            )
        if dataclasses.is_dataclass(hints[key]) and not isinstance(value, Mapping | hints[key]):
            raise ConfigError(f"{source} has {prefix}{key} = {value}", expected=in_words(hints[key]))
        for nested in _dataclasses_in(hints[key]):
            for item in value if isinstance(value, list | tuple) else [value]:
                if isinstance(item, Mapping):
                    _check_keys(nested, item, source=source, prefix=f"{prefix}{key}.")


def _dataclasses_in(hint: Any) -> list[type]:
    """The dataclass that `hint` names, alone, in an optional or in a tuple or list."""
    if dataclasses.is_dataclass(hint):
        return [hint]  # type: ignore[list-item]
    if typing.get_origin(hint) in (types.UnionType, typing.Union, tuple, list):
        return [found for argument in typing.get_args(hint) for found in _dataclasses_in(argument)]
    return []
