"""Time and memory of the published networks at their published sizes, on the processor.

    python -m benchmarks.paper_sizes [MODEL ...] [--batch 1 16]

Each model and batch size runs in a process of its own, with one thread: it builds the model, runs one forward without
gradients and one whole training step (forward, backward, Adam; of pix2pix: of generator and discriminator) three times
each, and reads the peak of its resident memory after both. Shown is the median processor time. Only the rows of the
models named are measured anew.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from snnfer.models import PatchDiscriminator, create_model, kl_to_prior, model_task
from snnfer.training.losses import discriminator_loss, generator_loss

RESULTS = Path(__file__).parent / "results" / "paper_sizes.md"
ROUNDS = 3
N_STEPS = {"au_snn": 45, "au_cnn3d": 45, "evtransfer": 1, "evtransfer_lstm": 3, "pix2pix": 1, "cvae": 1}
"""Time steps of one sample, per model, in the order of the table; more models are added here."""
HEADER = """| model | parameters | batch x steps | forward, s | peak memory, GB | training step, s | peak memory, GB |
|---|---|---|---|---|---|---|
"""


def main() -> None:
    """Measure the models named, or all, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=", ".join(N_STEPS))
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # the child process
    args = parser.parse_args()
    if args.here:
        print(json.dumps(measure(args.models[0], args.batch[0])))
        return
    rows = read_rows()
    for name in args.models or N_STEPS:
        rows[name] = [format_row(name, batch, measure_apart(name, batch)) for batch in args.batch]
        print("\n".join(rows[name]), flush=True)
    RESULTS.write_text(format_page([row for name in N_STEPS for row in rows.get(name, [])]), encoding="utf-8")


def measure_apart(name: str, batch: int) -> dict[str, Any]:
    """`measure` in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.paper_sizes", name, "--batch", str(batch), "--here"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure(name: str, batch: int) -> dict[str, Any]:
    """Parameters, processor time in seconds and peak memory in bytes of a forward and a training step."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = create_model(name)
    config: dict[str, Any] = model.config  # type: ignore[assignment]
    x = torch.rand(N_STEPS[name], batch, config["in_channels"], *config["size"])
    model.eval()
    with torch.no_grad():
        forward_s = median_time(lambda: model(x))
    result = {"parameters": sum(p.numel() for p in model.parameters()), "forward_s": forward_s}
    result["forward_bytes"] = peak_bytes()
    model.train()
    result["training_s"] = median_time(make_training_step(name, model, x))
    return result | {"training_bytes": peak_bytes()}


def make_training_step(name: str, model: torch.nn.Module, x: torch.Tensor) -> Callable[[], None]:
    """A function that trains the model once."""
    if name == "pix2pix":
        return adversarial_step(model, x)
    optimizer = torch.optim.Adam(model.parameters())
    loss = reconstruction_loss(model, x) if model_task(name) == "reconstruction" else classification_loss(model, x)
    return lambda: train_step(optimizer, loss)


def adversarial_step(model: torch.nn.Module, x: torch.Tensor) -> Callable[[], None]:
    """A function that trains a discriminator, then the generator, on one generated batch."""
    target = torch.rand(*x.shape[:2], model.config["out_channels"], *x.shape[3:])  # type: ignore[index]
    discriminator = PatchDiscriminator(x.shape[2] + target.shape[2])
    optimizers = [torch.optim.Adam(network.parameters()) for network in (discriminator, model)]

    def step() -> None:
        output = model(x)
        real, fake = (discriminator(x[0], y[0]) for y in (target, output.detach()))
        train_step(optimizers[0], lambda: discriminator_loss(real, fake))
        discriminator.requires_grad_(False)
        fake = discriminator(x[0], output[0])
        train_step(optimizers[1], lambda: generator_loss(fake, output, target, l1_weight=100))
        discriminator.requires_grad_(True)

    return step


def classification_loss(model: torch.nn.Module, x: torch.Tensor) -> Callable[[], torch.Tensor]:
    """Cross-entropy with random classes."""
    labels = torch.zeros(x.shape[1], dtype=torch.long)
    return lambda: torch.nn.functional.cross_entropy(model(x), labels)


def reconstruction_loss(model: torch.nn.Module, x: torch.Tensor) -> Callable[[], torch.Tensor]:
    """Negative evidence lower bound of a variational autoencoder, else the mean absolute error."""
    target = torch.rand(*x.shape[:2], model.config["out_channels"], *x.shape[3:])  # type: ignore[index]

    def elbo() -> torch.Tensor:
        output, mu, log_variance = model.forward_training(x, target)  # type: ignore[operator]
        return ((output - target).square().sum((2, 3, 4)) + kl_to_prior(mu, log_variance)).mean()

    return elbo if hasattr(model, "forward_training") else lambda: (model(x) - target).abs().mean()


def train_step(optimizer: torch.optim.Optimizer, loss: Callable[[], torch.Tensor]) -> None:
    """Forward, backward and one step of the optimiser."""
    optimizer.zero_grad()
    loss().backward()
    optimizer.step()


def median_time(work: Callable[[], Any]) -> float:
    """Median processor time of `work` in seconds."""
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def peak_bytes() -> int:
    """Peak of this process's resident memory until now."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def format_row(name: str, batch: int, result: dict[str, Any]) -> str:
    """A row of the table."""
    memory = [f"{result[key] / 1e9:.1f}" for key in ("forward_bytes", "training_bytes")]
    cells = [name, f"{result['parameters']:,}", f"{batch} x {N_STEPS[name]}"]
    cells += [f"{result['forward_s']:.2f}", memory[0], f"{result['training_s']:.2f}", memory[1]]
    return f"| {' | '.join(cells)} |"


def read_rows() -> dict[str, list[str]]:
    """Rows of each model in the table that is there."""
    rows: dict[str, list[str]] = {}
    for line in RESULTS.read_text(encoding="utf-8").splitlines() if RESULTS.exists() else []:
        name = line.split("|")[1].strip() if line.startswith("| ") else ""
        if name in N_STEPS:
            rows.setdefault(name, []).append(line)
    return rows


def format_page(rows: list[str]) -> str:
    """The page with its table."""
    return (
        "# Published networks at their published sizes\n\n"
        "`python -m benchmarks.paper_sizes`: default arguments, float32, one thread of the processor, each row in a\n"
        "process of its own. Times are processor time, median of three. Memory is the peak of the resident set, with\n"
        "Python and PyTorch. A training step is forward, backward and Adam; that of pix2pix includes the\n"
        "discriminator (6,965,441 parameters). 1 GB = 10^9 bytes.\n\n"
        + HEADER
        + "\n".join(rows)
        + f"\n\nPyTorch {metadata.version('torch')}, Python {platform.python_version()}, {platform.machine()}.\n"
    )


if __name__ == "__main__":
    main()
