"""One measurement in a process of its own, started by `benchmarks.speed` with the environment under test.

    python -m benchmarks.speed.measure '{"workload": "au_snn", "mode": "train", "libraries": ["snnfer", "norse"]}'

The last line of its output is the result in JSON.
"""

import copy
import dataclasses
import gc
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.speed import ceilings, memory
from benchmarks.speed.libraries import build, copy_weights
from benchmarks.speed.workloads import N_CLASSES, WORKLOADS, Workload, make_input
from snnfer.neurons import Neuron, observe, use_kernel
from snnfer.profiling import flop_totals

Step = Callable[[], None]
WARM_UP = 1
TINY = {"steps": 2, "batch": 1, "size": 32}


@dataclass(frozen=True)
class Job:
    """What to measure."""

    workload: str
    mode: Literal["train", "infer", "memory_train", "memory_infer", "ceilings"]
    libraries: tuple[str, ...] = ("snnfer",)
    changes: dict[str, Any] = field(default_factory=dict)
    """Fields of the workload to replace."""
    rounds: int = 5
    device: str = "cpu"
    clock: Literal["cpu", "wall"] = "cpu"
    """On a CUDA device events of CUDA are used instead."""

    def make_workload(self) -> Workload:
        return dataclasses.replace(WORKLOADS[self.workload], **self.changes)


def run(job: Job) -> dict[str, Any]:
    """The result of a job."""
    torch.set_num_threads(1)
    if job.mode == "ceilings":
        return ceilings.measure(job.device)
    if job.mode.startswith("memory"):
        return {"peak_mib": _peak(job)}
    return _times(job)


def _times(job: Job) -> dict[str, Any]:
    """Seconds per round of every library that runs, how far its outputs are from snnfer's, and what was computed."""
    workload = job.make_workload()
    x = make_input(workload).to(job.device)
    networks, failures = _networks(job.libraries, workload, x)
    train = job.mode == "train"
    differences = {}
    for name, network in list(networks.items()):
        try:
            differences[name] = _differences(networks["snnfer"], network, x, train=train)
        except (RuntimeError, ValueError, ImportError) as error:  # a back end that is not there shows when it is used
            failures[name] = _one_line(error)
            del networks[name]
    steps = {name: _step(network, x, train=train) for name, network in networks.items()}
    seconds = alternate(steps, job.rounds, timer(job.device, job.clock))
    return {
        "seconds": seconds,
        "differences": differences,
        "failures": failures,
        "macs": _macs(networks["snnfer"], x) if workload.kind != "neuron" else 0.0,
        "firing_rate": firing_rate(networks["snnfer"], x),
        "elements": x.numel(),
        "device": torch.cuda.get_device_name() if job.device == "cuda" else "",
    }


def _networks(
    libraries: tuple[str, ...], workload: Workload, x: torch.Tensor
) -> tuple[dict[str, nn.Module], dict[str, str]]:
    """Networks with the same weights and running statistics; and why a library has none."""
    torch.manual_seed(0)
    first = build("snnfer", workload).to(x.device)
    _settle(first, workload, x)
    networks, failures = {"snnfer": first}, {}
    for library in libraries:
        if library == "snnfer":
            continue
        try:
            networks[library] = build(library, workload).to(x.device)
        except ImportError as error:
            failures[library] = _one_line(error)
            continue
        copy_weights(first, networks[library])
    return networks, failures


def _settle(network: nn.Module, workload: Workload, x: torch.Tensor) -> None:
    """Weights with which all layers fire, and running statistics of the input.

    Normalisations get the scale 1 and the workload's offset; the fully connected layers, which have none and start with
    small weights, five times those.
    """
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Linear):
                module.weight *= 5
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.ones_(norm.weight)
        nn.init.constant_(norm.bias, workload.norm_bias)
        norm.momentum = 1.0
    with torch.no_grad():
        network.train()(x)
    for norm in norms:
        norm.momentum = 0.1


def _differences(first: nn.Module, other: nn.Module, x: torch.Tensor, *, train: bool) -> tuple[float, float | None]:
    """Greatest difference between the outputs of two networks, without dropout: in float32, and in float64 (8 steps).

    In float32 a potential within rounding of the threshold may fire in one library and not in the other; a deep network
    then makes much of it. In float64 that hardly ever happens; None where a library knows float32 only.
    """
    single = _greatest(first, other, x, train=train)
    exact, other_exact = (copy.deepcopy(network).double() for network in (first, other))
    try:
        return single, _greatest(exact, other_exact, x[:8].double(), train=train)
    except RuntimeError:
        return single, None


