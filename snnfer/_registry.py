"""Registries: plain dictionaries from a name to a factory function."""

import difflib
import fnmatch
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from snnfer.errors import ConfigError

F = TypeVar("F", bound=Callable[..., Any])
V = TypeVar("V")


def register(registry: dict[str, Callable[..., Any]], factory: F, *, name: str | None = None) -> F:
    """Add `factory` to `registry` under its own (or the given) name; a duplicate raises `ConfigError`."""
    key = name or factory.__name__
    if key in registry:
        raise ConfigError(f"the name '{key}' is registered twice", fix="choose another name")
    registry[key] = factory
    return factory


def look_up(registry: Mapping[str, V], name: str, *, kind: str) -> V:
    """Return the entry called `name`; an unknown name raises `ConfigError` with the nearest one."""
    if name in registry:
        return registry[name]
    near = difflib.get_close_matches(name, registry, n=1)
    raise ConfigError(
        f"unknown {kind} '{name}'",
        expected="one of " + ", ".join(sorted(registry)),
        fix=f"use '{near[0]}'" if near else "",
    )


def names(registry: dict[str, Any], pattern: str = "*") -> list[str]:
    """Names in `registry` that match a shell pattern, sorted."""
    return sorted(name for name in registry if fnmatch.fnmatch(name, pattern))
