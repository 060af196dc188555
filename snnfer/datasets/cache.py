"""A folder of arrays keyed by content, written atomically."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from snnfer._files import atomic_path, hash_value
from snnfer.errors import DatasetError


def default_cache_dir() -> Path:
    """``$SNNFER_CACHE`` if set, else ``~/.cache/snnfer``."""
    return Path(os.environ.get("SNNFER_CACHE") or Path.home() / ".cache" / "snnfer")


class ArrayCache:
    """Arrays on disk, found again by what they were made from.

    Args:
        root: Folder; made when first written to.

    Examples:
        >>> import tempfile
        >>> cache = ArrayCache(tempfile.mkdtemp())
        >>> float(cache.get({"what": "ones"}, lambda: np.ones(3)).sum())
        3.0
        >>> float(cache.get({"what": "ones"}, lambda: 1 / 0).sum())  # found, not made again
        3.0
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)

    def path(self, key: Any) -> Path:
        """Where the array for `key` (a JSON-serialisable value) lies or would lie."""
        name = hash_value(key, length=32)
        return self.root / name[:2] / f"{name}.npy"

    def store(self, key: Any, build: Callable[[], np.ndarray]) -> Path:
        """Path of the array for `key`; built and written if it is not there or cannot be read.

        Raises:
            DatasetError: it cannot be written.
        """
        path = self.path(key)
        if path.is_file():
            try:
                np.load(path, mmap_mode="r", allow_pickle=False)
                return path
            except (ValueError, OSError):  # damaged by a full disk or another program: build it again
                path.unlink(missing_ok=True)
        array = build()
        try:
            with atomic_path(path) as temporary:
                np.save(temporary, array, allow_pickle=False)
        except OSError as error:
            raise DatasetError(
                f"'{path}' ({array.nbytes / 1e6:.0f} MB) cannot be written",
                cause=f"a full disk or a folder that may not be written to ({error})",
                fix="free some space, or set SNNFER_CACHE to a folder on a larger disk",
            ) from error
        return path

    def get(self, key: Any, build: Callable[[], np.ndarray]) -> np.ndarray:
        """The array for `key`, memory-mapped; built and stored if needed."""
        return np.load(self.store(key, build), mmap_mode="r", allow_pickle=False)
