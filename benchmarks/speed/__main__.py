"""Speed and memory of snnfer beside spikingjelly, norse, snnTorch and sinabs: one table, one figure.

    python -m benchmarks.speed [--networks au_snn ...] [--peers spikingjelly ...] [--rounds 5] [--quick] [--out DIR]

The same networks with the same weights and input in every library, alternating (A B C A B C) in one process, which is a
new one for every network, step and setting. On the CPU one thread and processor seconds, with glibc's allocator as it
is and with freed memory retained; with ``--device cuda`` seconds between events of CUDA, against spikingjelly's Triton
kernels and its compiled ones. The page and the figure are written after every measurement.
"""

import argparse
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed.figure import draw
from benchmarks.speed.measure import Job
from benchmarks.speed.page import format_page
from benchmarks.speed.processes import SETTINGS, run_apart
from benchmarks.speed.results import Results
from benchmarks.speed.workloads import ALL_PEERS, WORKLOADS
from snnfer._files import atomic_path

RESULTS = Path(__file__).parents[1] / "results"
QUICK = {"steps": 8, "batch": 2}
MODES = ("train", "infer")


def main() -> None:
    """Measure and write."""
    args = parse()
    changes = {name: shrunk(name) if args.quick else {} for name in args.networks}
    command = " ".join(["python -m benchmarks.speed", *args.given])
    results = Results(command=command, device=args.device, clock=args.clock, rounds=args.rounds)
    first_setting = next(iter(SETTINGS[args.device]))
    results.ceilings = run_apart(Job(args.networks[0], "ceilings", device=args.device), first_setting)
    for name in args.networks:
        libraries = ("snnfer", *(peer for peer in WORKLOADS[name].peers if peer in args.peers))
        common: dict[str, Any] = {"changes": changes[name], "device": args.device}
        for mode in MODES:
            for setting in SETTINGS[args.device]:
                job = Job(name, mode, libraries, rounds=args.rounds, clock=args.clock, **common)
                results.times[name, mode, setting] = run_apart(job, setting)
            for library in libraries:
                job = Job(name, f"memory_{mode}", (library,), **common)  # type: ignore[arg-type]
                peak = run_apart(job, first_setting) if library not in results.failures(name, mode) else {}
                results.peaks[name, mode, library] = peak.get("peak_mib")
            results.shapes[name] = changes[name]
            write(results, args.out)
            print(results.summary(name, mode), flush=True)


def shrunk(name: str) -> dict[str, int]:
    """Steps and samples of a workload for a quick run."""
    small = WORKLOADS[name].shrunk(**QUICK)
    return {"steps": small.steps, "batch": small.batch}


def write(results: Results, folder: Path) -> None:
    """speed.md and speed.png (speed_cuda on CUDA)."""
    stem = "speed" if results.device == "cpu" else f"speed_{results.device}"
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / f"{stem}.md") as temporary:
        Path(temporary).write_text(format_page(results, picture=f"{stem}.png"), encoding="utf-8")
    draw(results, folder / f"{stem}.png")


def parse() -> argparse.Namespace:
    """The options, and as `given` those that were typed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=list(WORKLOADS), default=list(WORKLOADS), metavar="NAME")
    parser.add_argument("--peers", nargs="+", choices=ALL_PEERS, default=list(ALL_PEERS), metavar="LIBRARY")
    parser.add_argument("--rounds", type=int, default=5, help="rounds after one to warm up")
    parser.add_argument("--quick", action="store_true", help="8 steps, 2 samples: a trial of minutes, not a result")
    parser.add_argument("--device", choices=list(SETTINGS), default="cpu")
    parser.add_argument("--clock", choices=("cpu", "wall"), default="cpu", help="what is measured on the CPU")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the table and the figure")
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error("--rounds must be at least 1")
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no CUDA device here; run with --device cpu")
    given = {key: value for key, value in vars(args).items() if value != parser.get_default(key) and key != "out"}
    args.given = [text for key, value in given.items() for text in _typed(key, value)]
    return args


def _typed(key: str, value: object) -> list[str]:
    values = value if isinstance(value, list) else [] if value is True else [value]
    return [f"--{key}", *map(str, values)]


if __name__ == "__main__":
    main()
