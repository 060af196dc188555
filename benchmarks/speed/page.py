"""The page: one table, the machine, the method."""

import platform
import statistics
from importlib import metadata

from benchmarks.speed.results import STEPS, Results
from benchmarks.speed.targets import format_targets
from benchmarks.speed.workloads import WORKLOADS

PACKAGES = ("torch", "triton", "spikingjelly", "norse", "snntorch", "sinabs")
NEURON_BYTES = {"train": 20, "infer": 8}
"""Bytes per element that a neuron alone cannot avoid in float32: input read, spikes written; in training also the input
(or the potential) and the gradient read and the gradient of the input written."""


PAGE = """# Speed and memory, side by side

Made by `{command}`.

The same networks, weights and input in every library, float32, {how}. Libraries alternate in one process per network,
step and setting; {rounds} rounds after one to warm up.

- Ratio: how many times longer than snnfer, paired within a round; median [least to greatest].
{settings}
- Peak: memory above that after imports and input, in two steps; a process of its own for each library.
- Difference: greatest difference of the outputs from snnfer's without dropout, in float32 and (first 8 steps) in
  float64; see below.

![Times and memory of the libraries in units of snnfer's]({picture})

{head}
{rows}
{targets}
## Networks

| network | input [T, N, C, H, W] | convolutions | dense GFLOP, forward | at the convolution's speed | firing rate |
|---|---|---|---|---|---|
{networks}

Firing rate: spikes per neuron and step in evaluation mode. The weights are those of an untrained network (seed 0); the
fully connected layers are five times as large, so that every layer fires. The input are contours that move, and noise.
A training step is forward, mean squared error, backward and Adam (fused, for all); of PLIF alone, forward and backward.
Inference takes the whole batch, without gradients.
{neuron}
## Differences

In float32 libraries sum in different orders. A potential within rounding of the threshold may then fire in one of them
alone, and a deep network makes much of one spike; in float64 that hardly happens. norse and snnTorch run the network
step by step, so that in training their batch normalisation sees one step at a time: they compute something else there.
sinabs and norse have other surrogate gradients.

## Machine

{machine}; Python {python}, {versions}.
Measured here, best of 20: float32 product of matrices {gemm_gflops:.0f} GFLOP/s, convolution (W's second, channels
last) {convolution_gflops:.0f} GFLOP/s, copy {copy_gbs:.1f} GB/s (bytes read plus bytes written).
"""
CPU_SETTINGS = """- Default: glibc's allocator as it is. Retained: freed memory stays in the process, as in snnfer's
  commands (`MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=20000000000 MALLOC_TOP_PAD_=268435456`)."""
CUDA_SETTINGS = """- Triton, cuda: kernels of spikingjelly (`SJ_PLIF_CUDA_IMPLEMENTATION`, `SJ_IF_CUDA_IMPLEMENTATION`).
  Its compiled ones, which took the place of CuPy, are not in its wheel."""


def format_page(results: Results, *, picture: str) -> str:
    """The page of what has been measured so far."""
    names = list(dict.fromkeys(name for name, _ in results.cases()))
    cpu = results.device == "cpu"
    clock = "one thread, processor seconds (user and system)" if results.clock == "cpu" else "one thread, wall seconds"
    return PAGE.format(
        command=results.command,
        how=clock if cpu else "seconds between events of CUDA",
        rounds=results.rounds,
        settings=CPU_SETTINGS if cpu else CUDA_SETTINGS,
        picture=picture,
        head=_head(results.settings()),
        rows="\n".join(row for case in results.cases() for row in _rows(results, *case)),
        targets=format_targets(results),
        networks="\n".join(_network_row(results, name) for name in names),
        neuron=_neuron_shares(results) if "neuron" in names else "",
        machine=_machine(results),
        python=platform.python_version(),
        versions=", ".join(f"{name} {version}" for name in PACKAGES if (version := _version(name))),
        **results.ceilings,
    )


