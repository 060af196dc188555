"""Time of Asynet per chunk of events: asynchronous update beside the whole computation, submanifold and dense.

    python benchmarks/asynet_speed.py [RECORDING] [--rounds 30] [--out benchmarks/results/asynet_speed.md]

A window of 33 ms slides over the recording (any event file; a new SynthAU clip by default). Its histogram has 191 x 255
pixels, each of which shows the nearest pixel of the sensor; events of other pixels are not counted. For each chunk size
the window moves on by that many events, older ones leave, and every candidate gives the scores of the new window.
Weights are random; running statistics come from windows of the recording. One thread, processor time (user and
system), all candidates in turn at the same window; the first update at each place is not timed. Every score is compared
with that of the whole computation.
"""

import argparse
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from snnfer import events
from snnfer.events import EventStream
from snnfer.layers import MaskedMap
from snnfer.models import Asynet, create_model
from snnfer.representations import SSRHistogram
from snnfer.synth import SynthConfig, generate

SIZE, WINDOW_US = (191, 255), 33_333
CHUNKS = (1, 10, 100, 1000)
UPDATE, KEPT, DENSE_UPDATE = "asynchronous, submanifold", "the same, old state kept", "asynchronous, dense"
SPARSE, MASKED, DENSE = "whole, submanifold (gather)", "whole, submanifold (masked)", "whole, dense"
Sample = tuple[float, float]
"""Milliseconds and million multiply-accumulates."""


class Recording:
    """Events as the network counts them, and the window that ends with each of them."""

    def __init__(self, stream: EventStream) -> None:
        self.stream = stream
        shown = [shown_pixels(sensor, size) for sensor, size in zip((stream.height, stream.width), SIZE, strict=True)]
        row, column = shown[0][stream.events["y"]], shown[1][stream.events["x"]]
        counted = (row >= 0) & (column >= 0)
        self.t = stream.events["t"][counted]
        self.events = torch.from_numpy(np.stack([stream.events["p"], row, column], 1)[counted].astype(np.int64))

    def window(self, end: int) -> tuple[int, int]:
        """Range of the counted events in the window that ends with event ``end - 1``."""
        return int(np.searchsorted(self.t, self.t[end - 1] - WINDOW_US, side="right")), end

    def histogram(self, end: int) -> torch.Tensor:
        """Histogram ``[1, 2, H, W]`` of that window, by `SSRHistogram`."""
        t_end = int(self.t[end - 1]) + 1
        if end < len(self.t) and self.t[end] < t_end:
            raise ValueError("a window cannot end between events of the same time")
        return SSRHistogram(WINDOW_US, size=SIZE)(self.stream, t_start_us=t_end - WINDOW_US, t_end_us=t_end)


