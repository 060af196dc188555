"""How cost grows with steps, batch, resolution and firing rate: snnfer beside spikingjelly, one figure each.

    python -m benchmarks.speed.sweep [--sweeps steps rate] [--rounds 3] [--quick] [--out DIR]

au_snn with one quantity changed at a time; processor seconds of one thread, freed memory retained, both libraries
alternating in one process per point. The firing rate is moved by the offset of the batch normalisations; the axis shows
the rate that follows.
"""

import argparse
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.speed.measure import Job
from benchmarks.speed.page import processor_name
from benchmarks.speed.processes import SETTINGS, run_apart
from benchmarks.speed.results import STEPS, median_ratio
from snnfer._files import atomic_path
from snnfer.plot.style import new_figure, save_figure, style_of, tidy

FOLDER = Path(__file__).parents[1] / "results" / "speed_sweeps"
LIBRARIES = ("snnfer", "spikingjelly")
BASE = {"steps": 32, "batch": 4}
QUICK = {"steps": 4, "batch": 1}


@dataclass(frozen=True)
class Sweep:
    """One quantity: the field of the workload, its values, the label of the axis."""

    field: str
    values: tuple[float, ...]
    label: str


SWEEPS = {
    "steps": Sweep("steps", (8, 16, 32, 64, 128, 200), "steps T"),
    "batch": Sweep("batch", (1, 2, 4, 8, 16), "samples N"),
    "resolution": Sweep("size", (32, 48, 64, 96, 128), "pixels per side"),
    "rate": Sweep("norm_bias", (-1.5, -0.75, 0.0, 0.75, 1.5), "spikes / neuron / step"),
}
HEAD = "| {} | training: snnfer, s | spikingjelly, s | ratio | inference: snnfer, s | spikingjelly, s | ratio |"
PAGE = """# How cost grows

`python -m benchmarks.speed.sweep{options}`: au_snn with T = {base[steps]}, N = {base[batch]}, 64 x 64 pixels and one
quantity changed at a time. Processor seconds of one thread, allocator "{setting}" of [speed.md](../speed.md), both
libraries alternating in one process per point. Ratio: how many times longer than snnfer, median [least to greatest] of
the paired ratios. The firing rate is moved by the offset of the batch normalisations; the axis shows the rate that
follows, in evaluation mode. {machine}.

{tables}
"""

Point = dict[str, dict[str, Any]]
"""What was measured at one value, by mode."""


def main() -> None:
    """Measure, draw and write after every sweep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", nargs="+", choices=list(SWEEPS), default=list(SWEEPS), metavar="NAME")
    parser.add_argument("--rounds", type=int, default=3, help="rounds after one to warm up")
    parser.add_argument("--quick", action="store_true", help="two points of each, 4 steps, 1 sample: not a result")
    parser.add_argument("--setting", choices=list(SETTINGS["cpu"]), default="retained", help="allocator")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder for the figures and the table")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    tables: list[str] = []
    for name in args.sweeps:
        sweep = SWEEPS[name]
        values = sweep.values[:2] if args.quick else sweep.values
        points = {value: measure(sweep, value, args) for value in values}
        draw(sweep, points, args.out / f"{name}.png")
        tables.append(format_table(name, sweep, points))
        with atomic_path(args.out / "README.md") as temporary:
            Path(temporary).write_text(format_page(tables, args), encoding="utf-8")
        print(tables[-1], flush=True)


def measure(sweep: Sweep, value: float, args: argparse.Namespace) -> Point:
    """Training step and inference at one value."""
    changes = {**(QUICK if args.quick else BASE), sweep.field: value}
    jobs = {mode: Job("au_snn", mode, LIBRARIES, changes=changes, rounds=args.rounds) for mode in ("train", "infer")}
    return {mode: run_apart(job, args.setting) for mode, job in jobs.items()}


def position(sweep: Sweep, value: float, point: Point) -> float:
    """Where a point stands on the axis."""
    return point["infer"]["firing_rate"] if sweep.field == "norm_bias" else value


def draw(sweep: Sweep, points: dict[float, Point], path: Path) -> None:
    """Seconds of both libraries over the quantity, training and inference."""
    figure = new_figure(3.4)
    axes = figure.subplots()
    x = [position(sweep, value, point) for value, point in points.items()]
    for i, library in enumerate(LIBRARIES):
        for mode, fill in (("train", {}), ("infer", {"markerfacecolor": "white", "linestyle": ":"})):
            y = [statistics.median(point[mode]["seconds"][library]) for point in points.values()]
            label = f"{library}, {STEPS[mode]}"
            axes.plot(x, y, label=label, **{**style_of(i), **fill})
    tidy(axes, xlabel=sweep.label, ylabel="processor seconds", grid="y")
    axes.set_yscale("log")
    if sweep.field != "norm_bias":
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xticks(x, minor=False)
    axes.legend(fontsize=8, frameon=False)
    save_figure(figure, path)


def format_table(name: str, sweep: Sweep, points: dict[float, Point]) -> str:
    """A section of the page."""
    lines = [f"## {name.capitalize()}", "", f"![Seconds over {sweep.label}]({name}.png)", ""]
    lines.append(HEAD.format(sweep.label))
    lines.append("|---|---|---|---|---|---|---|")
    for value, point in points.items():
        cells = [f"{position(sweep, value, point):.3g}"]
        for mode in ("train", "infer"):
            seconds = point[mode]["seconds"]
            cells += [f"{statistics.median(seconds[library]):.4g}" for library in LIBRARIES]
            middle, least, greatest = median_ratio(*(seconds[library] for library in LIBRARIES))
            cells.append(f"{middle:.2f} [{least:.2f} to {greatest:.2f}]")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def format_page(tables: list[str], args: argparse.Namespace) -> str:
    """Method and tables."""
    quick = " --quick" if args.quick else ""
    return PAGE.format(
        options=f"{quick} --rounds {args.rounds} --setting {args.setting}",
        base=QUICK if args.quick else BASE,
        setting=args.setting,
        machine=processor_name(),
        tables="\n\n".join(tables),
    )


if __name__ == "__main__":
    main()
