"""Atomic writing and content hashing of files."""

import errno
import hashlib
import io
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

    The temporary name keeps the suffix, for writers that choose their format by it. A disk that is full raises
    `SnnferError`, whatever the writer raises.

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
        if _is_full(error):
            raise _full(target) from error
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
    except Exception as error:
        if _is_full(error):
            raise _full(target) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _is_full(error: Exception) -> bool:
    """Whether there is no room for a file; writers of other libraries keep the reason of the system in their text."""
    full = (errno.ENOSPC, errno.EDQUOT)
    return getattr(error, "errno", None) in full or any(os.strerror(number) in str(error) for number in full)


def _full(target: Path) -> SnnferError:
    return SnnferError(
        f"'{target}' cannot be written",
        cause="no space is left there",
        fix="make room, or name another place; nothing half-written stays",
    )


@contextmanager
def in_memory(path: str | os.PathLike[str]) -> Iterator[io.BytesIO]:
    """Yield a file in memory that is written to `path` at the end.

    For HDF5: a library that cannot write a file to its end does not close it either, and ends the program with a crash.
    """
    buffer = io.BytesIO()
    yield buffer
    Path(path).write_bytes(buffer.getbuffer())


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
