"""Settings of a reconstruction benchmark: resolutions x networks x folds x seeds."""

from dataclasses import dataclass, field
from typing import Any, Literal

from snnfer._config import build_config, config_hash, merge, to_dict
from snnfer._registry import look_up
from snnfer.benchmark.config import DataConfig
from snnfer.benchmark.protocol import SplitConfig
from snnfer.benchmark.windows import WindowConfig
from snnfer.errors import ConfigError
from snnfer.models import list_models
from snnfer.training.config import ReconstructionConfig


@dataclass(frozen=True)
class Resolution:
    """One sensor or resolution of the comparison.

    Args:
        label: Printed in the report, such as ``DAVIS346``.
        data: Changes to the common data settings, such as ``{synth: {width: 1280, height: 720}}`` or ``{root: ...}``.
    """

    label: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reconstructor:
    """One reconstruction network and what it sees.

    Args:
        name: One of ``snnfer.list_models(task="reconstruction")``.
        args: Passed to `snnfer.create_model`.
        representation: Of the events.
        representation_args: Its arguments.
        size: Height and width of its images; default: that of the data settings.
        train: Changes to the common training settings.
    """

    name: str
    args: dict[str, Any] = field(default_factory=dict)
    representation: str = "tie"
    representation_args: dict[str, Any] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    train: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ReconstructionBenchmarkConfig:
    """A whole reconstruction benchmark; its hash is the run id.

    Args:
        name: First part of the run id.
        models: Networks.
        resolutions: Sensors; each network is trained and tested on each.
        frames: What is reconstructed: ``gray`` or ``rgb``.
        published: Figures of the papers, see ``benchmarks/configs/reconstruction.yaml``.
        n_examples: Rows of the picture sheet.
    """

    name: str
    models: tuple[Reconstructor, ...]
    title: str = ""
    notes: str = ""
    resolutions: tuple[Resolution, ...] = (Resolution("sensor"),)
    frames: Literal["gray", "rgb"] = "gray"
    seeds: tuple[int, ...] = (0,)
    data: DataConfig = field(default_factory=DataConfig)
    windows: WindowConfig = field(default_factory=WindowConfig)
    protocol: SplitConfig = field(default_factory=SplitConfig)
    train: ReconstructionConfig = field(default_factory=ReconstructionConfig)
    published: dict[str, Any] = field(default_factory=dict)
    n_examples: int = 6
    kind: Literal["reconstruction"] = "reconstruction"

    def __post_init__(self) -> None:
        if not self.models or not self.resolutions or not self.seeds:
            raise ConfigError("the benchmark is empty", expected="at least one model, one resolution and one seed")
        for model in self.models:
            look_up(dict.fromkeys(list_models(task="reconstruction")), model.name, kind="reconstruction model")
            self.train_config(model)
        labels = [resolution.label for resolution in self.resolutions]
        if len(set(labels)) < len(labels):
            raise ConfigError(f"resolutions = {labels}", expected="different labels")
        for resolution in self.resolutions:
            self.data_of(resolution)

    @property
    def run_id(self) -> str:
        """Name and hash of the effective config."""
        return f"{self.name}-{config_hash(self)}"

    def train_config(self, model: Reconstructor) -> ReconstructionConfig:
        """Training settings of `model`."""
        values = {name: getattr(self.train, name) for name in ReconstructionConfig.__dataclass_fields__}
        return build_config(ReconstructionConfig, {**values, **model.train}, source=f"train of model '{model.name}'")

    def data_of(self, resolution: Resolution) -> DataConfig:
        """Data settings of `resolution`."""
        values = merge(to_dict(self.data), resolution.data)
        return build_config(DataConfig, values, source=f"data of resolution '{resolution.label}'")
