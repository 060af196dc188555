"""Speed of CountFrames beside tonic and eventcv, as their users would write them, and of all representations.

    python benchmarks/representations/speed.py --rounds 9 --out benchmarks/results/count_frames.md
    python benchmarks/representations/speed.py --all --rounds 5 --out benchmarks/results/representations.md

One thread, processor time (user and system), all candidates alternating in one process: A B C A B C. Shown is the
median over rounds and the range, in million events per second. Events are in memory in each library's own form
beforehand. All count the events of 33 ms windows and add up the counts. For tonic, numpy crops and rescales the
coordinates, because ToFrame does not. eventcv has no sequence of windows, so that its users loop over them.

With `--all` every registered representation and the learned EST turn the same stream into tensors. What limits those
of many channels is the memory of the tensor, not the events, so that windows per second are shown as well.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib import metadata

import numpy as np
import torch

from snnfer.events import EventStream
from snnfer.representations import TIE, CountFrames, LearnedEST, list_representations
from snnfer.representations import create_representation as create

WINDOW_US = 33_000
Candidate = Callable[[], int]
"""Counts the frames and returns how many events they hold; with `--all`, makes a tensor and returns its windows."""


def face_like(n_events: int, width: int, height: int, duration_us: int) -> EventStream:
    """Events around an ellipse in the middle of the sensor, as a moving face gives them, and 5 % anywhere."""
    rng = np.random.default_rng(0)
    angle, radius = rng.uniform(0, 2 * np.pi, n_events), rng.normal(1, 0.25, n_events)
    x = width / 2 + radius * np.cos(angle) * height / 5
    y = height / 2 + radius * np.sin(angle) * height / 3.5
    noise = rng.random(n_events) < 0.05
    x = np.where(noise, rng.uniform(0, width, n_events), x)
    y = np.where(noise, rng.uniform(0, height, n_events), y)
    t = np.sort(rng.integers(0, duration_us, n_events))
    x, y = np.clip(x, 0, width - 1).astype(int), np.clip(y, 0, height - 1).astype(int)
    return EventStream.from_arrays(t, x, y, rng.integers(0, 2, n_events), width, height)


def whole_sensor() -> tuple[str, int, dict[str, tuple[Candidate, str]]]:
    """324,000 events of 1.46 s at 346 x 260, at full size."""
    import eventcv
    from tonic.transforms import ToFrame

    stream = face_like(324_000, 346, 260, 1_460_000)
    snnfer, tonic = CountFrames(WINDOW_US), ToFrame((346, 260, 2), time_window=WINDOW_US, include_incomplete=True)
    tonic_events, cv_events = as_tonic(stream), as_eventcv(eventcv, stream)
    starts = range(stream.t_start_us, stream.t_start_us + stream.duration_us + 1, WINDOW_US)
    return (
        "346 x 260, 324,000 events in 1.46 s, full size",
        len(stream),
        {
            "snnfer CountFrames": (lambda: int(snnfer(stream).sum()), "2 polarities, float32"),
            "tonic ToFrame": (lambda: int(tonic(tonic_events).sum()), "2 polarities, int16 (overflows above 32,767)"),
            "eventcv count": (
                lambda: sum(int(cv_events.time_window(t, t + WINDOW_US).count().numpy().sum()) for t in starts),
                "polarities added up, uint64",
            ),
        },
    )


def cropped_and_resized() -> tuple[str, int, dict[str, tuple[Candidate, str]]]:
    """1,220,000 events of 10.8 s at 1280 x 720, a box of 500 x 500 resized to 64 x 64."""
    import eventcv
    from tonic.transforms import ToFrame

    stream, (x0, y0, side) = face_like(1_220_000, 1280, 720, 10_800_000), (390, 110, 500)
    snnfer = CountFrames(WINDOW_US, size=(64, 64))
    tonic = ToFrame((64, 64, 2), time_window=WINDOW_US, include_incomplete=True)
    tonic_events, cv_events = as_tonic(stream), as_eventcv(eventcv, stream)
    starts = range(stream.t_start_us, stream.t_start_us + stream.duration_us + 1, WINDOW_US)

    def run_tonic() -> int:
        column, row = tonic_events["x"] - x0, tonic_events["y"] - y0
        inside = (column >= 0) & (column < side) & (row >= 0) & (row < side)
        events = tonic_events[inside]
        events["x"], events["y"] = column[inside] * 64 // side, row[inside] * 64 // side
        return int(tonic(events).sum())

    def run_eventcv() -> int:
        events = cv_events.crop(x0, y0, side, side).resize(64, 64)
        return sum(int(events.time_window(t, t + WINDOW_US).count().numpy().sum()) for t in starts)

    return (
        "1280 x 720, 1,220,000 events in 10.8 s, box of 500 x 500 to 64 x 64",
        len(stream),
        {
            "snnfer CountFrames": (lambda: int(snnfer(stream, box=(x0, y0, side, side)).sum()), "one pass"),
            "tonic ToFrame": (run_tonic, "numpy for crop and resize"),
            "eventcv count": (run_eventcv, "polarities added up"),
        },
    )


def every_representation(
    width: int, height: int, per_window: int, n_windows: int
) -> tuple[str, int, dict[str, tuple[Candidate, str]]]:
    """Every registered representation of the whole sensor, other kernels and crops, and the learned EST."""
    stream = face_like(per_window * n_windows, width, height, WINDOW_US * n_windows)
    side = height * 2 // 3
    box = ((width - side) // 2, (height - side) // 2, side, side)
    chosen = {name: create(name, window_us=WINDOW_US) for name in list_representations()}
    chosen |= {
        "tie, kernel t0": TIE(WINDOW_US, kernel="t0"),
        "tie, origin 10 s earlier": TIE(WINDOW_US),
        "tie, face to 256 x 256": TIE(WINDOW_US, size=(256, 256)),
    }
    options = {
        "tie, origin 10 s earlier": {"t_origin_us": stream.t_start_us - 10_000_000},
        "tie, face to 256 x 256": {"box": box},
    }
    candidates: dict[str, tuple[Candidate, str]] = {}
    for name, representation in chosen.items():
        run = partial(representation, stream, **options.get(name, {}))
        candidates[name] = (partial(count_tensor, run), f"{representation.n_channels}")
    starts = [stream.t_start_us + k * WINDOW_US for k in range(n_windows)]
    samples = [stream.slice_time(t, t + WINDOW_US) for t in starts]
    learned = LearnedEST((height, width))

    def forward() -> int:
        with torch.no_grad():
            return sum(len(learned([sample])) for sample in samples)

    def forward_and_backward() -> int:
        for sample in samples:
            learned([sample]).sum().backward()
        return len(samples)

    candidates["LearnedEST"] = (forward, "18")
    candidates["LearnedEST with its gradient"] = (forward_and_backward, "18")
    title = f"{width} x {height}, {per_window:,} events in each of {n_windows} windows of {WINDOW_US / 1000:.0f} ms"
    return title, len(stream), candidates


def count_tensor(run: Callable[[], torch.Tensor]) -> int:
    """Windows of the tensor."""
    return len(run())


def as_tonic(stream: EventStream) -> np.ndarray:
    """tonic's structured array."""
    events = np.empty(len(stream), [("x", "i8"), ("y", "i8"), ("t", "i8"), ("p", "i8")])
    for name in "xytp":
        events[name] = stream.events[name]
    return events


