"""Latency of evTransFER per 33 ms window, with and without reuse of the features of earlier windows.

    python -m benchmarks.evtransfer_latency [--windows 40] [--threads 1]

A stream of windows goes through three programs in turn, window by window, so that other work on the machine disturbs
all of them alike: evtransfer; evtransfer_lstm that encodes the last three windows each time; evtransfer_lstm that keeps
the features of the last two (``forward_with_state``). The scores of the last two must be the same bits.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TypeVar

import torch

from snnfer.models import WindowClassifier, create_model

RESULTS = Path(__file__).parent / "results" / "evtransfer_latency.md"
WINDOW_MS = 1000 / 30
WARM_UP = 3
SINGLE, ENCODE_ALL, REUSE = "evtransfer", "evtransfer_lstm, three windows encoded", "evtransfer_lstm, features kept"
HEADER = """| program | wall time, ms | quartiles | processor time, ms | quartiles | of 33.3 ms |
|---|---|---|---|---|---|
"""
Times = dict[str, list[tuple[float, float]]]
Result = TypeVar("Result")


def main() -> None:
    """Measure, check that reuse changes nothing, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=40, help="timed windows")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    times, difference = measure(args.windows)
    page = format_page(times, difference, args.threads)
    print(page)
    if difference:
        raise SystemExit(f"reuse changes the scores by up to {difference:g}")
    RESULTS.write_text(page, encoding="utf-8")


def measure(n_windows: int) -> tuple[Times, float]:
    """Wall and processor milliseconds of each program and window, and how far reuse changes any score."""
    torch.manual_seed(0)
    single, sequence = (make_model(name) for name in ("evtransfer", "evtransfer_lstm"))
    windows = torch.rand(n_windows + WARM_UP, 1, 3, 256, 256) * 2 - 1
    times: Times = {SINGLE: [], ENCODE_ALL: [], REUSE: []}
    state, difference = None, 0.0
    with torch.inference_mode():
        for t in range(len(windows)):
            now, last_three = windows[t : t + 1], windows[max(0, t - 2) : t + 1]
            _, single_time = timed(lambda x=now: single(x))
            scores, all_time = timed(lambda x=last_three: sequence(x))
            (kept, state), reuse_time = timed(lambda x=now, s=state: sequence.forward_with_state(x, s))
            difference = max(difference, float((scores - kept[0]).abs().max()))
            if t >= WARM_UP:
                for name, value in zip(times, (single_time, all_time, reuse_time), strict=True):
                    times[name].append(value)
    return times, difference


def make_model(name: str) -> WindowClassifier:
    """The model in evaluation mode, its normalisation adapted to the input as training does."""
    model = create_model(name)
    assert isinstance(model, WindowClassifier)
    with torch.no_grad():
        model.train()(torch.rand(3, 4, 3, 256, 256) * 2 - 1)
    return model.eval()


def timed(work: Callable[[], Result]) -> tuple[Result, tuple[float, float]]:
    """Result of `work`, and its wall and processor time in milliseconds."""
    wall, processor = time.perf_counter(), time.process_time()
    result = work()
    return result, (1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - processor))


def format_page(times: Times, difference: float, threads: int) -> str:
    """The page with its table."""
    rows, medians = [], {}
    for name, values in times.items():
        wall, processor = (statistics.quantiles(column, n=4) for column in zip(*values, strict=True))
        medians[name] = processor[1]
        cells = [f"{middle:.1f} | {low:.1f} to {high:.1f}" for low, middle, high in (wall, processor)]
        rows.append(f"| {name} | {' | '.join(cells)} | {processor[1] / WINDOW_MS:.0%} |")
    saved, added = medians[ENCODE_ALL] / medians[REUSE], medians[REUSE] / medians[SINGLE]
    n_windows = len(times[REUSE])
    return (
        "# Latency of evTransFER per window\n\n"
        f"`python -m benchmarks.evtransfer_latency --threads {threads}`: one stream, 256 x 256 pixels, float32,\n"
        f"default widths, on the processor; medians of {n_windows} windows, the programs in turn. Other work may\n"
        "have run on the machine: processor time (of all threads together) is the steadier number.\n\n"
        + HEADER
        + "\n".join(rows)
        + f"\n\nKeeping the features of two windows makes evtransfer_lstm {saved:.2f} times as fast; the LSTM then\n"
        f"adds {added - 1:.0%} to the network of single windows. Largest difference of any score between encoding\n"
        f"all three windows and keeping features: {difference:g}.\n"
        f"\nPyTorch {metadata.version('torch')}, Python {platform.python_version()}, {platform.machine()}.\n"
    )


if __name__ == "__main__":
    main()