def _head(settings: list[str]) -> str:
    columns = ["network", "step", "library", *(f"{s}: s | ratio" for s in settings), "peak, MiB", "ratio", "difference"]
    return f"| {' | '.join(columns)} |\n|{'---|' * (len(columns) + len(settings))}"


def _rows(results: Results, name: str, mode: str) -> list[str]:
    failures = results.failures(name, mode)
    rows = []
    for library in results.libraries(name, mode):
        cells = [WORKLOADS[name].title, STEPS[mode], library]
        if library in failures:
            rows.append(f"| {' | '.join(cells)} | did not run: {failures[library]} |")
            continue
        for setting in results.settings():
            cells += _time_cells(results, name, mode, setting, library)
        rows.append(f"| {' | '.join(cells + _memory_cells(results, name, mode, library))} |")
    return rows


def _time_cells(results: Results, name: str, mode: str, setting: str, library: str) -> list[str]:
    seconds = results.times[name, mode, setting]["seconds"].get(library)
    ratio = results.speedup(name, mode, setting, library)
    if seconds is None or ratio is None:
        return ["-", "-"]
    text = "1" if library == "snnfer" else f"{ratio[0]:.2f} [{ratio[1]:.2f} to {ratio[2]:.2f}]"
    return [f"{statistics.median(seconds):.4g}", text]


def _memory_cells(results: Results, name: str, mode: str, library: str) -> list[str]:
    ours, theirs = results.peaks[name, mode, "snnfer"], results.peaks[name, mode, library]
    found = [results.times[name, mode, setting]["differences"].get(library) for setting in results.settings()]
    difference = next((pair for pair in found if pair is not None), None)
    return [
        f"{theirs:.0f}" if theirs is not None else "-",
        f"{theirs / ours:.2f}" if theirs is not None and ours else "-",
        "" if library == "snnfer" or difference is None else "; ".join(map(_difference, difference)),
    ]


def _difference(value: float | None) -> str:
    return "float32 only" if value is None else f"{value:.1g}"


def _network_row(results: Results, name: str) -> str:
    workload = results.workload(name)
    found = next(result for (network, *_), result in results.times.items() if network == name)
    flops = 2 * found["macs"]
    shape = (workload.steps, workload.batch, workload.channels, workload.size, workload.size)
    blocks = ", ".join(
        f"{b.channels} of {b.kernel} x {b.kernel}" + (f", stride {b.stride}" if b.stride > 1 else "")
        for b in workload.convolutions
    )
    arithmetic = (f"{flops / 1e9:.1f}", f"{flops / results.ceilings['convolution_gflops'] / 1e9:.2f} s")
    cells = [workload.title, str(list(shape)), blocks or {"neuron": "none"}.get(workload.kind, "SEW ResNet-18")]
    cells += arithmetic if flops else ("-", "-")
    cells.append(f"{found['firing_rate']:.3f}")
    return f"| {' | '.join(cells)} |"


def _neuron_shares(results: Results) -> str:
    """Which share of the measured copy bandwidth the neuron alone reaches."""
    parts = []
    for mode in ("train", "infer"):
        for setting in results.settings():
            result = results.times.get(("neuron", mode, setting))
            if result is not None:
                seconds = statistics.median(result["seconds"]["snnfer"])
                share = NEURON_BYTES[mode] * result["elements"] / seconds / 1e9 / results.ceilings["copy_gbs"]
                parts.append(f"{share:.0%} ({STEPS[mode]}, {setting})")
    least = f"{NEURON_BYTES['train']} bytes per element and training step, {NEURON_BYTES['infer']} in inference"
    return f"\nPLIF alone cannot move less than {least}, at these shares of the speed of a copy: {', '.join(parts)}.\n"


def _machine(results: Results) -> str:
    devices = [result["device"] for result in results.times.values() if result["device"]]
    return devices[0] if devices else processor_name()


def processor_name() -> str:
    """Name of the processor, where Linux tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.machine()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
