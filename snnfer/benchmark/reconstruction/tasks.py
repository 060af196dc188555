"""One training of a reconstruction network, and the scores of what it reconstructs of people it has not seen."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from snnfer._files import atomic_path
from snnfer._optional import require
from snnfer.benchmark.fold_task import FoldTask
from snnfer.benchmark.protocol import ClipFold
from snnfer.benchmark.reconstruction.summary import METRICS
from snnfer.benchmark.store import RECONSTRUCTIONS, write_table
from snnfer.datasets import WindowPairs
from snnfer.training import TrainedModel, load_model, save_model
from snnfer.training.config import ReconstructionConfig

Condition = Literal["events", "posterior", "mean_frame"]


@dataclass(frozen=True, kw_only=True)
class ReconstructionTask(FoldTask):
    """Train one network on one fold and score it on every tested window.

    Leaves ``model/`` and ``reconstructions.parquet`` in `folder`.

    Args:
        model: Name of the network.
        model_args: Its arguments.
        representation: As the tables call it, such as ``t0_t``.
        resolution: As the tables call it.
        pairs: Windows with their frames.
    """

    result = RECONSTRUCTIONS

    model: str
    model_args: dict[str, Any]
    representation: str
    resolution: str
    pairs: WindowPairs
    config: ReconstructionConfig

    @property
    def inputs(self) -> tuple[Path, ...]:
        """Of the events and of the frames."""
        return (*self.pairs.events.examples, *self.pairs.frames.examples)

    def run(self, *, on_epoch: Callable[[int, float], None]) -> None:
        """Train, test, and write."""
        from snnfer.training.reconstruction import train_reconstruction
        from snnfer.training.trainer import remove_checkpoints

        trained = train_reconstruction(
            self.pairs,
            model=self.model,
            model_args=self.model_args,
            train=self.pairs.of_clips(self.fold.train),
            config=self.config,
            seed=self.fold_seed,
            checkpoint_dir=self.checkpoint_dir,
            on_epoch=on_epoch,
            record={"data": self.pairs.data.name, "fold": self.fold.name, "representation": self.representation},
        )
        save_model(self.folder / "model", trained)
        write_table(self.folder / self.result, list(self.score(trained)), reconstruction_schema())
        remove_checkpoints(self.checkpoint_dir)

    def score(self, trained: TrainedModel) -> Iterator[dict[str, Any]]:
        """One row per tested window and condition."""
        from snnfer.metrics.reconstruction import reconstruction_scores

        test = self.pairs.of_clips(self.fold.test)
        mean_frame = self._mean_frame()
        for condition in conditions_of(trained):
            done = 0
            for prediction, target in reconstruct(trained, self.pairs, test, condition, mean_frame=mean_frame):
                scores = reconstruction_scores(prediction, target)
                for n in range(len(prediction)):
                    values = {name: float(scores[name][n]) for name in METRICS}
                    yield {**self._row(test[done + n]), "condition": condition, **values}
                done += len(prediction)

    def _mean_frame(self) -> torch.Tensor:
        """Mean of the training frames ``[C, H, W]`` in [0, 1]: what a network must beat."""
        train = self.pairs.of_clips(self.fold.train)
        total = torch.zeros_like(self.pairs[train[0]][1], dtype=torch.float64)
        for i in train:
            total += self.pairs[i][1]
        return (total / (255 * len(train))).float()

    def _row(self, index: int) -> dict[str, Any]:
        i, window = self.pairs.samples[index]
        clip = self.pairs.data.clips[i]
        return {
            "model": self.model,
            "representation": self.representation,
            "resolution": self.resolution,
            "seed": self.seed,
            "fold": self.fold.name,
            "subject": clip.subject,
            "clip": clip.clip,
            "window": window,
        }


def conditions_of(trained: TrainedModel) -> tuple[Condition, ...]:
    """What is tested: events alone; the frame in the encoder too, of an autoencoder; the mean training frame."""
    if hasattr(trained.model, "reconstruct_posterior"):
        return ("events", "posterior", "mean_frame")
    return ("events", "mean_frame")


@torch.no_grad()
def reconstruct(
    trained: TrainedModel,
    pairs: WindowPairs,
    indices: Sequence[int],
    condition: Condition,
    *,
    mean_frame: torch.Tensor | None = None,
    batch_size: int = 16,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Reconstructions ``[n, C, H, W]`` in [0, 1] beside their targets; `mean_frame` is the control's answer."""
    from snnfer.training.reconstruction import reconstruct_pairs

    if condition == "events":
        yield from reconstruct_pairs(trained, pairs, indices, batch_size)
        return
    for start in range(0, len(indices), batch_size):
        items = [pairs[i] for i in indices[start : start + batch_size]]
        x, y = (torch.stack(values) for values in zip(*items, strict=True))
        target = y.float() / 255
        if condition == "mean_frame":
            assert mean_frame is not None
            yield mean_frame.expand_as(target).clone(), target
        else:
            yield trained.model.reconstruct_posterior(trained.normalise(x[None]), target[None])[0], target  # type: ignore[operator]


