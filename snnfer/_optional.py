"""Imports of optional dependencies, with an error that names the extra to install."""

import importlib
from types import ModuleType

from snnfer.errors import MissingExtraError


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional dependency when it is first needed.

    Args:
        module: Dotted name, as in an import statement.
        extra: The extra of snnfer that installs it.

    Raises:
        MissingExtraError: the package is not installed.

    Examples:
        >>> require("json", extra="data").dumps([1])
        '[1]'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name.split(".")[0]):
            raise
        raise MissingExtraError(
            f"the Python package '{module.split('.')[0]}' is not installed",
            cause=f"snnfer was installed without its '{extra}' extra",
            fix=f"pip install 'snnfer[{extra}]'",
        ) from error
