"""Speed of snnfer's neurons and of au_snn beside spikingjelly and norse, as their users write them.

    python benchmarks/speed/neurons.py --out benchmarks/results/neurons.md
    python benchmarks/speed/neurons.py --retain --out benchmarks/results/neurons-retained.md

One thread, processor time (user and system), all candidates alternating in one process: A B C A B C. A ratio is paired
within a round; the table shows the median over rounds and the range. Every library gets the same weights and input.
spikingjelly runs multi-step; norse runs its cells in a loop over time, and normalises every step on its own.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from importlib import metadata

import torch
from torch import nn

from snnfer import create_model
from snnfer._memory import retain_freed_memory
from snnfer.neurons import PLIF

STEPS, BATCH = 76, 8
SHAPES = {"convolution 1": (32, 64, 64), "convolution 2": (32, 32, 32), "fully connected": (512,)}
Step = Callable[[], None]


class NorseNetwork(nn.Module):
    """The layers of au_snn in norse, with a learnable time constant, looped over time."""

    def __init__(self) -> None:
        super().__init__()
        from norse.torch import SequentialState

        self.features = SequentialState(
            nn.Conv2d(2, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), norse_plif(), nn.MaxPool2d(2),
            nn.Conv2d(32, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), norse_plif(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Dropout(0.2), nn.Linear(8192, 512), norse_plif(),
            nn.Dropout(0.2), nn.Linear(512, 210), norse_plif(),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs, state = [], None
        for step in x.unbind(0):
            y, state = self.features(step, state)
            outputs.append(y)
        return torch.stack(outputs).unflatten(-1, (21, 10)).mean((0, -1))


class MeanOverTime(nn.Module):
    """The time mean of a network that returns every step."""

    def __init__(self, network: nn.Module, after: Callable[[], None]) -> None:
        super().__init__()
        self.network = network
        self.after = after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.network(x).mean(0)
        self.after()
        return y


def norse_plif() -> nn.Module:
    """norse's box model with a learnable time constant of 2 steps."""
    from norse.torch import LIFBoxCell, LIFBoxParameters

    cell = LIFBoxCell(LIFBoxParameters(tau_mem_inv=nn.Parameter(torch.tensor(500.0))), dt=0.001)
    cell.rate = cell.p.tau_mem_inv  # registered, so that the optimiser finds it
    return cell


def spikingjelly_plif() -> nn.Module:
    """spikingjelly's PLIF with the paper's settings, multi-step."""
    from spikingjelly.activation_based import neuron, surrogate

    return neuron.ParametricLIFNode(
        decay_input=False, detach_reset=True, surrogate_function=surrogate.ATan(), step_mode="m"
    )


def spikingjelly_network() -> nn.Module:
    """The layers of au_snn in spikingjelly, multi-step."""
    from spikingjelly.activation_based import functional, layer

    plif = spikingjelly_plif
    network = nn.Sequential(
        layer.Conv2d(2, 32, 3, padding=1, bias=False), layer.BatchNorm2d(32), plif(), layer.MaxPool2d(2),
        layer.Conv2d(32, 32, 3, padding=1, bias=False), layer.BatchNorm2d(32), plif(), layer.MaxPool2d(2),
        layer.Flatten(), layer.Dropout(0.2), layer.Linear(8192, 512), plif(),
        layer.Dropout(0.2), layer.Linear(512, 210), plif(), layer.VotingLayer(10),
    )  # fmt: skip
    functional.set_step_mode(network, "m")
    return MeanOverTime(network, lambda: functional.reset_net(network))


def neuron_steps(shape: tuple[int, ...]) -> dict[str, Step]:
    """Forward and backward of the neuron alone."""
    from spikingjelly.activation_based import functional

    x = torch.randn(STEPS, BATCH, *shape).requires_grad_()
    grad = torch.randn(STEPS, BATCH, *shape)
    ours, theirs, cell = PLIF(), spikingjelly_plif(), norse_plif()

    def run_ours() -> None:
        ours(x).backward(grad)

    def run_spikingjelly() -> None:
        theirs(x).backward(grad)
        functional.reset_net(theirs)

    def run_norse() -> None:
        outputs, state = [], None
        for step in x.unbind(0):
            y, state = cell(step, state)
            outputs.append(y)
        torch.stack(outputs).backward(grad)

    return {
        "snnfer": cleared(run_ours, x),
        "spikingjelly": cleared(run_spikingjelly, x),
        "norse": cleared(run_norse, x),
    }


