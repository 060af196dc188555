"""The figure: time and memory of the other libraries in units of snnfer's."""

from pathlib import Path
from typing import Any

from benchmarks.speed.results import STEPS, Results
from benchmarks.speed.workloads import ALL_PEERS, WORKLOADS
from snnfer.plot.style import COLOURS, GREY, MARKERS, new_figure, save_figure, tidy


def draw(results: Results, path: Path) -> None:
    """One line per network and step; a mark per library, filled for the first setting, hollow for the second."""
    cases = results.cases()[::-1]
    height = 0.34 * len(cases) + 0.9
    figure = new_figure(2 * height, width=6.4)
    top, bottom = figure.subplots(2, 1)
    for y, (name, mode) in enumerate(cases):
        for library in results.libraries(name, mode)[1:]:
            _times(top, results, name, mode, library, y)
            _memory(bottom, results, name, mode, library, y)
    labels = [f"{WORKLOADS[name].title}, {STEPS[mode].removesuffix(' step')}" for name, mode in cases]
    settings = ", ".join(f"{fill}: {s}" for fill, s in zip(("filled", "hollow"), results.settings(), strict=False))
    tidy(top, xlabel=f"time in units of snnfer's ({settings})", grid="x")
    tidy(bottom, xlabel="extra peak memory in units of snnfer's", grid="x")
    for axes in (top, bottom):
        axes.set_xscale("log", base=2)
        axes.set_yticks(range(len(cases)), labels)
        axes.set_ylim(-0.6, len(cases) - 0.4)
        axes.axvline(1, color=GREY, linewidth=1)
        axes.set_xlim(min(axes.get_xlim()[0], 0.4), max(axes.get_xlim()[1], 5))
        axes.xaxis.set_major_formatter("{x:g}")
    figure.legend(handles=_legend(results), loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    save_figure(figure, path)


def _style(library: str) -> dict[str, Any]:
    index = ALL_PEERS.index(library)
    return {"color": COLOURS[index], "marker": MARKERS[index], "markersize": 6, "linestyle": "none"}


def _times(axes: Any, results: Results, name: str, mode: str, library: str, y: int) -> None:
    for i, setting in enumerate(results.settings()):
        ratio = results.speedup(name, mode, setting, library)
        if ratio is not None:
            position = y + (0.12 if i == 0 else -0.12)
            fill = {} if i == 0 else {"markerfacecolor": "white"}
            axes.plot(ratio[1:], [position] * 2, color=_style(library)["color"], linewidth=1)
            axes.plot(ratio[0], position, **_style(library), **fill)


def _memory(axes: Any, results: Results, name: str, mode: str, library: str, y: int) -> None:
    ours, theirs = results.peaks[name, mode, "snnfer"], results.peaks[name, mode, library]
    if ours and theirs and theirs > 0:
        axes.plot(theirs / ours, y, **_style(library))


def _legend(results: Results) -> list[Any]:
    from matplotlib.lines import Line2D

    measured = {library for *_, library in results.peaks}
    return [Line2D([], [], label=library, **_style(library)) for library in ALL_PEERS if library in measured]
