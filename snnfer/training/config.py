"""Settings of one training run."""

from dataclasses import dataclass
from typing import Literal

from snnfer.errors import ConfigError


@dataclass(frozen=True)
class TrainConfig:
    """How a clip classifier is trained. The defaults are the published recipe of the AU network.

    Args:
        epochs: Passes over the training clips.
        batch_size: Clips per step.
        learning_rate: Of Adam, at the start.
        weight_decay: Of Adam.
        schedule: ``cosine`` anneals the learning rate to zero over `epochs`, ``constant`` keeps it.
        loss: ``mse`` between the output and the one-hot label, or ``cross_entropy``.
        max_shift_px: Random shift of each training clip, up to this many pixels along both axes.
        max_shift_steps: Random shift of each training clip in time, up to this many steps.
        selection: ``last_epoch`` trains for exactly `epochs`; ``inner_subjects`` keeps the epoch that is best on
            `n_validation_subjects` training subjects set aside (never on the test subject).
        n_validation_subjects: Used with ``inner_subjects``.
        threads: Threads of torch per process; 0 shares the cores among the jobs. Sums are rounded differently with
            another number of threads: set it for the same bits whatever the number of jobs.

    References:
        Mastropasqua et al., "Exploring Spatial-Temporal Dynamics in Event-based Facial Micro-Expression Analysis",
        2025, section 4: Adam 1e-3, cosine annealing, 100 epochs, batch 8, MSE.
    """

    epochs: int = 100
    batch_size: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: Literal["cosine", "constant"] = "cosine"
    loss: Literal["mse", "cross_entropy"] = "mse"
    max_shift_px: int = 0
    max_shift_steps: int = 0
    selection: Literal["last_epoch", "inner_subjects"] = "last_epoch"
    n_validation_subjects: int = 1
    threads: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"train.{name} = {getattr(self, name)}", expected="a value above 0")
        for name in ("weight_decay", "max_shift_px", "max_shift_steps", "threads"):
            if getattr(self, name) < 0:
                raise ConfigError(f"train.{name} = {getattr(self, name)}", expected="0 or more")
        if self.n_validation_subjects < 1:
            raise ConfigError("train.n_validation_subjects is below 1", fix="use train.selection=last_epoch instead")

    @property
    def validation_subjects(self) -> int:
        """Training subjects that a fold sets aside."""
        return self.n_validation_subjects if self.selection == "inner_subjects" else 0
