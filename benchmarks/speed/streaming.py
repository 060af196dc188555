"""Latency of au_snn per 33 ms window, one recording, one thread: snnfer beside spikingjelly, norse and snnTorch.

    python -m benchmarks.speed.streaming [--rounds 6] [--paced-rounds 1]

A recording of 76 windows goes through every library in turn (A B C A B C, in one process), each of which keeps its
state from window to window, once back to back and once with a pause between the windows as a camera gives them: then
caches have been used by others, and the processor may have slept. Weights, statistics and frames are the same.
"""

import argparse
import gc
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.speed.libraries import _votes
from benchmarks.speed.measure import _networks
from benchmarks.speed.workloads import WORKLOADS, make_input
from snnfer._files import atomic_path
from snnfer.models import StreamingSession

RESULTS = Path(__file__).parents[1] / "results" / "streaming.md"
WINDOW_S = 0.033
PEERS = ("spikingjelly", "norse", "snntorch")


class Stream(Protocol):
    """A network that keeps its state."""

    def reset(self) -> Any:
        """Begin a recording."""
        ...

    def step(self, frame: torch.Tensor) -> torch.Tensor:
        """Votes ``[n_classes]`` of the next frame ``[1, C, H, W]``."""
        ...


class Session:
    """snnfer's `StreamingSession`."""

    def __init__(self, network: Any) -> None:
        self.session = StreamingSession(network)

    def reset(self) -> None:
        self.session.reset()

    def step(self, frame: torch.Tensor) -> torch.Tensor:
        return self.session.step(frame[0])


class Plain:
    """snnfer's ``forward_with_state``."""

    def __init__(self, network: Any) -> None:
        self.network = network

    def reset(self) -> None:
        self.state = None

    def step(self, frame: torch.Tensor) -> torch.Tensor:
        votes, self.state = self.network.forward_with_state(frame[None], self.state)
        return votes[0, 0]


class SpikingJelly:
    """spikingjelly, single-step."""

    def __init__(self, network: Any) -> None:
        from spikingjelly.activation_based import functional

        self.network, self.functional = network.network, functional
        functional.set_step_mode(self.network, "s")

    def reset(self) -> None:
        self.functional.reset_net(self.network)

    def step(self, frame: torch.Tensor) -> torch.Tensor:
        return self.network(frame)[0]


class Norse:
    """norse's sequence of cells."""

    def __init__(self, network: Any) -> None:
        self.network = network.network

    def reset(self) -> None:
        self.state = None

    def step(self, frame: torch.Tensor) -> torch.Tensor:
        spikes, self.state = self.network(frame, self.state)
        return _votes(spikes[None])[0]


class SnnTorch:
    """snnTorch's neurons, whose potentials go from call to call."""

    def __init__(self, network: Any) -> None:
        self.network = network

    def reset(self) -> None:
        n = self.network
        self.neurons = [*n.block_neurons, n.neuron1, n.neuron2]
        self.v = [neuron.init_leaky() for neuron in self.neurons]

    def step(self, frame: torch.Tensor) -> torch.Tensor:
        n, v = self.network, self.v
        for i, block in enumerate(n.blocks):
            frame, v[i] = self.neurons[i](block(frame), v[i])
            frame = F.max_pool2d(frame, n.pools[i])
        spikes, v[-2] = n.neuron1(n.fc1(frame.flatten(1)), v[-2])
        spikes, v[-1] = n.neuron2(n.fc2(spikes), v[-1])
        return _votes(spikes[None])[0]


STREAMS: dict[str, tuple[str, Callable[[Any], Stream]]] = {
    "snnfer, StreamingSession": ("snnfer", Session),
    "snnfer, forward_with_state": ("snnfer", Plain),
    "spikingjelly, single-step": ("spikingjelly", SpikingJelly),
    "norse": ("norse", Norse),
    "snnTorch": ("snntorch", SnnTorch),
}


@dataclass
class Row:
    """Times of all windows of one program, in seconds.

    Args:
        name: The program.
        paced: Whether a window came every 33 ms.
        wall, processor: One entry per window.
        differing: Share of votes that are not those of the first program.
    """

    name: str
    paced: bool
    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    differing: float = 0.0


