"""What all trainings on one fold of clips share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from snnfer.benchmark.jobs import seed_of
from snnfer.benchmark.protocol import ClipFold


@dataclass(frozen=True, kw_only=True)
class FoldTask:
    """A training on one fold, whose results lie in a folder of its own.

    Args:
        fold: Who trains and who is tested.
        config: Recipe.
        seed: Of everything random.
        folder: Of this task alone.
    """

    result: ClassVar[str]
    """Name of the table that is written last."""

    fold: ClipFold
    config: Any
    seed: int
    folder: Path

    @property
    def name(self) -> str:
        """Folder name."""
        return self.folder.name

    @property
    def epochs(self) -> int:
        """Of the recipe."""
        return self.config.epochs

    @property
    def devices(self) -> int:
        """Of the recipe."""
        return self.config.devices

    @property
    def inputs(self) -> tuple[Path, ...]:
        """Files that must be there where it runs."""
        raise NotImplementedError

    @property
    def is_done(self) -> bool:
        """Whether its results are there."""
        return (self.folder / self.result).is_file()

    @property
    def fold_seed(self) -> int:
        """Seed of this fold."""
        return seed_of(self.seed, self.fold.name)

    @property
    def checkpoint_dir(self) -> Path:
        """Where training goes on from after an interruption."""
        return self.folder / "checkpoint"
