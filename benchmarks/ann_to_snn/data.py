"""Images that networks are trained, calibrated and tested on: handwritten digits, and faces that move."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn import functional as F

DIGIT_SIZE = 32
N_DIGITS_TRAIN = 1297
N_CALIBRATION = 300

SYNTH: dict[str, Any] = {"n_subjects": 20, "seed": 1, "aus": [2, 4, 5, 9, 12, 15, 26]}
"""The people and Action Units of configs/evtransfer_transfer_reduced.yaml."""
N_TRAIN_SUBJECTS = 14
FACE_SIZE = 256
WINDOW_US, HOP_US, MIN_EVENTS = 150_000, 50_000, 1_500


@dataclass(frozen=True)
class Images:
    """Normalised images ``[N, C, H, W]`` and their labels; calibration is a part of train."""

    train: torch.Tensor
    train_labels: torch.Tensor
    calibration: torch.Tensor
    test: torch.Tensor
    test_labels: torch.Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(C, H, W)``."""
        channels, height, width = self.test.shape[1:]
        return channels, height, width

    def smaller(self, factor: int) -> "Images":
        """All images shrunk by a whole factor, mean of the pixels."""
        parts = ("train", "calibration", "test")
        return replace(self, **{name: F.avg_pool2d(getattr(self, name), factor) for name in parts})


def digits(*, n_test: int) -> Images:
    """Images and labels of scikit-learn's digits, enlarged."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images / 16.0, dtype=torch.float32).reshape(-1, 1, 8, 8)
    x = F.interpolate(x, size=(DIGIT_SIZE, DIGIT_SIZE), mode="bilinear", align_corners=False)
    y = torch.tensor(labels)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    train, test = order[:N_DIGITS_TRAIN], order[N_DIGITS_TRAIN : N_DIGITS_TRAIN + n_test]
    return Images(x[train], y[train], x[train[:N_CALIBRATION]], x[test], y[test])


def faces(*, n_test: int) -> Images:
    """TIE images of windows in which a face of SynthAU moves; the last subjects test, the others train.

    Windows overlap and lie between onset and offset of the Action Unit, which is their label. Calibration and test
    images are taken evenly over clips and time.
    """
    from snnfer.benchmark.config import DataConfig
    from snnfer.benchmark.data import load_dataset

    data = load_dataset(DataConfig(preset="paper", synth=SYNTH))
    trained = set(data.subjects[:N_TRAIN_SUBJECTS])
    found: dict[bool, list[tuple[torch.Tensor, int]]] = {True: [], False: []}
    for clip, label in zip(data.clips, data.labels, strict=True):
        found[clip.subject in trained] += [(image, label) for image in _windows(data.load(clip), clip)]
    (train, train_labels), (test, test_labels) = (
        (torch.stack([x for x, _ in part]).float().div_(127.5).sub_(1), torch.tensor([y for _, y in part]))
        for part in (found[True], found[False])
    )
    tested, calibrating = _evenly(len(test), n_test), _evenly(len(train), N_CALIBRATION)
    return Images(train, train_labels, train[calibrating], test[tested], test_labels[tested])


def _windows(stream, clip) -> list[torch.Tensor]:
    """uint8 images ``[3, H, W]`` of the windows of a clip that hold enough events."""
    from snnfer.representations import TIE, CountFrames

    tie = TIE(WINDOW_US, size=(FACE_SIZE, FACE_SIZE), measure="t0", kernel="t0")
    count = CountFrames(WINDOW_US, size=(1, 1))
    images = []
    for start in range(clip.onset_us, clip.offset_us - WINDOW_US + 1, HOP_US):
        times = {"t_start_us": start, "t_end_us": start + WINDOW_US}
        if int(count(stream, box=clip.box, **times).sum()) >= MIN_EVENTS:
            images.append(tie(stream, box=clip.box, **times)[0].to(torch.uint8))
    return images


def _evenly(n: int, wanted: int) -> torch.Tensor:
    return torch.linspace(0, n - 1, min(n, wanted)).round().long()
