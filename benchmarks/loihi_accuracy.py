"""Accuracy of `au_snn` on Loihi: float, rounded after training, and trained with the integers; person by person.

    python -m benchmarks.loihi_accuracy --runs DIR [--variants published] [--subjects s06] [--no-training]

Each variant of the network is trained on SynthAU (preset ``paper``: 7 people, 21 Action Units, one clip of each per
person) with each person held out in turn, then fine-tuned with ``train --init --quantize loihi``. Folders of trained
networks in DIR (``VARIANT/SUBJECT``, and ``VARIANT-quantized/SUBJECT``) and measurements (``measured/*.json``) that are
there are used as they are, so that the script goes on where it was stopped. Integers are those of ``snnfer export
lava``: 32 clips of training subjects keep the accumulators within 24 bits; the integer twin runs them.
"""

import argparse
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch

from snnfer._files import write_json
from snnfer.benchmark.config import DataConfig
from snnfer.benchmark.data import load_dataset
from snnfer.cli._export_input import Exported, LoadedClips, load_calibration, load_clips, load_exported
from snnfer.cli.main import main as snnfer
from snnfer.converters.from_model import to_graph
from snnfer.converters.loihi import IntegerGraph, estimate_energy, estimate_resources, quantise, run_twin
from snnfer.metrics import Interval, subject_bootstrap

RESULTS = Path(__file__).parent / "results" / "loihi_accuracy.md"
VARIANTS: dict[str, list[str]] = {
    "published": [],
    "stride_blocks3": ["model.blocks=3", "model.downsampling=stride"],
    "stride_channels16": ["model.channels=16", "model.downsampling=stride"],
}
RECIPE = ["train.batch_size=4", "train.max_shift_px=4", "train.max_shift_steps=1", "train.threads=1"]
INPUT = ["data.representation=binary_frames", "data.window_us=200000", "data.n_steps=12", "data.size=[64,64]"]
FLOAT = ["train.epochs=40"]
FINE_TUNING = ["train.epochs=5", "train.learning_rate=1e-4"]
Measured = dict[str, Any]


