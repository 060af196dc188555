"""All registered classifiers at their published sizes: counts beside the published ones, time and memory.

    python -m benchmarks.model_table [MODEL ...] [--rounds 3] [--batch 2]

Dense counts come from shapes where that is possible. Operations of networks with spiking neurons, times and memory
come from real forwards, each in a process of its own, the models in turn round after round, with one thread. The page
is written after every round.
"""

import argparse
import copy
import math
import multiprocessing
import platform
import resource
import statistics
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from snnfer.cli._profile_input import random_input, settle_normalisation
from snnfer.models import create_model, list_models
from snnfer.neurons import Neuron
from snnfer.profiling import count_operations, flop_totals, thop_macs

RESULTS = Path(__file__).parent / "results" / "models.md"
DENSITY = 0.03
ARGUMENTS = argparse.Namespace(steps=None, density=DENSITY, seed=0)

PUBLISHED: dict[str, tuple[str, str]] = {
    "au_snn": (
        "4.11 M parameters (Mastropasqua et al. 2025)",
        "4.11 is 4,312,470 / 2^20; in units of 10^6 it is 4.31",
    ),
    "au_cnn3d": (
        "13.06 M parameters (Mastropasqua et al. 2025)",
        "reproduced in units of 10^6; the paper names neither widths nor unit, and its two figures cannot share one",
    ),
    "c3d": ("21.29 G FLOPs (CS3D, arXiv:2512.09592)", "reproduced as thop MACs; true MACs leave out normalisation"),
    "cs3d_factorized": ("4.26 G FLOPs (CS3D)", "reproduced as thop MACs, rounded up from 4.2553"),
    "cs3d": ("4.68 G FLOPs (CS3D)", "reproduced as thop MACs; the attention is inferred from this very figure"),
    "poster_v2": (
        "8.4 G FLOPs, 43.7 M parameters (POSTER++, arXiv:2301.12149)",
        "thop MACs cut off after one digit; thop does not see the products of attention and adds normalisation; "
        "modules that never run (14.6 M parameters in the public code) are left out; 8.5925 G in other counts includes "
        "the 96,016 operations of the unused landmark regression",
    ),
    "poster_var": (
        "none found",
        "the public code gives thop 8.4827 G (POSTER-Var is POSTER++ with another head); 8.5925 G in other counts "
        "includes the 96,016 operations of the unused landmark regression",
    ),
    "spiking_fer": ("none; the public code has 11,439,104 parameters (Barchid et al. 2023)", "reproduced"),
    "spiking_fer_ann": ("none; the public code has 11,207,808 parameters (Barchid et al. 2023)", "reproduced"),
    "rgbd_fer": ("none found", "the public code, read layer by layer, has 43,814,307 parameters: reproduced"),
    "asynet_vgg13": (
        "none for faces; the public code has 3,551,207 parameters and 0.809 G dense MACs (rpg_asynet)",
        "reproduced; submanifold layers compute at active sites alone (option sparse)",
    ),
    "est_resnet34": (
        "none for faces; the public code has 21,336,324 parameters for 7 classes (rpg_event_representation_learning)",
        "reproduced; 1,021 of them, the kernel, read events and not this input",
    ),
    "evtransfer": (
        "none; the public code has 19,673,799 parameters without its unused decoder, 2.018 G MACs",
        "reproduced",
    ),
    "evtransfer_lstm": ("none; the public code has 25,977,543 parameters", "reproduced; three windows per sample"),
    "vit_b16": (
        "86,567,656 parameters for 1,000 classes (torchvision's ViT-B/16)",
        "993 classes less: 993 x 769 parameters; reproduced",
    ),
}
"""What was published, with its source, and how it relates to ours."""

PAGE = """# All classifiers at their published sizes

`python -m benchmarks.model_table`: default arguments, one sample unless stated, float32.

## Counts

True MACs are half of what torch's FLOP counter sees. thop MACs are what the package thop prints, which many papers
call FLOPs. Both count all steps of a sample.

| model | steps x channels x height x width | parameters | true MACs | thop MACs | published | difference explained |
|---|---|---|---|---|---|---|
{counts}

## Networks with spiking neurons

Operations on nonzero inputs and firing rates of **untrained** networks, their normalisation adapted to the input:
random event counts of which {density:.0%} are not zero. They show what the counting sees, not what a trained network
does; for that, `snnfer profile FOLDER --data DIR`. Soft spiking neurons (cs3d) pass real values on, and residual
additions sum spikes (spiking_fer): operations on such values are multiply-accumulates.

| model | true MACs | effective MACs | effective ACs | spikes / neuron / step |
|---|---|---|---|---|
{spiking}

## Time and memory

Processor time of one thread, models in turn, each in a process of its own; medians over {n_rounds} rounds. Wall time
is longer where other work ran on the machine. Throughput at batch
{batch}. Memory is the peak of the resident set at batch 1, with Python and PyTorch; 1 GB = 10^9 bytes. On a processor,
which computes with zeros too, a spiking network saves nothing by silence.

| model | latency at batch 1, s | wall time, s | throughput, samples / s | peak memory, GB |
|---|---|---|---|---|
{times}

{machine}.
"""