def cleared(run: Step, x: torch.Tensor) -> Step:
    """`run` with the gradient of `x` dropped first, as an optimiser does."""

    def step() -> None:
        x.grad = None
        run()

    return step


def make_networks() -> dict[str, nn.Module]:
    """au_snn in the three libraries with the same weights."""
    torch.manual_seed(0)
    networks = {"snnfer": create_model("au_snn"), "spikingjelly": spikingjelly_network(), "norse": NorseNetwork()}
    weights = [p for p in networks["snnfer"].parameters() if p.ndim]
    with torch.no_grad():
        for network in (networks["spikingjelly"], networks["norse"]):
            for a, b in zip(weights, (p for p in network.parameters() if p.ndim), strict=True):
                b.copy_(a)
    return networks


def make_counts() -> torch.Tensor:
    """Poisson event counts, 3.4 % nonzero."""
    return torch.poisson(torch.full((STEPS, BATCH, 2, 64, 64), 0.035), generator=torch.Generator().manual_seed(0))


def training_steps() -> dict[str, Step]:
    """Forward, mean squared error, backward, Adam."""
    x, target = make_counts(), nn.functional.one_hot(torch.arange(BATCH), 21).float()

    def step(network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        nn.functional.mse_loss(network(x), target).backward()
        optimizer.step()

    networks = make_networks()
    optimizers = {name: torch.optim.Adam(network.parameters(), lr=1e-3) for name, network in networks.items()}
    return {name: lambda n=network, o=optimizers[name]: step(n, o) for name, network in networks.items()}


def inference_steps() -> dict[str, Step]:
    """The whole batch without gradients, evaluation mode, after one training pass for the statistics."""
    x, networks = make_counts(), make_networks()

    def step(network: nn.Module) -> None:
        with torch.no_grad():
            network(x)

    for network in networks.values():
        step(network)
        network.eval()
    return {name: lambda n=network: step(n) for name, network in networks.items()}


def measure(steps: dict[str, Step], rounds: int) -> dict[str, list[float]]:
    """Processor seconds per round after two warm-up rounds."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for i in range(rounds + 2):
        for name, step in steps.items():
            start = time.process_time()
            step()
            if i > 1:
                seconds[name].append(time.process_time() - start)
    return seconds


def row(case: str, name: str, seconds: dict[str, list[float]]) -> str:
    """A line of the table; the ratio says how many times faster snnfer is."""
    ratios = [theirs / ours for ours, theirs in zip(seconds["snnfer"], seconds[name], strict=True)]
    median = statistics.median(seconds[name])
    spread = f"{statistics.median(ratios):.2f} [{min(ratios):.2f}-{max(ratios):.2f}]" if name != "snnfer" else "1"
    return f"| {case} | {name} | {median:.4f} | {spread} |"


def main() -> None:
    """Measure everything and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--retain", action="store_true", help="keep freed memory in the process, as snnfer's commands do"
    )
    parser.add_argument("--out", help="Markdown file to write")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.retain and not retain_freed_memory():
        parser.error("--retain needs Linux with glibc")
    cases = {
        f"PLIF alone, {name} {list(shape)}, train": lambda s=shape: neuron_steps(s) for name, shape in SHAPES.items()
    }
    cases |= {"au_snn, training step": training_steps, "au_snn, inference": inference_steps}
    lines = [header(args)]
    for case, make in cases.items():
        seconds = measure(make(), args.rounds)
        lines += [row(case, name, seconds) for name in seconds]
        print("\n".join(lines[-len(seconds) :]), flush=True)
    if args.out:
        with open(args.out, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")


def header(args: argparse.Namespace) -> str:
    """Title, method, machine and the head of the table."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "spikingjelly", "norse"))
    allocator = "freed memory retained" if args.retain else "default allocator"
    options = f"--rounds {args.rounds}{' --retain' if args.retain else ''}"
    return f"""# Speed of the neurons, {allocator}

T = {STEPS}, N = {BATCH}, float32, one thread; processor seconds (user and system), alternating,
{args.rounds} rounds after two to warm up; the ratio is the median (and range) of the paired ratios, in times of snnfer.

Python {platform.python_version()}, {versions}, {platform.machine()} ({torch.backends.cpu.get_cpu_capability()}).
Made by `python benchmarks/speed/neurons.py {options}`.

| case | library | CPU s | times snnfer |
|---|---|---|---|"""


if __name__ == "__main__":
    main()
