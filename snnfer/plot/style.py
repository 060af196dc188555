"""What all figures share: size, colours, markers, saving."""

import io
import os
from typing import TYPE_CHECKING, Any

from snnfer._files import atomic_path
from snnfer._optional import require
from snnfer.errors import SnnferError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 4.4
"""Inches. On a phone 1 point of text is then about 1.1 pixels, so that 9 points stay readable."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colour-blind safe palette, "Color Universal Design", 2008; yellow left out (too faint on white)."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", "-.", ":")
GREY = "#666666"
DPI = 170
ENDINGS = (".png", ".pdf", ".svg")


def new_figure(height: float, *, width: float = WIDTH) -> "Figure":
    """An empty figure of `height` x `width` inches with automatic margins."""
    figure = require("matplotlib.figure", extra="plot")
    return figure.Figure(figsize=(width, height), layout="constrained", facecolor="white")


def style_of(index: int) -> dict[str, Any]:
    """Colour, marker and line of the `index`-th series; they differ together, so that no one depends on colour."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": LINES[index % len(LINES)],
    }


def tidy(axes: "Axes", *, xlabel: str = "", ylabel: str = "", title: str = "", grid: str = "") -> None:
    """Labels, text sizes and frame of one panel; `grid` is ``x``, ``y`` or empty."""
    axes.set_xlabel(xlabel, fontsize=10)
    axes.set_ylabel(ylabel, fontsize=10)
    axes.set_title(title, fontsize=10, loc="left")
    axes.tick_params(labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    if grid:
        axes.grid(axis=grid, color="#dddddd", linewidth=0.7)  # type: ignore[arg-type]
        axes.set_axisbelow(True)


def si(value: float | None) -> str:
    """A count with three digits and an SI prefix.

    Examples:
        >>> si(4_312_470), si(0), si(None)
        ('4.31 M', '0', 'n/a')
    """
    if value is None:
        return "n/a"
    for limit, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit * 0.9995:
            return f"{value / limit:.3g} {prefix}"
    return f"{value:.3g}"


def figure_png(figure: "Figure") -> bytes:
    """The figure as PNG; equal figures give equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def check_picture(path: str | os.PathLike[str]) -> None:
    """Raise `SnnferError` unless `path` ends in a format of figures: for a check before long work."""
    ending = os.path.splitext(path)[1]
    if ending.lower() not in ENDINGS:
        raise SnnferError(f"a picture named '{os.fspath(path)}'", expected="a name that ends in " + ", ".join(ENDINGS))


def save_figure(figure: "Figure", path: str | os.PathLike[str]) -> None:
    """Write a figure, in the format of the file's ending (.png, .pdf or .svg); never a half-written file.

    Raises:
        SnnferError: another ending.
    """
    check_picture(path)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DPI)
