"""How hard is a synthetic data set? Linear probes on events and frames, leave-one-subject-out, and event statistics.

Usage: python benchmarks/synth_probe.py data/synth

Each clip is cut to its face box, 64 x 64 pixels, bins of 33 ms. A ridge classifier (one-hot targets, penalty chosen
by leave-one-subject-out inside the training subjects) reads

- event sequence: log counts of both polarities in four equal parts of the clip;
- event sum: log counts of both polarities over the clip;
- RGB mean frame, RGB sequence (mean of four equal parts): colours, standardised per clip;
- RGB differences: brightening and darkening of log luminance from frame to frame, like the event sequence.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from snnfer._progress import progress
from snnfer.datasets import ManifestDataset
from snnfer.representations import CountFrames

SIZE, N_PARTS = 64, 4
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)  # relative to the mean squared feature norm
LUMINANCE = torch.tensor([0.2126, 0.7152, 0.0722])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="synthetic data set (see 'snnfer synth')")
    data = ManifestDataset.read(parser.parse_args().folder)
    torch.set_num_threads(1)
    features, rates = read_features(data)
    subjects, labels = np.array([clip.subject for clip in data.clips]), np.array(data.labels)
    print(f"{len(data.clips)} clips, {len(data.subjects)} subjects, chance {100 / len(data.class_names):.1f} %")
    print("\n| features | top-1 % (SD over subjects) | top-3 % |\n|---|---|---|")
    for name, values in features.items():
        top1, top3 = leave_one_subject_out(np.stack(values), labels, subjects, len(data.class_names))
        print(f"| {name} | {100 * top1.mean():.1f} +- {100 * top1.std():.1f} | {100 * top3.mean():.1f} |", flush=True)
    print_rates(data, rates)


def read_features(data: ManifestDataset) -> tuple[dict[str, list[np.ndarray]], list[tuple[int, float, float]]]:
    """Features of every clip, and (AU, events per second, share of noise)."""
    features: dict[str, list[np.ndarray]] = {}
    rates = []
    count = CountFrames(33_000, size=(SIZE, SIZE))
    for clip in progress(data.clips, desc="reading"):
        stream = data.load(clip, frames=True)
        assert clip.box is not None
        events = count(stream, t_start_us=clip.t_start_us, t_end_us=clip.t_end_us, box=clip.box)
        rgb = frames_in_box(stream.frames["rgb"].crop(*clip.box).images)
        for name, value in clip_features(events, rgb).items():
            features.setdefault(name, []).append(value.flatten().numpy())
        with np.load(data.root / "clips" / f"{clip.clip}.npz") as labels:
            noise = float(labels["n_noise_events"]) / max(len(stream), 1)
        rates.append((clip.au, len(stream) / clip.duration_us * 1e6, noise))
    return features, rates


def frames_in_box(images: np.ndarray) -> torch.Tensor:
    """Frames as float [T, 3, 64, 64] in [0, 1]."""
    frames = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    return torch.nn.functional.interpolate(frames, size=(SIZE, SIZE), mode="area")


def clip_features(events: torch.Tensor, rgb: torch.Tensor) -> dict[str, torch.Tensor]:
    log = torch.log((rgb * LUMINANCE[:, None, None]).sum(1, keepdim=True) + 0.02)
    change = 10 * torch.diff(log, dim=0, prepend=log[:1])
    difference = torch.cat([(-change).clamp(min=0), change.clamp(min=0)], 1)
    standardised = (rgb - rgb.mean()) / (rgb.std() + 1e-3)
    return {
        "event sequence": torch.log1p(mean_of_parts(events) * len(events) / N_PARTS),
        "event sum": torch.log1p(events.sum(0)),
        "RGB mean frame": standardised.mean(0),
        "RGB sequence": mean_of_parts(standardised),
        "RGB differences": torch.log1p(mean_of_parts(difference) * len(rgb) / N_PARTS),
    }


def mean_of_parts(steps: torch.Tensor) -> torch.Tensor:
    """Mean of each of the `N_PARTS` equal parts of a sequence [T, C, H, W]."""
    by_pixel = steps.flatten(1).T[None]  # [1, CHW, T]
    means = torch.nn.functional.adaptive_avg_pool1d(by_pixel, N_PARTS)[0].T
    return means.unflatten(1, steps.shape[1:])


def leave_one_subject_out(
    features: np.ndarray, labels: np.ndarray, subjects: np.ndarray, n_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Top-1 and top-3 accuracy of each held-out subject."""
    gram = (features @ features.T).astype(np.float64)
    top1, top3 = [], []
    for held_out in np.unique(subjects):
        train, test = np.flatnonzero(subjects != held_out), np.flatnonzero(subjects == held_out)
        penalty = choose_penalty(gram, labels, subjects, train, n_classes)
        order = ridge_scores(gram, labels, train, test, penalty, n_classes).argsort(1)[:, ::-1]
        top1.append((order[:, 0] == labels[test]).mean())
        top3.append((order[:, :3] == labels[test, None]).any(1).mean())
    return np.array(top1), np.array(top3)


def choose_penalty(
    gram: np.ndarray, labels: np.ndarray, subjects: np.ndarray, train: np.ndarray, n_classes: int
) -> float:
    def accuracy(penalty: float) -> float:
        hits = []
        for held_out in np.unique(subjects[train]):
            inner, validation = train[subjects[train] != held_out], train[subjects[train] == held_out]
            scores = ridge_scores(gram, labels, inner, validation, penalty, n_classes)
            hits.append(scores.argmax(1) == labels[validation])
        return float(np.concatenate(hits).mean())

    return max(PENALTIES, key=accuracy)


def ridge_scores(
    gram: np.ndarray, labels: np.ndarray, train: np.ndarray, test: np.ndarray, penalty: float, n_classes: int
) -> np.ndarray:
    """Scores [test, n_classes] of ridge regression on one-hot targets, centred on the training clips, in dual form."""
    inside, across = gram[np.ix_(train, train)], gram[np.ix_(test, train)]
    mean = inside.mean(0)
    centred = inside - mean - mean[:, None] + inside.mean()
    crossed = across - mean - across.mean(1, keepdims=True) + inside.mean()
    targets = np.eye(n_classes)[labels[train]]
    ridge = penalty * np.trace(centred) / len(train) * np.eye(len(train))
    return crossed @ np.linalg.solve(centred + ridge, targets - targets.mean(0)) + targets.mean(0)


def print_rates(data: ManifestDataset, rates: list[tuple[int, float, float]]) -> None:
    values = np.array(rates)
    print("\n| AU | events per second, mean | noise % |\n|---|---|---|")
    for au in sorted({clip.au for clip in data.clips}):
        _, rate, noise = values[values[:, 0] == au].mean(0)
        print(f"| {au} | {rate / 1e3:.1f} k | {100 * noise:.1f} |")
    print(f"| all | {values[:, 1].mean() / 1e3:.1f} k | {100 * values[:, 2].mean():.1f} |")


if __name__ == "__main__":
    main()
