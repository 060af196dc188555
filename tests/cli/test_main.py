"""The frame around the commands: exit codes, error sentences, version, help."""

import re
import subprocess
import sys
import types

import pytest

import snnfer
from snnfer.cli import main as cli
from snnfer.errors import EventFileError


@pytest.fixture
def command(monkeypatch):
    """Replace all commands by one, ``fake``, that runs a given function."""

    def install(run):
        module = types.ModuleType("snnfer.cli.fake")
        module.add_commands = lambda subparsers: subparsers.add_parser("fake", help="for tests").set_defaults(run=run)
        monkeypatch.setitem(sys.modules, "snnfer.cli.fake", module)
        monkeypatch.setattr(cli, "COMMAND_MODULES", ("fake",))

    return install


def raising(error):
    def run(args):
        raise error

    return run


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (1, 1)])
def test_a_command_gives_its_exit_code(command, returned, code):
    command(lambda args: returned)
    assert cli.main(["fake"]) == code


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (EventFileError("no events", fix="record some"), 2, "no events; fix: record some."),
        (FileNotFoundError(2, "No such file or directory", "x.raw"), 2, "No such file or directory 'x.raw'."),
        (PermissionError(13, "Permission denied", "x.raw"), 2, "Permission denied 'x.raw'."),
        (OSError(28, "No space left on device"), 1, "No space left on device."),
        (MemoryError(), 1, "out of memory; "),
        (RuntimeError("two\nlines"), 1, "unexpected RuntimeError: two lines (run again with 'snnfer --debug ...'"),
    ],
)
def test_an_error_is_one_sentence_on_stderr(command, capsys, error, code, sentence):
    command(raising(error))
    assert cli.main(["fake"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"snnfer: error: {sentence}")
    assert err.count("\n") == 1


def test_debug_shows_where_it_happened(command, capsys):
    command(raising(EventFileError("no events")))
    assert cli.main(["--debug", "fake"]) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.endswith("snnfer: error: no events.\n")


def test_an_interrupt_says_how_to_go_on(command, capsys):
    command(raising(KeyboardInterrupt()))
    assert cli.main(["fake"]) == 130
    assert "interrupted; run the same command again" in capsys.readouterr().err


def test_without_a_command_the_help_is_shown(command, capsys):
    command(lambda args: None)
    assert cli.main([]) == 2
    assert "fake" in capsys.readouterr().out


@pytest.mark.parametrize("argv", [["bogus"], ["fake", "--bogus"], ["--bogus"]])
def test_bad_usage_is_one_sentence_and_code_2(command, capsys, argv):
    command(lambda args: None)
    with pytest.raises(SystemExit) as end:
        cli.main(argv)
    assert end.value.code == 2
    err = capsys.readouterr().err
    assert re.fullmatch(r"snnfer( fake)?: error: .*bogus.*; see 'snnfer( fake)? --help'\.\n", err)


def run_snnfer(*argv):
    return subprocess.run([sys.executable, "-m", "snnfer.cli.main", *argv], capture_output=True, text=True, check=False)


def test_version():
    result = run_snnfer("--version")
    assert (result.returncode, result.stdout) == (0, f"snnfer {snnfer.__version__}\n"), result.stderr


def test_help_lists_every_command():
    result = run_snnfer("--help")
    assert result.returncode == 0, result.stderr
    for name in cli.COMMAND_MODULES:
        assert re.search(rf"^    {name}\b", result.stdout, re.MULTILINE), name


def test_an_unknown_command_ends_with_code_2():
    result = run_snnfer("dmeo")
    assert result.returncode == 2
    assert "dmeo" in result.stderr
    assert "Traceback" not in result.stderr
