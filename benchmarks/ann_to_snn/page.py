"""The page of the results, and the figure of the encoder on faces."""

import argparse
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from benchmarks.ann_to_snn import data
from benchmarks.ann_to_snn.programs import LTB_BATCH, LTB_PASSES, N_COUNTED, SINABS_PERCENTILE, STEPS, Result, Row

RESULTS = Path(__file__).parents[1] / "results"
PAGE, FIGURE = RESULTS / "ann_to_snn.md", RESULTS / "ann_to_snn_faces.png"


@dataclass(frozen=True)
class Measured:
    """One network: its name, a sentence about it, its accuracy and multiplications without spikes, and its rows."""

    name: str
    about: str
    accuracy: float
    macs: float
    rows: Sequence[Row]

    def text(self) -> str:
        """Its section of the page."""
        head = f"## {self.name}\n\n{self.about} Without spikes {100 * self.accuracy:.1f} %.\n\n"
        return head + self._over_steps() + "\n" + self._work()

    def _over_steps(self) -> str:
        columns = " | ".join(f"T = {n}" for n in STEPS)
        lines = [f"| program | {columns} | s |", f"|---|{'---|' * (len(STEPS) + 1)}"]
        notes = []
        for row in self.rows:
            if isinstance(row.result, str):
                notes.append(f"- {row.label}: no result, {row.result.rstrip('.')}.")
            elif row.result.accuracies:
                values = " | ".join(f"{100 * value:.1f}" for value in row.result.accuracies)
                lines.append(f"| {row.label} | {values} | {row.seconds:.0f} |")
        return "\n".join([*lines, "", *notes, *([""] if notes else [])])

    def _work(self) -> str:
        lines = [
            "| per image | when | accuracy | error of the output | spikes or messages | synaptic operations |",
            "|---|---|---|---|---|---|",
            f"| without spikes | one pass | {100 * self.accuracy:.1f} | | | {self.macs:,.0f} multiplications |",
        ]
        for row in self.rows:
            work = row.result.work if isinstance(row.result, Result) else None
            if work is not None:
                lines.append(
                    f"| {row.label} | {work.mode} | {100 * work.accuracy:.1f} | {work.relative_error:.3f} | "
                    f"{work.events:,.0f} | {work.synaptic_operations:,.0f} |"
                )
        return "\n".join(lines) + "\n"

    def curves(self, prefix: str) -> dict[str, list[tuple[int, float]]]:
        """Points of the rows whose label starts with `prefix`, by the rest of the label."""
        results = [(row.label, row.result) for row in self.rows if row.label.startswith(prefix)]
        return {
            label.removeprefix(prefix): list(zip(STEPS, result.accuracies, strict=True))
            for label, result in results
            if isinstance(result, Result) and result.accuracies
        }


def write_page(args: argparse.Namespace, networks: Sequence[Measured]) -> None:
    """Write `PAGE` from the sections of all networks."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "spikingjelly", "sinabs"))
    sections = "\n".join(network.text() for network in networks)
    last = f"\n{versions}, Python {platform.python_version()}, {platform.machine()}.\n"
    PAGE.write_text(_introduction(args) + sections + last, encoding="utf-8")


def write_figure(network: Measured) -> None:
    """Write `FIGURE`: accuracy of snnfer's conversions of one network over the steps."""
    from snnfer.plot.conversion import plot_accuracy_over_steps
    from snnfer.plot.style import save_figure

    figure = plot_accuracy_over_steps(network.curves("snnfer "), reference=network.accuracy)
    save_figure(figure, str(FIGURE))


def _introduction(args: argparse.Namespace) -> str:
    n_classes, units = len(data.SYNTH["aus"]), ", ".join(str(au) for au in data.SYNTH["aus"])
    return f"""# Converted networks: accuracy over steps and methods, and work

`python -m benchmarks.ann_to_snn --epochs {args.epochs} --test {args.test} --size {args.size} --width {args.width}`

Accuracy in per cent of the mean output after T steps. Every program gets the same weights, the same
{data.N_CALIBRATION} calibration images (a part of the training images) and the same test images. Seconds are those of
conversion and test on one thread, on a machine that did other work too. The second table of a network says what an
image costs at the fewest steps from which on accuracy stays within one point of the network without spikes (at
{max(STEPS)} where there are none). Synaptic operations of rates are the mean of {N_COUNTED} test images and leave out
the first layer, whose input is no spikes; messages of sigma-delta carry whole numbers, and its first layer counts.

Digits are those of scikit-learn at {data.DIGIT_SIZE} x {data.DIGIT_SIZE}. Faces are people of SynthAU, who do not
exist, seen by a simulated event camera: {data.SYNTH["n_subjects"]} people act {n_classes} Action Units ({units}), and
the network says which from one TIE image (t0 in kernel t0) of {data.WINDOW_US // 1000} ms inside the movement with at
least {data.MIN_EVENTS:,} events; windows start every {data.HOP_US // 1000} ms. The first {data.N_TRAIN_SUBJECTS} people
train and calibrate, the others test; chance is {100 / n_classes:.0f} %. All networks are trained from scratch with
AdamW, one cycle of the learning rate and label smoothing; images of faces are mirrored and shifted.
Representation, length of the windows and recipe were chosen by a few trainings that were looked at on the same six
people: their accuracies without spikes flatter a little. Nothing of a conversion was chosen on them.

spikingjelly's RateCoding with 99.9 % of channels has a threshold per channel and half a threshold of initial charge;
its ImageNet example also puts max pooling in front of the neurons, on currents; "late readout" leaves out the first
steps as its `estimate_delay_start` says. Its LocalThresholdBalancing learns thresholds batch by batch and gets the
calibration images {LTB_PASSES} times in batches of {LTB_BATCH}: 400 batches, as in that example. Neurons of sinabs send
several spikes per step where others send one; it has no calibration but `normalize_weights` ({SINABS_PERCENTILE} %),
which is run after torch has folded the batch normalisation, and changes what the network computes before anything
spikes: it divides the biases of a layer by the scale of that layer alone, not by those of the layers before it as well.

"""
