"""Atomic writing and content hashing of files."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from snnfer.errors import SnnferError


def check_target(path: str | os.PathLike[str]) -> None:
    """Raise `SnnferError` if no file can be made at `path`: for a check before long work; nothing is made."""
    target = Path(path)
    if target.is_dir():
        raise SnnferError(f"'{target}' is a folder", expected="a file to write", fix="choose another name")
    folder = next(parent for parent in target.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise SnnferError(
            f"'{target}' cannot be written", cause=f"'{folder}' is a file", fix="name a folder or leave it out"
        )
    if not os.access(folder, os.W_OK):
        raise SnnferError(
            f"'{target}' cannot be written",
            cause=f"no permission to write into '{folder}'",
            fix="name a place you may write to",
        )


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on failure.

    The temporary name keeps the suffix, for writers that choose their format by it.

    Examples:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "a.txt"
        >>> with atomic_path(target) as temporary:
        ...     _ = temporary.write_text("whole")
        >>> target.read_text(), len(list(target.parent.iterdir()))
        ('whole', 1)
    """
    target = Path(path)
    check_target(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.stem[:40]}-", suffix=target.suffix, dir=target.parent)
    except OSError as error:
        raise SnnferError(
            f"'{target}' cannot be written", cause=error.strerror or str(error), fix="name a place you may write to"
        ) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write JSON atomically, indented, keys in the order given."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def hash_file(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def hash_value(value: Any, *, length: int = 16) -> str:
    """Stable hash of a JSON-serialisable value (keys sorted), `length` hexadecimal digits.

    Examples:
        >>> hash_value({"a": 1, "b": 2}) == hash_value({"b": 2, "a": 1})
        True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]