def main() -> None:
    """Train and measure what is missing, and write the page of what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, metavar="DIR", help="trained networks and measurements")
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=VARIANTS, help="default: all")
    parser.add_argument("--subjects", nargs="*", metavar="SUBJECT", help="held out in turn (default: all)")
    parser.add_argument("--no-training", action="store_true", help="leave out what is not trained in float yet")
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = load_dataset(DataConfig(preset="paper"))
    for variant in args.variants:
        for subject in args.subjects or data.subjects:
            folder = args.runs / variant / subject
            if args.no_training and not (folder / "model.safetensors").is_file():
                continue
            train_both(args.runs, variant, subject, str(data.root))
            measure_fold(args.runs, variant, subject, str(data.root))
    table = {variant: read_folds(args.runs, variant) for variant in VARIANTS}
    RESULTS.write_text(page({variant: folds for variant, folds in table.items() if len(folds) > 1}), encoding="utf-8")
    print(RESULTS.read_text(encoding="utf-8"))


def train_both(runs: Path, variant: str, subject: str, data: str) -> None:
    """The network in float, and its fine-tuning with integers, unless they are there."""
    first, second = runs / variant / subject, runs / f"{variant}-quantized" / subject
    fine = ["--init", str(first), "--quantize", "loihi"]
    for folder, settings, options in (
        (first, [*INPUT, *RECIPE, *FLOAT, *VARIANTS[variant]], []),
        (second, [*RECIPE, *FINE_TUNING], fine),
    ):
        if not (folder / "model.safetensors").is_file():
            command = ["train", data, "--hold-out", subject, "--out", str(folder), *options]
            if snnfer([*command, *(part for setting in settings for part in ("--set", setting))]):
                raise SystemExit(f"training of {folder} failed")


def measure_fold(runs: Path, variant: str, subject: str, data: str) -> None:
    """What the networks of one fold do with the clips of the person held out, into a file of its own."""
    path = runs / "measured" / f"{variant}-{subject}.json"
    if path.is_file():
        return
    found: Measured = {"variant": variant, "subject": subject}
    for kind, folder in (("rounded", runs / variant), ("quantized", runs / f"{variant}-quantized")):
        exported = load_exported(str(folder / subject))
        found[kind] = measure(exported, load_clips(exported, data), load_calibration(exported, data))
    path.parent.mkdir(exist_ok=True)
    write_json(path, found)
    print(path, {kind: (sum(found[kind]["float"]), sum(found[kind]["integers"])) for kind in ("rounded", "quantized")})


def measure(exported: Exported, clips: LoadedClips, calibration: LoadedClips) -> Measured:
    """Hits of a network and of its integers, clip by clip, and what the integers cost."""
    graph = to_graph(exported.model)
    integer = quantise(graph, calibration=calibration.x)
    with torch.no_grad():
        scores = exported.model(clips.x, lengths=clips.lengths)
    result = run_twin(integer, clips.x, record="output")
    energy, best = estimate_energy(result), scores.topk(2, dim=1).values
    same = quantise(graph)
    return {
        "float": hits(scores, clips),
        "integers": hits(result.scores(clips.lengths), clips),
        "tied": int((best[:, 0] - best[:, 1] < 1e-6).sum()),
        "wraps": sum(layer.wraps for layer in result.layers),
        "shrunk": [a.name for a, b in zip(integer.layers, same.layers, strict=True) if a.threshold != b.threshold],
        "cores": {chip: cores(integer, chip) for chip in ("loihi1", "loihi2")},
        "operations": energy.synaptic_operations,
        "energy_pj": [energy.lowest_pj, energy.highest_pj],
    }


def hits(scores: torch.Tensor, clips: LoadedClips) -> list[int]:
    """1 where the first of the highest scores is that of the clip's class."""
    return (scores.argmax(1) == clips.labels).int().tolist()


def cores(integer: IntegerGraph, chip: Any) -> str:
    """Cores of a chip, and the layers that do not fit."""
    resources = estimate_resources(integer, chip=chip)
    without = [layer.name.split(".")[-2] for layer in resources.layers if not layer.fits]
    return f"{resources.cores}" + (f", and {', '.join(without)} does not fit" if without else "")


def read_folds(runs: Path, variant: str) -> list[Measured]:
    """Measurements that are there."""
    files = sorted((runs / "measured").glob(f"{variant}-*.json"))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def page(table: dict[str, list[Measured]]) -> str:
    """The page of results."""
    recipe = " ".join(f"--set {setting}" for setting in [*INPUT, *RECIPE, *FLOAT])
    fine = " ".join(f"--set {setting}" for setting in [*RECIPE, *FINE_TUNING])
    lines = [
        "# `au_snn` on Loihi: float, rounded, and trained with its integers",
        "",
        "Written by `python -m benchmarks.loihi_accuracy`. SynthAU, preset `paper`: synthetic people, one clip per",
        "Action Unit (21, chance 4.8 %); each person is held out in turn. Top-1 over all clips of held-out people, in",
        "percent; in brackets 95 % intervals of a bootstrap over people (narrow with 7 people: nominal 95 % held the",
        "true value in 86 to 90 % of simulated studies). Differences are paired, to the network before any rounding.",
        "One seed. Integers: as `snnfer export lava` makes them, 32 training clips as calibration, run by the twin.",
        "",
        "| arguments | people, clips | float | integers after training | difference | integers after fine-tuning |"
        " difference | fine-tuned, in float |",
        "|---|---|---|---|---|---|---|---|",
        *(accuracy_row(variant, folds) for variant, folds in table.items()),
        "",
        "| arguments | cores, Loihi 1 | cores, Loihi 2 | synaptic operations per clip | energy per clip on Loihi 1 |"
        " operations after fine-tuning | energy after fine-tuning |",
        "|---|---|---|---|---|---|---|",
        *(cost_row(variant, folds) for variant, folds in table.items()),
        "",
        *(note(variant, folds) for variant, folds in table.items()),
        "",
        "Energy: published figures of Loihi 1 times what the twin counted (an estimate; see `docs/loihi.md`).",
        "",
        "```",
        f"snnfer train DIR --hold-out SUBJECT {recipe} [arguments] --out FLOAT",
        f"snnfer train DIR --hold-out SUBJECT --init FLOAT --quantize loihi {fine} --out QUANTIZED",
        "```",
        "",
        f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__.split('+')[0]}, 1 thread.",
    ]
    return "\n".join(lines) + "\n"


