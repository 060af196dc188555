"""Entry point of the ``snnfer`` command.

Each command lives in a module of this package that offers ``add_commands(subparsers)``; those modules import nothing
heavy at their top, so that ``snnfer --help`` answers at once.
"""

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Sequence

from snnfer.cli._errors import exit_code

COMMAND_MODULES = (
    *("demo", "info", "events", "synth", "data", "train", "predict", "stream", "benchmark", "profile"),
    *("convert", "export", "simulate"),
)


class Parser(argparse.ArgumentParser):
    """Parser whose usage errors are one clear sentence."""

    def error(self, message: str) -> None:  # type: ignore[override]
        self.exit(2, f"{self.prog}: error: {message}; see '{self.prog} --help'.\n")


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = Parser(prog="snnfer", description="Spiking neural networks that read faces from event cameras.")
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    for name in COMMAND_MODULES:
        importlib.import_module(f"snnfer.cli.{name}").add_commands(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code (0 done, 1 failed work, 2 bad usage or input, 130 interrupted)."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.version:
        from snnfer import __version__

        print(f"snnfer {__version__}")
        return 0
    if not hasattr(args, "run"):
        parser.print_help()
        return 2
    try:
        return args.run(args) or 0
    except KeyboardInterrupt:
        print(
            "\nsnnfer: interrupted; run the same command again to go on from the last complete step.", file=sys.stderr
        )
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if args.debug:
            traceback.print_exc()
        code, message = exit_code(error)
        print(f"snnfer: error: {message}", file=sys.stderr)
        return code


if __name__ == "__main__":
    sys.exit(main())