def as_eventcv(eventcv, stream: EventStream):
    """eventcv's stream."""
    table = np.stack([stream.events[name].astype(np.int64) for name in "xytp"], axis=1)
    return eventcv.from_numpy(table, sensor_size=(stream.width, stream.height), time_unit="us")


def measure(candidates: dict[str, tuple[Candidate, str]], rounds: int) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Processor seconds per round and events counted, after one round that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    counted: dict[str, int] = {}
    for k in range(rounds + 1):
        for name, (run, _) in candidates.items():
            start = time.process_time()
            counted[name] = run()
            if k:
                times[name].append(time.process_time() - start)
    return times, counted


def compare_counts(rounds: int) -> list[str]:
    """CountFrames beside its peers."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("numpy", "torch", "tonic", "eventcv"))
    lines = [
        "# CountFrames: million events per second on one thread",
        "",
        f"`python benchmarks/representations/speed.py --rounds {rounds}`: processor time, median (range) over",
        f"rounds, candidates alternating. Python {platform.python_version()}, {versions}, {platform.machine()}.",
    ]
    for case in (whole_sensor, cropped_and_resized):
        title, n_events, candidates = case()
        times, counted = measure(candidates, rounds)
        lines += ["", f"## {title}", "", "| | Mev/s | events counted | |", "|---|---|---|---|"]
        lines += [
            f"| {name} | {speed(n_events, times[name])} | {counted[name]:,} | {note} |"
            for name, (_, note) in candidates.items()
        ]
    return lines


def compare_representations(rounds: int) -> list[str]:
    """All representations at two sensors."""
    lines = [
        "# Representations: million events per second on one thread",
        "",
        f"`python benchmarks/representations/speed.py --all --rounds {rounds}`: processor time, median (range) over",
        f"rounds, candidates alternating. Python {platform.python_version()}, numpy {metadata.version('numpy')},",
        f"torch {metadata.version('torch')}, {platform.machine()}. Output float32 at the size of the",
        "sensor unless said otherwise.",
    ]
    for case in ((346, 260, 20_000, 10), (1280, 720, 100_000, 3)):
        title, n_events, candidates = every_representation(*case)
        times, made = measure(candidates, rounds)
        lines += ["", f"## {title}", "", "| | channels | Mev/s | windows/s |", "|---|---|---|---|"]
        for name, (_, channels) in candidates.items():
            per_s = made[name] / statistics.median(times[name])
            lines.append(f"| {name} | {channels} | {speed(n_events, times[name])} | {per_s:,.0f} |")
    return lines


def speed(n_events: int, seconds: list[float]) -> str:
    """Median (range) in million events per second."""
    speeds = sorted(n_events / s / 1e6 for s in seconds)
    return f"{statistics.median(speeds):.1f} ({speeds[0]:.1f} to {speeds[-1]:.1f})"


def main() -> None:
    """Measure and print, or write, the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="all representations instead of CountFrames and its peers")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", help="markdown file to write")
    args = parser.parse_args()
    torch.set_num_threads(1)
    lines = (compare_representations if args.all else compare_counts)(args.rounds)
    text = "\n".join(lines) + "\n"
    print(text)
    if args.out:
        with open(args.out, "w", encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    main()
