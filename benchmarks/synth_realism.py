"""Event statistics of a SynthAU data set beside real recordings.

Usage: python benchmarks/synth_realism.py SYNTH_DIR [RECORDING[:X,Y,WIDTH,HEIGHT] ...]

A region after a recording's name measures that part alone, for instance one where nothing moves. Writes
benchmarks/results/synth_realism.md and docs/images/synth_realism.png (--table and --figure choose other places).

An interval is the time between two consecutive events of one pixel. Intervals of all clips of a row are pooled; rates
and shares are the mean over clips. Noise is known for synthetic clips only: shot noise and hot pixels, as the pixel
model counts them (leak events are not in it). "Wall" is every pixel at least five pixels from anything but the wall.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from snnfer import events
from snnfer._progress import progress
from snnfer.datasets import ManifestDataset
from snnfer.plot.style import COLOURS, LINES, new_figure, save_figure, tidy

ROOT = Path(__file__).parent.parent
GROUPS = {
    "eyes (AU 61-64)": (61, 62, 63, 64),
    "lids (AU 5, 41, 43, 45)": (5, 41, 43, 45),
    "brows, cheeks, nose (AU 2, 4, 6, 9)": (2, 4, 6, 9),
    "mouth (AU 12, 15, 17, 23, 26)": (12, 15, 17, 23, 26),
    "head (AU 51-54)": (51, 52, 53, 54),
}
WALL, WALL_MARGIN_PX = "wall", 5
PERCENTILES = (5, 25, 50, 75, 95)
MIN_INTERVALS = 100  # fewer say nothing about a distribution
BINS_US = np.logspace(2, 7, 41)  # 0.1 ms to 10 s


@dataclass
class Row:
    """Statistics of one line of the table, clip by clip.

    Attributes:
        seconds: Duration of each clip.
        rates: Events per second.
        pixel_rates: Events per pixel and second.
        on: Share of ON events.
        silent: Share of pixels without events.
        noise: Share of events that are known to be noise.
        intervals_us: Intervals between events of a pixel, one array per clip.
        same: Number of intervals whose two events have the same polarity.
    """

    seconds: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    pixel_rates: list[float] = field(default_factory=list)
    on: list[float] = field(default_factory=list)
    silent: list[float] = field(default_factory=list)
    noise: list[float] = field(default_factory=list)
    intervals_us: list[np.ndarray] = field(default_factory=list)
    same: int = 0

    def add(self, stream: events.EventStream, mask: np.ndarray, noise: float | None = None) -> None:
        """Add the events of a recording inside `mask` (bool [H, W])."""
        found = stream.events[mask[stream.events["y"], stream.events["x"]]]
        n_pixels, seconds = int(mask.sum()), stream.duration_us * 1e-6
        if not n_pixels or not len(found):
            return
        pixel = found["y"].astype(np.int64) * stream.width + found["x"]
        order = np.argsort(pixel, kind="stable")  # by pixel, then by time
        pixel, t_us, p = pixel[order], found["t"][order], found["p"][order]
        follows = pixel[1:] == pixel[:-1]
        self.intervals_us.append(np.diff(t_us)[follows].astype(np.int32))
        self.same += int((p[1:] == p[:-1])[follows].sum())
        self.seconds.append(seconds)
        self.rates.append(len(found) / seconds)
        self.pixel_rates.append(len(found) / seconds / n_pixels)
        self.on.append(float(found["p"].mean()))
        self.silent.append(1 - (1 + int((~follows).sum())) / n_pixels)
        if noise is not None:
            self.noise.append(noise)

    @property
    def intervals(self) -> np.ndarray:
        """All intervals, microseconds."""
        return np.concatenate(self.intervals_us)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="SynthAU data set (see 'snnfer synth')")
    parser.add_argument("recordings", nargs="*", help="real recordings, each with a region if not the whole sensor")
    parser.add_argument("--table", type=Path, default=ROOT / "benchmarks/results/synth_realism.md")
    parser.add_argument("--figure", type=Path, default=ROOT / "docs/images/synth_realism.png")
    args = parser.parse_args()
    synthetic = measure_synthetic(args.folder)
    real = dict(measure_recording(name) for name in args.recordings)
    command = ["python benchmarks/synth_realism.py SYNTH_DIR", *(Path(name).name for name in args.recordings)]
    table = table_of(synthetic, real, " \\\n  ".join(command))
    args.table.write_text(table, encoding="utf-8")
    draw(synthetic, real, args.figure)
    print(table)


def measure_synthetic(folder: Path) -> dict[str, Row]:
    """One row per group of Action Units, and one for the wall behind the people."""
    data = ManifestDataset.read(folder)
    rows = {name: Row() for name in (*GROUPS, WALL)}
    for clip in progress(data.clips, desc="clips"):
        stream = data.load(clip, frames=True)
        with np.load(folder / "clips" / f"{clip.clip}.npz") as labels:
            noise = float(labels["n_noise_events"]) / max(int(labels["n_events"]), 1)
        everywhere = np.ones((stream.height, stream.width), bool)
        for name, aus in GROUPS.items():
            if clip.au in aus:
                rows[name].add(stream, everywhere, noise)
        rows[WALL].add(stream, wall(stream.frames["depth"].images))
    return {name: row for name, row in rows.items() if row.seconds}


def wall(depth_mm: np.ndarray) -> np.ndarray:
    """Pixels that show the wall in all frames [F, H, W], and whose neighbours do."""
    near = depth_mm.min(0) < depth_mm.max()
    for axis in (0, 1):
        near = np.logical_or.reduce(list(shifts(near, axis)))
    return ~near


def shifts(image: np.ndarray, axis: int) -> Iterator[np.ndarray]:
    """The image moved by up to `WALL_MARGIN_PX` along an axis, its edges repeated."""
    width = [(WALL_MARGIN_PX, WALL_MARGIN_PX) if i == axis else (0, 0) for i in range(2)]
    padded = np.pad(image, width, mode="edge")
    for i in range(2 * WALL_MARGIN_PX + 1):
        yield padded.take(range(i, i + image.shape[axis]), axis)


def measure_recording(name: str) -> tuple[str, Row]:
    """Label and statistics of ``FILE`` or ``FILE:X,Y,WIDTH,HEIGHT``."""
    path, _, region = name.rpartition(":") if name.rpartition(":")[2].count(",") == 3 else (name, "", "")
    stream = events.read(path)
    mask = np.zeros((stream.height, stream.width), bool)
    x, y, w, h = (int(value) for value in region.split(",")) if region else (0, 0, stream.width, stream.height)
    mask[y : y + h, x : x + w] = True
    row = Row()
    row.add(stream, mask)
    if not row.seconds:
        raise SystemExit(f"no events in '{name}': give another recording or region")
    return Path(path).stem + (f", region {region}" if region else ""), row


def table_of(synthetic: dict[str, Row], real: dict[str, Row], command: str) -> str:
    """The text of the results file."""
    head = [
        "# Event statistics of SynthAU beside real recordings",
        "",
        "Measured on `snnfer synth --preset paper --out SYNTH_DIR` and the recordings named, whole or in",
        "a region (x, y, width, height), with",
        "",
        "```",
        command,
        "```",
        "",
        *(__doc__ or "").split("\n\n")[-1].strip().splitlines(),
        "",
        "| | clips x seconds | kev/s, mean (range) | events per pixel and s | ON % | silent pixels % | known noise % |",
        "|---|---|---|---|---|---|---|",
    ]
    rows = {f"SynthAU: {name}": row for name, row in synthetic.items()} | real
    body = [rate_line(name, row) for name, row in rows.items()]
    between = [
        "",
        "| | intervals | 5 % | 25 % | median | 75 % | 95 %, in ms | same polarity % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *body, *between, *(interval_line(name, row) for name, row in rows.items()), ""])


def rate_line(name: str, row: Row) -> str:
    rates = np.array(row.rates) / 1e3
    spread = f" ({rates.min():.2g} to {rates.max():.3g})" if len(rates) > 1 else ""
    noise = f"{100 * np.mean(row.noise):.1f}" if row.noise else "unknown"
    return (
        f"| {name} | {len(rates)} x {np.mean(row.seconds):.2f} | {rates.mean():.3g}{spread} | "
        f"{np.mean(row.pixel_rates):.3g} | {100 * np.mean(row.on):.1f} | {100 * np.mean(row.silent):.1f} | {noise} |"
    )


def interval_line(name: str, row: Row) -> str:
    intervals = row.intervals
    if len(intervals) < MIN_INTERVALS:
        return f"| {name} | {len(intervals)} | too few | | | | | |"
    percentiles = " | ".join(f"{value / 1e3:.3g}" for value in np.percentile(intervals, PERCENTILES))
    return f"| {name} | {len(intervals):,} | {percentiles} | {100 * row.same / len(intervals):.1f} |"


def draw(synthetic: dict[str, Row], real: dict[str, Row], path: Path) -> None:
    """Distributions of the intervals: synthetic above, real below."""
    figure = new_figure(6.4)
    panels = figure.subplots(2, 1, sharex=True, sharey=True)
    for axes, title, rows in zip(panels, ("SynthAU", "real recordings"), (synthetic, real), strict=True):
        shown = {name: row for name, row in rows.items() if sum(map(len, row.intervals_us)) >= MIN_INTERVALS}
        for i, (name, row) in enumerate(shown.items()):
            counts = np.histogram(row.intervals, BINS_US)[0]
            look = {"color": COLOURS[i % len(COLOURS)], "linestyle": LINES[i % len(LINES)], "linewidth": 1.4}
            axes.stairs(100 * counts / len(row.intervals), BINS_US / 1e3, label=name, **look)
        tidy(axes, ylabel="intervals, % per bin", title=title, grid="x")
        axes.set_xscale("log")
        axes.legend(fontsize=8, frameon=False, loc="upper right")
    panels[1].set_xlabel("interval between events of a pixel (ms)", fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, path)


if __name__ == "__main__":
    main()