def label(variant: str) -> str:
    """Arguments of a variant."""
    settings = " ".join(setting.removeprefix("model.") for setting in VARIANTS[variant])
    return f"`{settings}`" if settings else "(as published)"


def pooled(folds: list[Measured], network: str, kind: str) -> np.ndarray:
    """Hits of all clips."""
    return np.concatenate([fold[network][kind] for fold in folds]).astype(float)


def subjects_of(folds: list[Measured]) -> np.ndarray:
    """Person of each of these clips."""
    return np.concatenate([[fold["subject"]] * len(fold["rounded"]["float"]) for fold in folds])


def accuracy_row(variant: str, folds: list[Measured]) -> str:
    """Accuracies and differences of one variant."""
    subjects = subjects_of(folds)
    plain = pooled(folds, "rounded", "float")
    cells = [label(variant), f"{len(folds)}, {len(plain)}", interval(subject_bootstrap(plain, subjects))]
    for network in ("rounded", "quantized"):
        integers = pooled(folds, network, "integers")
        cells.append(interval(subject_bootstrap(integers, subjects)))
        cells.append(interval(subject_bootstrap(integers - plain, subjects), sign="+"))
    cells.append(interval(subject_bootstrap(pooled(folds, "quantized", "float"), subjects)))
    return "| " + " | ".join(cells) + " |"


def interval(found: Interval, *, sign: str = "") -> str:
    """Estimate and interval in percent."""
    estimate, low, high = (format(100 * value, f"{sign}.1f") for value in (found.estimate, found.low, found.high))
    return f"{estimate} [{low}, {high}]"


def cost_row(variant: str, folds: list[Measured]) -> str:
    """Cores, operations and energy of one variant, means over folds."""
    cells = [label(variant), folds[0]["rounded"]["cores"]["loihi1"], folds[0]["rounded"]["cores"]["loihi2"]]
    for network in ("rounded", "quantized"):
        low, high = np.mean([fold[network]["energy_pj"] for fold in folds], axis=0) / 1e6
        operations = np.mean([fold[network]["operations"] for fold in folds])
        cells += [f"{operations:,.0f}", f"{low:.0f} to {high:.0f} uJ"]
    return "| " + " | ".join(cells) + " |"


def note(variant: str, folds: list[Measured]) -> str:
    """What fine-tuning gains, ties, overflows and layers that calibration made smaller."""
    tied, wraps = (sum(fold["rounded"][key] for fold in folds) for key in ("tied", "wraps"))
    clips = sum(len(fold["rounded"]["float"]) for fold in folds)
    gain = pooled(folds, "quantized", "integers") - pooled(folds, "rounded", "integers")
    found = subject_bootstrap(gain, subjects_of(folds))
    shrunk = {network: sum(bool(fold[network]["shrunk"]) for fold in folds) for network in ("rounded", "quantized")}
    return (
        f"- {label(variant)}: fine-tuned integers score {interval(found, sign='+')} points more than rounded ones; two "
        f"classes share the highest float score in {tied} of {clips} clips; {wraps} currents "
        f"wrapped; calibration shrank a layer in {shrunk['rounded']} of {len(folds)} folds, after fine-tuning in "
        f"{shrunk['quantized']}."
    )


if __name__ == "__main__":
    main()