class Runner:
    """A network and its state at some window."""

    def __init__(self, model: Asynet, recording: Recording) -> None:
        self.model, self.recording = model, recording
        self.state = model.start()
        self.begin = self.end = 0

    def changes(self, end: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Events that arrive and leave from the current window to the one at `end`."""
        begin, _ = self.recording.window(end)
        old, new = range(self.begin, self.end), range(begin, end)
        arrived = [i for i in new if i not in old]
        left = [i for i in old if i not in new]
        return self.recording.events[arrived], self.recording.events[left]

    def move(self, end: int) -> Sample:
        """Update to the window at `end`."""
        arrived, left = self.changes(end)
        ms, (_, self.state) = timed(lambda: self.model.update_counts(self.state, arrived, left, in_place=True))
        self.begin, self.end = self.recording.window(end)
        return ms, self.state.macs / 1e6

    def peek(self, end: int) -> Sample:
        """The same, keeping the old state."""
        arrived, left = self.changes(end)
        ms, (_, state) = timed(lambda: self.model.update_counts(self.state, arrived, left))
        return ms, state.macs / 1e6


def shown_pixels(sensor: int, size: int) -> np.ndarray:
    """Which of `size` pixels shows each of `sensor` pixels under nearest resizing; -1 where none does."""
    if sensor < size:
        raise SystemExit(f"a sensor side of {sensor} pixels; expected at least {size}, where a pixel is shown once")
    source = F.interpolate(torch.arange(sensor, dtype=torch.float32)[None, None], size, mode="nearest")
    shown = np.full(sensor, -1, dtype=np.int64)
    shown[source.flatten().long().numpy()] = np.arange(size)
    return shown


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Processor time in milliseconds, and the result."""
    start = time.process_time()
    result = function()
    return (time.process_time() - start) * 1e3, result


def make_models(recording: Recording) -> dict[bool, Asynet]:
    """The dense and the submanifold network with running statistics of windows of the recording."""
    ends = np.linspace(len(recording.t) // 8, len(recording.t) - 1, 6).astype(int)
    histograms = torch.cat([recording.histogram(next_end(recording, int(end))) for end in ends])
    models = {}
    for sparse in (True, False):
        torch.manual_seed(0)
        model = create_model("asynet_vgg13", sparse=sparse)
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.momentum = None  # the mean over all batches
        with torch.no_grad():
            model.train()(histograms.unsqueeze(0))
        models[sparse] = model.eval()
    return models


def next_end(recording: Recording, end: int) -> int:
    """The first end at or after `end` that does not cut events of the same time apart."""
    return int(np.searchsorted(recording.t, recording.t[end - 1], side="right"))


def measure(recording: Recording, rounds: int) -> tuple[dict[tuple[int, str], list[Sample]], list[tuple[int, float]]]:
    """Samples of every chunk size and candidate; events and share of active pixels of each window."""
    models = make_models(recording)
    runners = {sparse: Runner(model, recording) for sparse, model in models.items()}
    samples: dict[tuple[int, str], list[Sample]] = {(k, name): [] for k in CHUNKS for name in NAMES}
    windows = []
    places = np.linspace(recording.window(1)[1] + len(recording.t) // 10, len(recording.t) - 4000, rounds).astype(int)
    for place in places:
        for chunk in CHUNKS:
            end = int(place)
            for runner in runners.values():
                runner.move(end)
                runner.move(end + chunk)
            end += 2 * chunk
            samples[chunk, KEPT].append(runners[True].peek(end))
            samples[chunk, UPDATE].append(runners[True].move(end))
            samples[chunk, DENSE_UPDATE].append(runners[False].move(end))
            histogram = runners[True].state.maps[0].to_dense().unsqueeze(0)
            whole = {
                SPARSE: (models[True], histogram),
                MASKED: (models[True], MaskedMap.from_dense(histogram)),
                DENSE: (models[False], histogram),
            }
            for name, (model, x) in whole.items():
                with torch.inference_mode():
                    ms, scores = timed(lambda model=model, x=x: model.score(x))
                    with FlopCounterMode(display=False) as flops:
                        model.score(x)
                check(scores, runners[name != DENSE].state.scores)
                samples[chunk, name].append((ms, flops.get_total_flops() / 2e6))
            windows.append((runners[True].end - runners[True].begin, float((histogram != 0).any(1).float().mean())))
        full = next_end(recording, int(place))
        runners[True].move(full)
        if not torch.equal(runners[True].state.maps[0].to_dense(), recording.histogram(full)[0]):
            raise RuntimeError("the updated histogram is not that of SSRHistogram")
    return samples, windows


def check(whole: torch.Tensor, updated: torch.Tensor) -> None:
    """Updated and whole scores are equal within rounding."""
    torch.testing.assert_close(whole, updated.unsqueeze(0), rtol=1e-4, atol=1e-4)


NAMES = (UPDATE, KEPT, SPARSE, MASKED, DENSE_UPDATE, DENSE)


def report(args: argparse.Namespace, name: str, recording: Recording, measured: tuple) -> str:
    """The Markdown page."""
    samples, windows = measured
    counts, density = np.array(windows).T
    seconds = recording.stream.duration_us / 1e6
    shown = "" if args.recording is None else f" {name}"
    page = f"""# Asynet: time of an update

`python benchmarks/asynet_speed.py{shown} --rounds {args.rounds}`: {name}, {recording.stream.width} x \
{recording.stream.height} pixels, {len(recording.stream):,} events in {seconds:.2f} s, of which {len(recording.t):,}
fall on the 191 x 255 pixels of the histogram. Windows of 33 ms hold {np.median(counts):,.0f} of these \
({counts.min():,.0f} to {counts.max():,.0f}); {100 * np.median(density):.1f} %
of the pixels are active ({100 * density.min():.1f} to {100 * density.max():.1f} %). One thread, processor time (user \
and system), {args.rounds} places of the recording:
median (10th to 90th percentile). As many events as arrive, about, leave the window. Random weights, running statistics
of the recording. "Speed-up" is the time of the whole dense network over that of the row, median of the ratios at each
place. All scores were compared: updates give those of the whole computation within 1e-4.
Python {platform.python_version()}, torch {torch.__version__.split("+")[0]}, {platform.machine()} \
({torch.backends.cpu.get_cpu_capability()}).

| events per update | | ms | ms per event | million MACs | speed-up |
|---|---|---|---|---|---|
"""
    for chunk in CHUNKS:
        dense = np.array(samples[chunk, DENSE])[:, 0]
        for candidate in NAMES:
            ms, macs = np.array(samples[chunk, candidate]).T
            page += (
                f"| {chunk} | {candidate} | {spread(ms)} | {np.median(ms) / chunk:.3g} | {spread(macs)} "
                f"| {np.median(dense / ms):.2f} |\n"
            )
    return page


def spread(values: np.ndarray) -> str:
    """Median and the 10th and 90th percentile."""
    low, high = np.percentile(values, [10, 90])
    return f"{np.median(values):.3g} ({low:.3g} to {high:.3g})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", nargs="?", help="event file; a new SynthAU clip (346 x 260) if none is given")
    parser.add_argument("--rounds", type=int, default=30, help="places in the recording")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.recording is None:
        with tempfile.TemporaryDirectory() as folder:
            generate(folder, SynthConfig(n_subjects=1, aus=(12,)))
            stream, name = events.read(next(Path(folder).glob("**/*.h5"))), "a SynthAU clip"
    else:
        stream, name = events.read(args.recording), Path(args.recording).name
    recording = Recording(stream)
    page = report(args, name, recording, measure(recording, args.rounds))
    print(page)
    if args.out:
        args.out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