def main() -> None:
    """Measure the models named, or all classifiers, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--rounds", type=int, default=3, help="rounds over all models")
    parser.add_argument("--batch", type=int, default=2, help="batch of the throughput")
    args = parser.parse_args()
    torch.set_num_threads(1)
    names = args.models or list_models(task="classification")
    counts = {}
    for name in names:
        counts[name] = apart(count, name)
        print(name, counts[name], flush=True)
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for number in range(args.rounds):
        for name in names:
            measured[name].append(apart(measure, name, args.batch))
            print(number, name, measured[name][-1], flush=True)
        RESULTS.write_text(format_page(counts, measured, args.batch), encoding="utf-8")


def apart(work: Any, *arguments: Any) -> dict[str, Any]:
    """What `work` returns in a process of its own, which starts with everything imported and nothing built."""
    context = multiprocessing.get_context("fork")
    with context.Pool(1) as pool:
        return pool.apply(work, arguments)


def count(name: str) -> dict[str, Any]:
    """Counts of one sample; operations of networks with spiking neurons on random input."""
    model, x = build(name)
    result = {
        "input": f"{len(x)} x {' x '.join(map(str, x.shape[2:]))}",
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    if any(isinstance(module, Neuron) for module in model.modules()):
        report = count_operations(model, x)
        result |= {"macs": report.macs, "acs": report.acs, "firing_rate": report.firing_rate}
    try:  # dense counts need shapes alone ...
        return result | dense_counts(copy.deepcopy(model).to("meta"), x.to("meta"))
    except (RuntimeError, NotImplementedError):  # ... unless a model looks at the lengths of its clips
        return result | dense_counts(model, x)


def dense_counts(model: torch.nn.Module, x: torch.Tensor) -> dict[str, float]:
    """Both totals."""
    return {"true_macs": flop_totals(model, x), "thop_macs": thop_macs(model, x)}


def build(name: str) -> tuple[torch.nn.Module, torch.Tensor]:
    """The untrained model, its normalisation adapted to its input, and that input."""
    torch.manual_seed(0)
    model = create_model(name)
    x, _ = random_input(ARGUMENTS, model.config)  # type: ignore[arg-type]
    if any(isinstance(module, Neuron) for module in model.modules()):
        settle_normalisation(model, x)
    return model.eval(), x


def measure(name: str, batch: int) -> dict[str, float]:
    """Processor seconds of one sample and of one of a batch, and peak memory of the single sample in bytes."""
    torch.manual_seed(0)
    model = create_model(name).eval()
    x, _ = random_input(ARGUMENTS, model.config)  # type: ignore[arg-type]
    with torch.inference_mode():
        model(x)  # the first call allocates
        single_s, single_wall_s = timed(model, x)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        batch_s, _ = timed(model, x.expand(-1, batch, -1, -1, -1).contiguous())
    return {"latency_s": single_s, "wall_s": single_wall_s, "sample_s": batch_s / batch, "peak_bytes": peak}


def timed(model: torch.nn.Module, x: torch.Tensor) -> tuple[float, float]:
    """Processor and wall seconds of a forward."""
    processor, wall = time.process_time(), time.perf_counter()
    model(x)
    return time.process_time() - processor, time.perf_counter() - wall


def format_page(counts: dict[str, Any], measured: dict[str, list[dict[str, float]]], batch: int) -> str:
    """The page with its tables."""
    return PAGE.format(
        counts="\n".join(count_row(name, values) for name, values in counts.items()),
        spiking="\n".join(spiking_row(name, values) for name, values in counts.items() if "firing_rate" in values),
        times="\n".join(time_row(name, rounds) for name, rounds in measured.items() if rounds),
        n_rounds=max(map(len, measured.values())),
        batch=batch,
        density=DENSITY,
        machine=f"{processor_name()}; PyTorch {metadata.version('torch')}, Python {platform.python_version()}",
    )


def count_row(name: str, values: dict[str, Any]) -> str:
    """A row of the table of counts."""
    published, explained = PUBLISHED.get(name, ("none found", ""))
    cells = [name, values["input"], f"{values['parameters']:,}", giga(values["true_macs"]), giga(values["thop_macs"])]
    return f"| {' | '.join([*cells, published, explained])} |"


def spiking_row(name: str, values: dict[str, Any]) -> str:
    """A row of the table of spiking networks."""
    cells = [name, *(giga(values[key]) for key in ("true_macs", "macs", "acs")), f"{values['firing_rate']:.4f}"]
    return f"| {' | '.join(cells)} |"


def time_row(name: str, rounds: list[dict[str, float]]) -> str:
    """A row of the table of times."""
    middle = {key: statistics.median(values[key] for values in rounds) for key in rounds[0]}
    cells = [name, f"{middle['latency_s']:.3f}", f"{middle['wall_s']:.2f}", significant(1 / middle["sample_s"])]
    cells.append(f"{middle['peak_bytes'] / 1e9:.2f}")
    return f"| {' | '.join(cells)} |"


def giga(value: float) -> str:
    """A count in units of 10^9."""
    return f"{value / 1e9:.4f} G"


def significant(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}"


def processor_name() -> str:
    """Name of the processor, where Linux tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    main()
