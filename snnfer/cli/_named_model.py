"""Models that commands build by name, with the arguments of ``--set``."""

from collections.abc import Sequence
from typing import Any

from snnfer.errors import ConfigError, SnnferError


def create_named(name: str, overrides: Sequence[str], **arguments: Any) -> Any:
    """`create_model` with ``key=value`` arguments, and with others that commands have options for.

    Raises:
        ConfigError: unknown model or argument, or values that the model cannot be built with.
    """
    from snnfer._config import apply_overrides
    from snnfer.models import create_model

    given = {**(apply_overrides({}, list(overrides)) if overrides else {}), **arguments}
    try:
        return create_model(name, **given)
    except SnnferError:
        raise
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:  # what torch says of such a size
        if not given:
            raise
        values = ", ".join(f"{key}={value}" for key, value in given.items())
        raise ConfigError(
            f"'{name}' cannot be built with {values}",
            expected="values that its layers can have",
            cause=" ".join(str(error).split())[:160],
        ) from error
