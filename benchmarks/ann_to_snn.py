"""Accuracy of converted networks over steps and methods, beside spikingjelly and sinabs, in one run.

    python -m benchmarks.ann_to_snn [--epochs 12] [--test 300]

Three networks are trained on the handwritten digits of scikit-learn (8 x 8, enlarged to 32 x 32; 1297 images to train,
300 of which calibrate, the others to test): a small CNN (ReLU) with strides, the same with max pooling, and the U-Net
encoder of evTransFER with a linear classifier (LeakyReLU 0.2, ReLU at the bottleneck). Every program gets the same
weights, calibration images and test images. Where a program gives no spiking network, the page says why.
"""

import argparse
import platform
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from snnfer.converters.ann_to_snn import ann_to_snn
from snnfer.errors import ConversionError
from snnfer.models import UNetEncoder

RESULTS = Path(__file__).parent / "results" / "ann_to_snn.md"
STEPS = (1, 2, 4, 8, 16, 32, 64)
SIZE = 32
N_TRAIN, N_CALIBRATION = 1297, 300
Data = dict[str, torch.Tensor]
Row = tuple[str, list[float] | str, float]


def main() -> None:
    """Train, convert with every program, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=12, help="epochs of training")
    parser.add_argument("--test", type=int, default=300, help="test images")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    data = digits(args.test)
    parts = []
    for name, build in NETWORKS.items():
        torch.manual_seed(0)
        network = train(build(), data, args.epochs)
        accuracy = share_right(network(data["test"]), data["test_labels"])
        rows = [run(label, convert, network, data) for label, convert in PROGRAMS.items()]
        parts.append(format_table(name, accuracy, rows))
        print(parts[-1], flush=True)
    RESULTS.write_text(page(args, data, parts), encoding="utf-8")


def digits(n_test: int) -> Data:
    """Images and labels of scikit-learn's digits: train, calibration (a part of it), test."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images / 16.0, dtype=torch.float32).reshape(-1, 1, 8, 8)
    x = F.interpolate(x, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
    y = torch.tensor(labels)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    train, test = order[:N_TRAIN], order[N_TRAIN : N_TRAIN + n_test]
    return {
        "train": x[train], "train_labels": y[train], "calibration": x[train[:N_CALIBRATION]],
        "test": x[test], "test_labels": y[test],
    }  # fmt: skip


def small_cnn(*, stride: int) -> nn.Sequential:
    """Two convolutions with batch normalisation and ReLU, one hidden layer; of stride 1 with max pooling."""
    layers: list[nn.Module] = []
    for before, after in ((1, 12), (12, 24)):
        layers += [nn.Conv2d(before, after, 3, stride, 1), nn.BatchNorm2d(after), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if stride == 1 else []
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(24 * SIZE * SIZE // 16, 64), nn.ReLU(), nn.Linear(64, 10))


def unet() -> nn.Sequential:
    """The encoder of evTransFER, a quarter as wide and for smaller images, and one linear layer."""
    encoder = UNetEncoder(in_channels=1, size=(SIZE, SIZE), width=8)
    layers = [layer for block in encoder.blocks for layer in block.children()]
    return nn.Sequential(*layers, encoder.bottleneck, encoder.activation, nn.Flatten(), nn.Linear(64, 10))


def train(network: nn.Sequential, data: Data, n_epochs: int) -> nn.Sequential:
    """Adam on the cross-entropy."""
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    for _ in range(n_epochs):
        for batch in torch.randperm(N_TRAIN).split(100):
            loss = F.cross_entropy(network(data["train"][batch]), data["train_labels"][batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.eval().requires_grad_(False)


def run(label: str, convert: Callable[..., list[float]], network: nn.Sequential, data: Data) -> Row:
    """Accuracies of one program at STEPS, or its refusal, and seconds for conversion and test together."""
    import copy

    start = time.perf_counter()
    try:
        result: list[float] | str = convert(copy.deepcopy(network), data)
    except Exception as error:
        kind = "" if isinstance(error, ConversionError) else f"{type(error).__name__}: "
        result = kind + " ".join(str(error).split())[:140]
    return label, result, time.perf_counter() - start


def ours(**settings: Any) -> Callable[[nn.Sequential, Data], list[float]]:
    """snnfer with these settings."""

    def convert(network: nn.Sequential, data: Data) -> list[float]:
        _, report = ann_to_snn(
            network, calibration=data["calibration"], evaluation=data["test"], labels=data["test_labels"],
            input_shape=(1, SIZE, SIZE), curve_steps=STEPS, **{"n_steps": 16, **settings},
        )  # fmt: skip
        return [row.accuracy or 0.0 for row in report.curve]

    return convert


def spikingjelly(recipe_name: str, **settings: Any) -> Callable[[nn.Sequential, Data], list[float]]:
    """A recipe of spikingjelly's ann2snn."""

    def convert(network: nn.Sequential, data: Data) -> list[float]:
        from spikingjelly.activation_based import functional
        from spikingjelly.activation_based.ann2snn import Converter, recipes

        loader = [(batch, torch.zeros(len(batch))) for batch in data["calibration"].split(100)]
        snn = Converter(getattr(recipes, recipe_name)(dataloader=loader, **settings)).convert(network).eval()
        functional.reset_net(snn)
        return running_accuracy(lambda step: snn(data["test"]), data)

    return convert


def sinabs(network: nn.Sequential, data: Data) -> list[float]:
    """sinabs: every ReLU becomes neurons with threshold 1, several spikes per step; there is no calibration."""
    from sinabs.from_torch import from_model

    if any(isinstance(layer, nn.LeakyReLU) for layer in network):
        raise ConversionError("it leaves LeakyReLU as it is, without a word, so that the result does not spike alone")
    accuracies = []
    for n_steps in STEPS:
        snn = from_model(network, input_shape=(1, SIZE, SIZE), num_timesteps=n_steps, batch_size=None).spiking_model
        repeated = data["test"].repeat_interleave(n_steps, 0)  # [N * T, C, H, W]
        with torch.no_grad():
            outputs = snn(repeated).unflatten(0, (-1, n_steps)).mean(1)
        accuracies.append(share_right(outputs, data["test_labels"]))
    return accuracies


def running_accuracy(step: Callable[[int], torch.Tensor], data: Data) -> list[float]:
    """Accuracy of the mean output after each number of steps."""
    total, accuracies = torch.zeros(()), []
    with torch.no_grad():
        for t in range(1, max(STEPS) + 1):
            total = total + step(t)
            if t in STEPS:
                accuracies.append(share_right(total, data["test_labels"]))
    return accuracies


def share_right(outputs: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of rows whose largest value stands at the label."""
    return float((outputs.argmax(1) == labels).float().mean())


PROGRAMS: dict[str, Callable[[nn.Sequential, Data], list[float]]] = {
    "snnfer rate, 99.9 %": ours(),
    "snnfer rate, largest activation": ours(percentile=100),
    "snnfer rate, 99.9 %, no initial charge": ours(initial_charge=0.0),
    "snnfer rate, local for 8 steps": ours(balancing="local", n_steps=8),
    "snnfer qcfs, 4 levels": ours(method="qcfs", levels=4),
    "spikingjelly RateCoding, Max": spikingjelly("RateCodingRecipe", mode="Max"),
    "spikingjelly RateCoding, 99.9 %, channels, half threshold": spikingjelly(
        "RateCodingRecipe", mode="99.9%", channel_wise=True, half_threshold=True, pre_spike_maxpool=True
    ),
    "spikingjelly LocalThresholdBalancing": spikingjelly("LocalThresholdBalancingRecipe"),
    "sinabs from_model": sinabs,
}


NETWORKS: dict[str, Callable[[], nn.Sequential]] = {
    "small CNN (ReLU, strides)": lambda: small_cnn(stride=2),
    "small CNN (ReLU, max pooling)": lambda: small_cnn(stride=1),
    "U-Net encoder (LeakyReLU 0.2)": unet,
}


def format_table(name: str, accuracy: float, rows: list[Row]) -> str:
    """One network."""
    head = f"| program | {' | '.join(f'T = {n}' for n in STEPS)} | s |\n|---|{'---|' * (len(STEPS) + 1)}\n"
    lines, notes = [], []
    for label, result, seconds in rows:
        if isinstance(result, str):
            notes.append(f"- {label}: no result, {result}")
            lines.append(f"| {label} | {' | '.join('-' for _ in STEPS)} | - |")
        else:
            lines.append(f"| {label} | {' | '.join(f'{100 * a:.1f}' for a in result)} | {seconds:.0f} |")
    return f"## {name}\n\nWithout spikes {100 * accuracy:.1f} %.\n\n{head}" + "\n".join([*lines, "", *notes]) + "\n"


def page(args: argparse.Namespace, data: Data, parts: list[str]) -> str:
    """The page with its tables."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "spikingjelly", "sinabs"))
    return (
        "# Converted networks: accuracy over steps and methods\n\n"
        f"`python -m benchmarks.ann_to_snn --epochs {args.epochs} --test {args.test}`: digits of scikit-learn at "
        f"{SIZE} x {SIZE},\n{len(data['calibration'])} training images calibrate, {len(data['test'])} test images, "
        "accuracy in per cent of the mean output after T steps;\nthe same weights and images for every program; "
        "seconds for conversion and test, on a machine that did other work too.\n"
        "Neurons of sinabs send several spikes per step where the others send one.\n\n"
        + "\n".join(parts)
        + f"\n{versions}, Python {platform.python_version()}, {platform.machine()}.\n"
    )


if __name__ == "__main__":
    main()
