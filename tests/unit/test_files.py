"""Atomic writing: the whole file or nothing. Hashes against hashlib."""

import errno
import hashlib
import json
import os
import re
import stat

import pytest

from snnfer._files import atomic_path, check_target, hash_file, hash_value, in_memory, write_json
from snnfer.errors import SnnferError


def write_half(target, error):
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        raise error


def test_success_leaves_only_the_target(tmp_path):
    with atomic_path(tmp_path / "out.txt") as temporary:
        assert temporary.parent == tmp_path  # same file system, so that the rename is atomic
        assert temporary.suffix == ".txt"
        temporary.write_text("whole")
        assert not (tmp_path / "out.txt").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["out.txt"]
    assert (tmp_path / "out.txt").read_text() == "whole"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_failure_leaves_nothing(tmp_path, error):
    with pytest.raises(error):
        write_half(tmp_path / "out.txt", error)
    assert list(tmp_path.iterdir()) == []


def test_failure_keeps_the_file_that_was_there(tmp_path):
    target = tmp_path / "out.txt"
    target.write_text("before")
    with pytest.raises(ValueError, match="broken"):
        write_half(target, ValueError("broken"))
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]


def test_success_replaces_the_file_that_was_there(tmp_path):
    target = tmp_path / "out.txt"
    target.write_text("before")
    with atomic_path(target) as temporary:
        temporary.write_text("after")
    assert target.read_text() == "after"


def test_impossible_targets_are_named_before_any_work(tmp_path):
    (tmp_path / "dir.h5").mkdir()
    (tmp_path / "file").write_text("before")
    for target, message in (
        ("dir.h5", "is a folder"),
        ("file/a/b.h5", "cannot be written; likely cause: .* is a file"),
    ):
        for attempt in (check_target, lambda path: write_half(path, AssertionError("begun"))):
            with pytest.raises(SnnferError, match=re.escape(str(tmp_path / target)) + f"' {message}"):
                attempt(tmp_path / target)
    check_target(tmp_path / "new" / "a.h5")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dir.h5", "file"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(SnnferError, match=r"a\.h5' cannot be written; likely cause: no permission"):
        write_half(tmp_path / "a.h5", AssertionError("begun"))


def test_missing_folders_are_made(tmp_path):
    with atomic_path(tmp_path / "a" / "b" / "out.txt") as temporary:
        temporary.write_text("whole")
    assert (tmp_path / "a" / "b" / "out.txt").read_text() == "whole"


def test_a_long_name_is_no_problem(tmp_path):
    target = tmp_path / ("n" * 240 + ".txt")
    with atomic_path(target) as temporary:
        temporary.write_text("whole")
    assert target.exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no permission bits")
def test_the_file_has_the_permissions_of_a_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    with atomic_path(tmp_path / "atomic") as temporary:
        temporary.write_text("")
    plain, atomic = (stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "atomic"))
    assert atomic == plain


def test_write_json_round_trip_keeps_the_order(tmp_path):
    value = {"b": [1, 2.5, None], "a": {"umlaut": "ä"}}
    write_json(tmp_path / "v.json", value)
    read = json.loads((tmp_path / "v.json").read_text(encoding="utf-8"))
    assert read == value
    assert list(read) == ["b", "a"]


def test_write_json_of_something_else_leaves_nothing(tmp_path):
    with pytest.raises(TypeError):
        write_json(tmp_path / "v.json", {"a": object()})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_hash_file_equals_hashlib(tmp_path, size):
    content = os.urandom(size)
    (tmp_path / "f").write_bytes(content)
    assert hash_file(tmp_path / "f") == hashlib.sha256(content).hexdigest()


def test_hash_value_ignores_the_order_of_keys_but_not_of_lists():
    assert hash_value({"a": 1, "b": {"c": 2, "d": 3}}) == hash_value({"b": {"d": 3, "c": 2}, "a": 1})
    assert hash_value([1, 2]) != hash_value([2, 1])
    assert hash_value({"a": 1}) != hash_value({"a": 2})
    assert len(hash_value({}, length=12)) == 12


def test_hash_value_is_stable():
    # Written down once: a change would give every stored run another id.
    assert hash_value({"a": 1}, length=64) == hashlib.sha256(b'{"a":1}').hexdigest()


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), ValueError("I/O error: No space left on device (os error 28)")],
)
def test_a_full_disk_is_one_sentence_whatever_the_writer_raises(tmp_path, error):
    with pytest.raises(SnnferError, match="'.*out.txt' cannot be written; likely cause: no space is left there"):
        write_half(tmp_path / "out.txt", error)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")
def test_a_real_full_disk():
    with pytest.raises(OSError, match="No space left"), in_memory("/dev/full") as buffer:
        buffer.write(b"x" * 5000)


def test_a_file_made_in_memory_is_written_at_the_end_only(tmp_path):
    with in_memory(tmp_path / "file") as buffer:
        buffer.write(b"whole")
        assert not (tmp_path / "file").exists()
    assert (tmp_path / "file").read_bytes() == b"whole"
    with pytest.raises(RuntimeError), in_memory(tmp_path / "other") as buffer:
        raise RuntimeError
    assert not (tmp_path / "other").exists()
