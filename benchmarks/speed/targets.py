"""What snnfer wants to reach against spikingjelly, and whether it did."""

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.speed.results import STEPS, Results
from benchmarks.speed.workloads import WORKLOADS

PEER = "spikingjelly"


@dataclass(frozen=True)
class Target:
    """Least ratio, and the one that is hoped for: of seconds in a setting, or of the extra peak memory."""

    network: str
    mode: str
    measure: str
    must: float
    goal: float


OTHERS = [name for name, workload in WORKLOADS.items() if name != "au_snn" and workload.kind != "neuron"]
TARGETS = {
    "cpu": [
        Target("au_snn", "train", "retained", 7, 10),
        Target("au_snn", "train", "default", 12, 16),
        Target("au_snn", "infer", "retained", 12, 20),
        Target("au_snn", "infer", "default", 25, 40),
        Target("au_snn", "train", "memory", 16, 40),
        Target("au_snn", "infer", "memory", 100, 100),
        *(Target(name, "train", setting, 2, 4) for name in OTHERS for setting in ("retained", "default")),
    ],
    "cuda": [Target("au_snn", "train", "triton", 2, 3), Target("au_snn", "train", "memory", 4, 8)],
}
HEAD = """
## Targets

Ratios against spikingjelly at full size.

| network | step | measure | must | goal | reached | |
|---|---|---|---|---|---|---|
"""


def format_targets(results: Results) -> str:
    """The section of the page; empty where networks were run at other sizes."""
    rows = list(_rows(results)) if not any(results.shapes.values()) else []
    return HEAD + "\n".join(rows) + "\n" if rows else ""


def _rows(results: Results) -> Iterator[str]:
    for target in TARGETS[results.device]:
        reached = _reached(results, target)
        if reached is not None:
            verdict = "goal met" if reached >= target.goal else "must met" if reached >= target.must else "missed"
            what = "extra peak memory" if target.measure == "memory" else target.measure
            cells = [
                WORKLOADS[target.network].title,
                STEPS[target.mode],
                what,
                f"{target.must:g}",
                f"{target.goal:g}",
                f"{reached:.2f}",
                verdict,
            ]
            yield f"| {' | '.join(cells)} |"


def _reached(results: Results, target: Target) -> float | None:
    """The measured ratio, if there is one."""
    case = (target.network, target.mode)
    if target.measure == "memory":
        ours, theirs = (results.peaks.get((*case, library)) for library in ("snnfer", PEER))
        return theirs / ours if ours and theirs else None
    if (*case, target.measure) not in results.times:
        return None
    ratio = results.speedup(*case, target.measure, PEER)
    return ratio[0] if ratio is not None else None
