"""Accuracy of converted networks over steps and methods, and their work, beside spikingjelly and sinabs, in one run.

    python -m benchmarks.ann_to_snn [--epochs 12] [--test 210] [--size 256] [--width 4]

Three small networks are trained on handwritten digits, and two on faces: evTransFER's encoder with its head
(LeakyReLU 0.2, ReLU at the bottleneck) and a VGG (ReLU, max pooling) on the same images, a quarter as large. Every
program gets the same weights, calibration images and test images. Where a program gives no spiking network, the page
says why. Writes results/ann_to_snn.md and the figure beside it.
"""

import argparse
from collections.abc import Callable

import torch
from torch import nn

from benchmarks.ann_to_snn.data import DIGIT_SIZE, FACE_SIZE, SYNTH, Images, digits, faces
from benchmarks.ann_to_snn.networks import evtransfer, small_cnn, train, unet, vgg
from benchmarks.ann_to_snn.page import Measured, write_figure, write_page
from benchmarks.ann_to_snn.programs import PROGRAMS, accuracy, run
from snnfer.profiling import flop_totals

VGG_FACTOR = 4


def main() -> None:
    """Train, convert with every program, and write page and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=12, help="epochs of training")
    parser.add_argument("--test", type=int, default=210, help="test images")
    parser.add_argument("--size", type=int, default=FACE_SIZE, help="pixels of evTransFER's images: 256, 128 or 64")
    parser.add_argument("--width", type=int, default=4, help="channels of its first convolution")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    measured = [*_faces(args), *_digits(args)]
    write_page(args, measured)
    write_figure(next(network for network in measured if network.name.startswith("Faces: evTransFER")))


def _digits(args: argparse.Namespace) -> list[Measured]:
    images = digits(n_test=args.test)
    return [
        measure("Digits: small CNN (ReLU, strides)", "", lambda: small_cnn(stride=2), images, args),
        measure("Digits: small CNN (ReLU, max pooling)", "", lambda: small_cnn(stride=1), images, args),
        measure(
            "Digits: U-Net encoder (LeakyReLU 0.2)",
            "",
            lambda: unet(in_channels=1, size=DIGIT_SIZE, width=8, head=nn.Sequential(nn.Linear(64, 10))),
            images,
            args,
        ),
    ]


def _faces(args: argparse.Namespace) -> list[Measured]:
    n_classes = len(SYNTH["aus"])
    images = faces(n_test=args.test)
    large = images if args.size == FACE_SIZE else images.smaller(FACE_SIZE // args.size)
    size, width = args.size, args.width
    about = (
        f"{size} x {size} pixels, {size.bit_length() - 1} convolutions, the first with {width} channels (64 as "
        f"published); {len(images.train):,} training images."
    )
    encoder = measure(
        "Faces: evTransFER (LeakyReLU 0.2)",
        about,
        lambda: evtransfer(in_channels=3, size=size, width=width, n_classes=n_classes),
        large,
        args,
        augment=True,
    )
    del large
    images = images.smaller(VGG_FACTOR)
    size = FACE_SIZE // VGG_FACTOR
    network = measure(
        "Faces: VGG (ReLU, max pooling)",
        f"{size} x {size} pixels, four convolutions, the same images.",
        lambda: vgg(in_channels=3, size=size, n_classes=n_classes),
        images,
        args,
        augment=True,
    )
    return [encoder, network]


def measure(
    name: str,
    about: str,
    build: Callable[[], nn.Sequential],
    images: Images,
    args: argparse.Namespace,
    *,
    augment: bool = False,
) -> Measured:
    """Train one network and convert it with every program."""
    torch.manual_seed(0)
    network = train(build(), images, args.epochs, augment=augment)
    right = accuracy(network, images)
    print(f"{name}: without spikes {right:.1%}", flush=True)
    rows = []
    for label, program in PROGRAMS.items():
        rows.append(run(label, program, network, images))
        print(f"{label}: {rows[-1].result}, {rows[-1].seconds:.0f} s", flush=True)
    macs = flop_totals(_Single(network), images.test[:1][None])
    return Measured(name, f"{about} {len(images.test)} test images.".strip(), right, macs, rows)


class _Single(nn.Module):
    """A network of images as one of clips of one step."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x[0])


if __name__ == "__main__":
    main()
