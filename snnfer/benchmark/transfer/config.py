"""Settings of a transfer benchmark: representations x encoder trainings x with and without LSTM x folds x seeds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from snnfer._config import build_config, config_hash
from snnfer._registry import look_up
from snnfer.benchmark.config import DataConfig
from snnfer.benchmark.protocol import SplitConfig
from snnfer.benchmark.windows import WindowConfig
from snnfer.errors import ConfigError
from snnfer.models import list_models
from snnfer.training.config import ReconstructionConfig, TrainConfig

EncoderTraining = Literal["scratch", "transferred", "fine_tuned"]
Variant = Literal["t_t", "t_t0", "t0_t", "t0_t0"]

RECIPES: dict[str, dict[str, Any]] = {
    "scratch": {"learning_rate": 1e-3},
    "transferred": {"learning_rate": 1e-3, "encoder_learning_rate": 0.0},
    "fine_tuned": {"learning_rate": 1e-4, "encoder_learning_rate": 1e-5},
}
"""Learning rates of the authors' code: all 1e-3; encoder frozen, head 1e-3; encoder 1e-5, head 1e-4."""


@dataclass(frozen=True)
class ComparedSystem:
    """Another system of the comparison (the paper's Table 8).

    Args:
        name: Row of the table, such as ``est_resnet34_lstm``.
        model: One of ``snnfer.list_models(task="classification")``.
        args: Passed to `snnfer.create_model`.
        representation: Of the events.
        representation_args: Its arguments.
        n_windows: Windows per sample.
        size: Height and width of its input; default: that of the data settings.
        train: Changes to the common training settings.
    """

    name: str
    model: str
    representation: str
    args: dict[str, Any] = field(default_factory=dict)
    representation_args: dict[str, Any] = field(default_factory=dict)
    n_windows: int = 1
    size: tuple[int, int] | None = None
    train: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TransferControls:
    """What shows that the numbers mean something.

    Args:
        majority: The most frequent class of the training windows.
        linear_probe: A ridge classifier on coarse event images of the first variant.
        label_permuted: Also train the last kind of encoder training on shuffled labels, on the first variant.
    """

    majority: bool = True
    linear_probe: bool = True
    label_permuted: bool = True


@dataclass(frozen=True)
class TransferConfig:
    """A whole transfer benchmark; its hash is the run id.

    Args:
        name: First part of the run id.
        variants: TIE variants, named measure_kernel.
        tie: Further arguments of TIE, such as ``{weights: trilinear_init.pth}``.
        frames: What the reconstruction learns to show: ``gray`` or ``rgb``.
        encoder: Arguments that generator and classifiers share, such as ``{width: 64}``.
        classifier: Further arguments of the classifiers, such as ``{dropout: 0.5}``.
        encoder_training: Which rows of the ablation to run.
        lstm: Without the LSTM, with it, or both.
        reconstruction: Recipe of the reconstruction.
        train: Recipe of the classifiers.
        recipes: Changes to that recipe per encoder training; see `RECIPES` for what holds without it.
        lstm_train: Further changes for classifiers with the LSTM.
        systems: Systems to compare with.
        published: Figures of the paper, see ``benchmarks/configs/evtransfer_transfer.yaml``.
        n_examples: Rows of the picture sheet.
    """

    name: str
    title: str = ""
    notes: str = ""
    variants: tuple[Variant, ...] = ("t_t", "t_t0", "t0_t", "t0_t0")
    tie: dict[str, Any] = field(default_factory=dict)
    frames: Literal["gray", "rgb"] = "gray"
    encoder: dict[str, Any] = field(default_factory=dict)
    classifier: dict[str, Any] = field(default_factory=dict)
    encoder_training: tuple[EncoderTraining, ...] = ("scratch", "transferred", "fine_tuned")
    lstm: tuple[bool, ...] = (False, True)
    seeds: tuple[int, ...] = (0,)
    data: DataConfig = field(default_factory=DataConfig)
    windows: WindowConfig = field(default_factory=WindowConfig)
    protocol: SplitConfig = field(default_factory=SplitConfig)
    reconstruction: ReconstructionConfig = field(default_factory=ReconstructionConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    recipes: dict[str, dict[str, Any]] = field(default_factory=dict)
    lstm_train: dict[str, Any] = field(default_factory=dict)
    systems: tuple[ComparedSystem, ...] = ()
    controls: TransferControls = field(default_factory=TransferControls)
    published: dict[str, Any] = field(default_factory=dict)
    n_examples: int = 6
    kind: Literal["transfer"] = "transfer"

    def __post_init__(self) -> None:
        for name in ("variants", "encoder_training", "lstm", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ConfigError(f"{name} = {list(values)}", expected="at least one value, each once")
        for key in self.recipes:
            look_up(RECIPES, key, kind="encoder training")
        for training in self.encoder_training:
            for lstm in self.lstm:
                self.train_config(training, lstm=lstm)
        names = [system.name for system in self.systems]
        if len({*names, "evtransfer", "evtransfer_lstm"}) < len(names) + 2:
            raise ConfigError(f"systems = {names}", expected="different names, none of them 'evtransfer'")
        for system in self.systems:
            look_up(dict.fromkeys(list_models(task="classification")), system.model, kind="model")
            self.system_train_config(system)

    @property
    def run_id(self) -> str:
        """Name and hash of the effective config."""
        return f"{self.name}-{config_hash(self)}"

    def train_config(self, training: EncoderTraining, *, lstm: bool) -> TrainConfig:
        """Recipe of one row of the ablation."""
        changes = {**RECIPES[training], **self.recipes.get(training, {}), **(self.lstm_train if lstm else {})}
        return self._changed(changes, f"recipes.{training}")

    def system_train_config(self, system: ComparedSystem) -> TrainConfig:
        """Recipe of a compared system."""
        return self._changed(system.train, f"train of system '{system.name}'")

    def _changed(self, changes: Mapping[str, Any], source: str) -> TrainConfig:
        values = {name: getattr(self.train, name) for name in TrainConfig.__dataclass_fields__}
        config = build_config(TrainConfig, {**values, **changes}, source=source)
        if config.selection != "last_epoch":
            raise ConfigError(
                f"{source} selects by '{config.selection}'",
                expected="last_epoch",
                fix="train for a number of epochs that is fixed beforehand",
            )
        return config


def tie_args(variant: str, further: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `snnfer.representations.TIE` for a variant named measure_kernel.

    Examples:
        >>> tie_args("t0_t", {})
        {'measure': 't0', 'kernel': 't'}
    """
    measure, kernel = variant.split("_")
    return {"measure": measure, "kernel": kernel, **further}
