"""Measured energy of this machine while it works: counters of the processor package (RAPL) or of a GPU (NVML)."""

import contextlib
import dataclasses
import importlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from snnfer.errors import ConfigError, SnnferError

POWERCAP = Path("/sys/class/powercap")


@dataclasses.dataclass
class EnergyMeasurement:
    """What a meter saw while `measure_energy` was open; filled in when it closes.

    Args:
        source: Which counter.
        joules: Energy of the whole device, whoever used it.
        seconds: Wall time.
    """

    source: str
    joules: float = 0.0
    seconds: float = 0.0

    @property
    def watts(self) -> float:
        """Mean power."""
        return self.joules / self.seconds if self.seconds else 0.0


@dataclasses.dataclass(frozen=True)
class Meter:
    """A counter of energy that only grows, until it starts again at zero.

    Args:
        source: Which counter.
        read_joules: Its value now, one per domain.
        ranges_joules: Value at which each domain starts again; infinite for one that never does.
    """

    source: str
    read_joules: Callable[[], tuple[float, ...]]
    ranges_joules: tuple[float, ...]

    def spent(self, before: tuple[float, ...], after: tuple[float, ...]) -> float:
        """Energy between two readings, each domain having started again at most once."""
        differences = zip(before, after, self.ranges_joules, strict=True)
        return sum(end - start if end >= start else end - start + span for start, end, span in differences)


@contextlib.contextmanager
def measure_energy(device: str = "cpu", *, powercap: Path = POWERCAP) -> Iterator[EnergyMeasurement]:
    """Measure the energy of the processor or GPU while the context lasts.

    The counters see the whole package or GPU, idle power and other programs included. A processor counter starts again
    after its range (minutes at least); one such restart is put right, so keep a measurement below that time.

    Args:
        device: ``cpu`` (RAPL of all processor packages), ``cuda`` or ``cuda:1`` (NVML).
        powercap: Folder of the RAPL counters.

    Raises:
        SnnferError: this machine has no such counter, or it may not be read.

    Examples:
        >>> with measure_energy() as energy:  # doctest: +SKIP
        ...     model(x)
        >>> energy.joules  # doctest: +SKIP
        3.2
    """
    meter = find_meter(device, powercap=powercap)
    result = EnergyMeasurement(meter.source)
    before, start = meter.read_joules(), time.perf_counter()
    try:
        yield result
    finally:
        result.joules = meter.spent(before, meter.read_joules())
        result.seconds = time.perf_counter() - start


def find_meter(device: str = "cpu", *, powercap: Path = POWERCAP) -> Meter:
    """The counter of a device; see `measure_energy`."""
    kind, _, index = device.partition(":")
    if kind == "cpu":
        return _rapl(powercap)
    if kind == "cuda" and (index or "0").isdigit():
        return _nvml(int(index or 0))
    raise ConfigError(f"no energy counter for the device '{device}'", expected="cpu, cuda or cuda:INDEX")


def _rapl(powercap: Path) -> Meter:
    domains = [d for d in sorted(powercap.glob("*rapl*:*")) if d.name.count(":") == 1 and _is_package(d)]
    if not domains:
        raise SnnferError(
            f"no energy can be measured here: '{powercap}' has no RAPL counter of a processor package",
            cause="a virtual machine or container, or a processor without RAPL",
            fix="measure on the machine itself under Linux, or use the estimates of the scenarios",
        )
    files = [domain / "energy_uj" for domain in domains]
    spans = tuple(int((d / "max_energy_range_uj").read_text()) / 1e6 for d in domains)
    meter = Meter("RAPL " + ", ".join(_text(d / "name") for d in domains), lambda: _read_all(files), spans)
    try:
        meter.read_joules()
    except PermissionError as error:
        raise SnnferError(
            f"the energy counter '{error.filename}' may not be read",
            cause="Linux lets only root read it",
            fix=f"run as root, or allow it with: sudo chmod a+r {error.filename}",
        ) from error
    return meter


def _is_package(domain: Path) -> bool:
    """Whether a domain is a processor package; some machines list the same counter twice (intel-rapl-mmio)."""
    return (
        (domain / "energy_uj").exists() and "mmio" not in domain.name and _text(domain / "name").startswith("package")
    )


def _text(file: Path) -> str:
    return file.read_text().strip() if file.exists() else ""


def _read_all(files: list[Path]) -> tuple[float, ...]:
    return tuple(int(file.read_text()) / 1e6 for file in files)


def _nvml(index: int) -> Meter:
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ModuleNotFoundError as error:
        raise SnnferError(
            "no energy can be measured here: the Python package 'nvidia-ml-py' is not installed",
            fix="pip install nvidia-ml-py",
        ) from error
    try:
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except nvml.NVMLError as error:
        raise SnnferError(
            f"no energy can be measured here: NVML has no energy counter of GPU {index} ({error})",
            cause="no NVIDIA GPU or driver, or a GPU older than Volta",
            fix="use the estimates of the scenarios",
        ) from error
    return Meter(
        f"NVML GPU {index}",
        lambda: (nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3,),
        (float("inf"),),
    )