def _greatest(first: nn.Module, other: nn.Module, x: torch.Tensor, *, train: bool) -> float:
    return (_output(first, x, train=train) - _output(other, x, train=train)).abs().max().item()


def _output(network: nn.Module, x: torch.Tensor, *, train: bool) -> torch.Tensor:
    network.train(train)
    for module in network.modules():
        if "Dropout" in type(module).__name__:
            module.eval()
    with torch.no_grad():
        return network(x)


def _step(network: nn.Module, x: torch.Tensor, *, train: bool) -> Step:
    """One training step (forward, loss, backward, Adam) or one forward without gradients."""
    network.train(train)
    if train and any(isinstance(module, nn.Conv2d) for module in network.modules()):
        return _training_step(network, x)
    if train:
        return _neuron_step(network, x)

    def infer() -> None:
        with torch.no_grad():
            network(x)

    return infer


def _training_step(network: nn.Module, x: torch.Tensor) -> Step:
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    target = F.one_hot(torch.arange(x.shape[1]) % N_CLASSES, N_CLASSES).float().to(x.device)

    def step() -> None:
        optimizer.zero_grad()
        F.mse_loss(network(x), target).backward()
        optimizer.step()

    return step


def _neuron_step(neuron: nn.Module, x: torch.Tensor) -> Step:
    """Forward and backward of a neuron on its own."""
    x = x.detach().requires_grad_()
    grad = torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).to(x.device)

    def step() -> None:
        x.grad = None
        neuron(x).backward(grad)

    return step


def alternate(steps: dict[str, Step], rounds: int, timed: Callable[[Step], float]) -> dict[str, list[float]]:
    """Seconds of every step in every round, A B C A B C, after the rounds to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + WARM_UP):
        for name, step in steps.items():
            gc.collect()
            elapsed = timed(step)
            if number >= WARM_UP:
                seconds[name].append(elapsed)
    return seconds


def timer(device: str, clock: str) -> Callable[[Step], float]:
    """What measures one call: events on CUDA; processor time (user and system) or wall time elsewhere."""
    if device == "cuda":
        return ceilings.cuda_seconds
    now = time.process_time if clock == "cpu" else time.perf_counter

    def timed(step: Step) -> float:
        start = now()
        step()
        return now() - start

    return timed


def _macs(network: nn.Module, x: torch.Tensor) -> float:
    """Dense multiply-accumulates of a forward of the whole batch."""
    with use_kernel("reference"):
        return flop_totals(network, x[:1, :1]) * x.shape[0] * x.shape[1]


def firing_rate(network: nn.Module, x: torch.Tensor) -> float:
    """Spikes per neuron and step of all neurons in evaluation mode; two samples."""
    spikes, elements = [], []

    def count(name: str, neuron: Neuron, inputs: torch.Tensor, output: torch.Tensor, state: Any) -> None:
        if hasattr(neuron, "v_threshold"):
            spikes.append(output.count_nonzero().item())
            elements.append(output.numel())

    with torch.no_grad(), use_kernel("reference"), observe(network.eval(), count):
        network(x[:, :2])
    return sum(spikes) / max(sum(elements), 1)


def _peak(job: Job) -> float:
    """Memory above that after imports and input at the peak of two steps, in MiB, of the one library of the job."""
    (library,) = job.libraries
    train = job.mode == "memory_train"
    workload = job.make_workload()
    _steps(library, dataclasses.replace(workload, **TINY), job.device, train=train)  # what is loaded on first use
    x = make_input(workload).to(job.device)
    gc.collect()
    with memory.Peak(job.device) as peak:
        _steps(library, workload, job.device, train=train, x=x)
    return peak.mib


def _steps(library: str, workload: Workload, device: str, *, train: bool, x: torch.Tensor | None = None) -> None:
    torch.manual_seed(0)
    network = build(library, workload).to(device)
    step = _step(network, make_input(workload).to(device) if x is None else x, train=train)
    for _ in range(2):
        step()


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"


if __name__ == "__main__":
    print(json.dumps(run(Job(**json.loads(sys.argv[1])))))
