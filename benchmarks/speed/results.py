"""What was measured, and the ratios that follow."""

import dataclasses
import statistics
from dataclasses import dataclass, field
from typing import Any

from benchmarks.speed.processes import SETTINGS
from benchmarks.speed.workloads import WORKLOADS, Workload

STEPS = {"train": "training step", "infer": "inference"}


@dataclass
class Results:
    """Everything measured so far."""

    command: str
    device: str
    clock: str
    rounds: int
    ceilings: dict[str, float] = field(default_factory=dict)
    shapes: dict[str, dict[str, int]] = field(default_factory=dict)
    """What was changed of each workload."""
    times: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    """By network, mode and setting."""
    peaks: dict[tuple[str, str, str], float | None] = field(default_factory=dict)
    """Extra peak memory in MiB by network, mode and library."""

    def workload(self, name: str) -> Workload:
        """The workload as it was run."""
        return dataclasses.replace(WORKLOADS[name], **self.shapes.get(name, {}))

    def cases(self) -> list[tuple[str, str]]:
        """Networks and modes in the order of their measurement."""
        return list(dict.fromkeys((name, mode) for name, mode, _ in self.times))

    def settings(self) -> list[str]:
        """Settings of the device."""
        return list(SETTINGS[self.device])

    def libraries(self, name: str, mode: str) -> list[str]:
        """Libraries that were measured, snnfer first."""
        return [library for network, m, library in self.peaks if (network, m) == (name, mode)]

    def failures(self, name: str, mode: str) -> dict[str, str]:
        """Libraries that ran in no setting, and why."""
        found = [self.times[name, mode, setting]["failures"] for setting in self.settings()]
        return {library: why for library, why in found[0].items() if all(library in each for each in found)}

    def speedup(self, name: str, mode: str, setting: str, library: str) -> tuple[float, float, float] | None:
        """How many times faster snnfer is: median, smallest and greatest of the paired ratios."""
        seconds = self.times[name, mode, setting]["seconds"]
        return median_ratio(seconds["snnfer"], seconds[library]) if library in seconds else None

    def summary(self, name: str, mode: str) -> str:
        """A line for the terminal."""
        parts = []
        for library in self.libraries(name, mode)[1:]:
            ratios = [self.speedup(name, mode, setting, library) for setting in self.settings()]
            parts.append(f"{library} {' / '.join(f'{ratio[0]:.2f}' if ratio else '-' for ratio in ratios)}")
        return f"{name} {mode}: times snnfer, {' / '.join(self.settings())}: {', '.join(parts)}"


def median_ratio(ours: list[float], theirs: list[float]) -> tuple[float, float, float]:
    """Median, smallest and greatest of `theirs` / `ours`, paired by round."""
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)