def measure(rounds: int = 6, *, paced: bool = False) -> list[Row]:
    """Latencies of every library that is installed; the first round warms up."""
    torch.set_num_threads(1)
    workload = replace(WORKLOADS["au_snn"], batch=1)
    x = make_input(workload)
    networks, failures = _networks(("snnfer", *PEERS), workload, x)
    for name, reason in failures.items():
        print(f"{name}: {reason}")
    frames = x.unbind(0)  # [1, C, H, W] each
    made = {key: make(networks[library].eval()) for key, (library, make) in STREAMS.items() if library in networks}
    rows = {key: Row(key, paced) for key in made}
    votes: dict[str, torch.Tensor] = {}
    for number in range(rounds + 1):
        for key, stream in made.items():
            wall, processor, votes[key] = run(stream, frames, pause_s=WINDOW_S if paced and number else 0.0)
            if number:
                rows[key].wall += wall
                rows[key].processor += processor
    for key, row in rows.items():
        row.differing = (votes[key] != votes[next(iter(votes))]).float().mean().item()
    return list(rows.values())


def run(stream: Stream, frames: Any, *, pause_s: float) -> tuple[list[float], list[float], torch.Tensor]:
    """Wall and processor seconds of every window, and the votes ``[T, n_classes]``."""
    gc.collect()
    wall, processor, votes = [], [], []
    with torch.inference_mode():
        stream.reset()
        for frame in frames:
            start, start_processor = time.perf_counter(), time.process_time()
            output = stream.step(frame)
            processor.append(time.process_time() - start_processor)
            wall.append(time.perf_counter() - start)
            votes.append(output.clone())
            time.sleep(max(0.0, pause_s - wall[-1]))
    return wall, processor, torch.stack(votes)


def format_page(rows: list[Row], command: str) -> str:
    """The page with its tables."""
    tables = []
    for paced in sorted({row.paced for row in rows}):
        chosen = [row for row in rows if row.paced == paced]
        title = "A window every 33 ms, as from a camera" if paced else "Windows back to back"
        lines = [f"## {title}\n", HEAD, *(line(row, chosen) for row in chosen)]
        tables.append("\n".join(lines))
    versions = ", ".join(f"{name} {_version(name)}" for name in ("torch", "spikingjelly", "norse", "snntorch"))
    processor = f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"
    return (
        f"{INTRODUCTION}\n\n"
        + "\n\n".join(tables)
        + f"\n\n{versions}; Python {platform.python_version()}; "
        + (f"{processor}. Made by `{command}`.\n")
    )


INTRODUCTION = """# Latency per window

au_snn on one recording of 76 windows of 33 ms (2 x 64 x 64 event counts), batch 1, one thread, float32, evaluation
mode; weights with which all layers fire. Milliseconds from frame to votes. The ratio is that of the median processor
times; the last column the share of votes that differ from the first program's: programs that add in another order turn
single spikes whose potential lies within rounding of the threshold. Where other work ran on the machine (wall times
far above processor times), caches were shared with it, and both columns are too high."""
HEAD = """| program | wall p50 | p90 | p99 | processor p50 | p99 | of 33 ms | ratio | other votes |
|---|---|---|---|---|---|---|---|---|"""


def line(row: Row, rows: list[Row]) -> str:
    """A line of a table."""
    wall = [1e3 * float(np.percentile(row.wall, q)) for q in (50, 90, 99)]
    processor = [1e3 * float(np.percentile(row.processor, q)) for q in (50, 99)]
    first = 1e3 * float(np.median(rows[0].processor))
    cells = " | ".join(f"{value:.3f}" for value in (*wall, *processor))
    share = wall[0] / (1e3 * WINDOW_S)
    return f"| {row.name} | {cells} | {share:.1%} | {processor[0] / first:.1f} | {row.differing:.2%} |"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6, help="rounds back to back, after one to warm up")
    parser.add_argument("--paced-rounds", type=int, default=1, help="rounds with pauses")
    parser.add_argument("--out", type=Path, default=RESULTS, help="Markdown file to write")
    args = parser.parse_args()
    rows = measure(args.rounds) + (measure(args.paced_rounds, paced=True) if args.paced_rounds else [])
    options = f" --rounds {args.rounds} --paced-rounds {args.paced_rounds}"
    page = format_page(rows, f"python -m benchmarks.speed.streaming{options}")
    print(page)
    with atomic_path(args.out) as temporary:
        Path(temporary).write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
