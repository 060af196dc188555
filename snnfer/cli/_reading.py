"""What commands that read an event file share: their options, and warnings printed as text."""

import argparse
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def add_read_options(parser: argparse.ArgumentParser) -> None:
    """Options that say what a file does not say itself."""
    group = parser.add_argument_group("for files that leave something out or are damaged")
    group.add_argument("--width", type=int, metavar="PIXELS", help="sensor width")
    group.add_argument("--height", type=int, metavar="PIXELS", help="sensor height")
    group.add_argument("--time-unit", choices=("s", "ms", "us"), help="unit of the times in a text file")
    group.add_argument("--allow-truncated", action="store_true", help="use what lies before the cut of a damaged file")
    group.add_argument("--sort", action="store_true", help="sort events whose times go backwards")


def read_options(args: argparse.Namespace) -> dict[str, Any]:
    """The options as arguments of `snnfer.events.read`."""
    return {name: getattr(args, name) for name in ("width", "height", "time_unit", "allow_truncated", "sort")}


@contextmanager
def warnings_as_text() -> Iterator[None]:
    """Print warnings about the file as one line each, without source lines."""
    from snnfer.events import EventFileWarning

    def show(message: Any, category: Any, *rest: Any) -> None:
        print(f"snnfer: warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("always", EventFileWarning)
        warnings.showwarning = show
        yield