def example_indices(pairs: WindowPairs, fold: ClipFold, n: int) -> list[int]:
    """Tested pairs for the picture sheet: of as many clips as possible, each its window with the most events."""
    from snnfer.datasets.windows import events_per_window

    test = pairs.of_clips(fold.test)
    by_clip: dict[int, list[int]] = {}
    for index in test:
        by_clip.setdefault(pairs.samples[index][0], []).append(index)
    clips = sorted(by_clip)
    chosen = [clips[i] for i in np.linspace(0, len(clips) - 1, min(n, len(clips))).astype(int)]
    counts = {clip: events_per_window(pairs.events, clip) for clip in chosen}
    return [max(by_clip[clip], key=lambda i: counts[pairs.samples[i][0]][pairs.samples[i][1]]) for clip in chosen]


def write_examples(path: Path, columns: Sequence[tuple[str, ReconstructionTask]], n: int) -> None:
    """Write ``examples.npz``: events, reconstruction and truth of some tested windows of one fold, for each column."""
    first = columns[0][1]
    indices = example_indices(first.pairs, first.fold, n)
    arrays: dict[str, np.ndarray] = {
        "columns": np.array([name for name, _ in columns]),
        "n": np.array(len(indices)),
    }
    for name, task in columns:
        trained = load_model(task.folder / "model")
        positions = {sample: i for i, sample in enumerate(task.pairs.samples)}
        for k, index in enumerate(indices):
            clip, window = first.pairs.samples[index]
            start, _ = first.pairs.input.interval(first.pairs.data.clips[clip])
            seconds = (start + window * first.pairs.input.window_us) / 1e6
            arrays[f"label_{k}"] = np.array(f"{first.pairs.data.clips[clip].clip}\n{seconds:.2f} s")
            if (clip, window) not in positions:
                continue
            position = positions[clip, window]
            (prediction, target), *_ = reconstruct(trained, task.pairs, [position], "events")
            arrays[f"events_{k}_{name}"] = event_picture(task.pairs[position][0])
            arrays[f"reconstruction_{k}_{name}"] = picture(prediction[0])
            arrays[f"truth_{k}_{name}"] = picture(target[0])
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def picture(image: torch.Tensor) -> np.ndarray:
    """``[C, H, W]`` in [0, 1] as uint8 ``[H, W]`` or ``[H, W, 3]``."""
    array = (image * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    return array[..., 0] if array.shape[-1] == 1 else array


def event_picture(x: torch.Tensor) -> np.ndarray:
    """A raw event image of one or three channels as uint8 ``[H, W, 3]``."""
    values = x.float()
    if values.shape[0] not in (1, 3):
        values = values.sum(0, keepdim=True)
        values = 255 * values / values.max().clamp_min(1e-9)
    values = values.expand(3, -1, -1).round().clamp(0, 255).to(torch.uint8)
    return values.permute(1, 2, 0).numpy()


def reconstruction_schema() -> Any:
    """Columns and types of ``reconstructions.parquet``."""
    pa = require("pyarrow", extra="bench")
    text = {name: pa.string() for name in ("model", "representation", "condition", "resolution")}
    rest = {"seed": pa.int64(), "fold": pa.string(), "subject": pa.string(), "clip": pa.string(), "window": pa.int16()}
    return pa.schema({**text, **rest, **{name: pa.float32() for name in METRICS}})
