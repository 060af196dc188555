"""Settings of a benchmark: data x protocol x models x modalities x seeds."""

from dataclasses import dataclass, field
from typing import Any, Literal

from snnfer._config import added, build_config, config_hash
from snnfer._registry import look_up
from snnfer.benchmark.protocol import SplitConfig
from snnfer.datasets import N_CHANNELS, ClipInput
from snnfer.errors import ConfigError
from snnfer.models import list_models
from snnfer.training import TrainConfig


@dataclass(frozen=True)
class DataConfig:
    """Which clips, and how they become tensors.

    Args:
        dataset: ``synthau`` (generated when it is not there) or ``manifest`` (a user's recordings).
        root: Manifest or folder; for ``synthau`` the default is in the cache folder.
        preset: Size of SynthAU: ``tiny``, ``small``, ``paper`` or ``large``.
        synth: Changes to that preset, such as ``{difficulty: hard}``.
        window_us: Length of one step in microseconds.
        n_steps: Steps per clip.
        size: Height and width of the network's input.
        crop: ``manifest`` uses the box columns, ``face`` detects faces, ``none`` takes the whole sensor.
        min_clips_per_subject: Subjects with fewer clips are refused.
        representation: Of the events, one of `snnfer.representations.list_representations()`.
        representation_args: Its further arguments, such as ``{measure: t0, kernel: t}`` for ``tie``.
        slicing: ``time`` takes windows of `window_us`; ``uniform`` divides each clip into `n_steps` windows of one
            length; ``count`` takes slices of `slice_events` events, see `snnfer.datasets.ClipInput`.
        slice_events: Events per slice of ``count``.
        center: Where ``time`` cuts clips that are longer than `n_steps` windows: around their ``middle`` or their
            ``apex``. With ``n_steps: 1`` the network sees a still image: the frame (or the events) at that time.
    """

    dataset: Literal["synthau", "manifest"] = "synthau"
    root: str = ""
    preset: Literal["tiny", "small", "paper", "large"] = "small"
    synth: dict[str, Any] = field(default_factory=dict)
    window_us: int = 33_000
    n_steps: int = 76
    size: tuple[int, int] = (64, 64)
    crop: Literal["manifest", "face", "none"] = "manifest"
    min_clips_per_subject: int = 2
    representation: str = added("count_frames")
    representation_args: dict[str, Any] | None = added(None)
    slicing: Literal["time", "uniform", "count"] = added("time")
    slice_events: int = added(2500)
    center: Literal["middle", "apex"] = added("middle")

    def clip_input(self, modality: str) -> ClipInput:
        """The network input for one modality."""
        return ClipInput(
            modality,  # type: ignore[arg-type]
            self.window_us,
            self.n_steps,
            self.size,
            representation=self.representation,
            representation_args=self.representation_args or {},
            slicing=self.slicing,
            slice_events=self.slice_events,
            center=self.center,
        )


@dataclass(frozen=True)
class ModelConfig:
    """One model of the comparison.

    Args:
        name: As in `snnfer.list_models`.
        args: Passed to `snnfer.create_model`.
        train: Changes to the common training settings, such as ``{learning_rate: 1e-4}``.
        modalities: If given, the model runs on these only.
        label: What it is called in predictions, folders, `published` and the report; default: its name. Several entries
            may have one name and different labels, such as the steps of an ablation.
    """

    name: str
    args: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    modalities: tuple[str, ...] = ()
    label: str = added("")

    def __post_init__(self) -> None:
        if self.label != self.label.strip() or self.label.startswith(".") or set(self.label) & set("/\\:\n"):
            raise ConfigError(
                f"the label '{self.label}' of model '{self.name}'",
                expected="a name that can be part of a folder's, such as 'C3D + SSN'",
                fix="leave out slashes, colons, a dot at the start, and spaces at the ends",
            )

    @property
    def shown_name(self) -> str:
        """Its label, or its name if it has none."""
        return self.label or self.name


@dataclass(frozen=True)
class ProtocolConfig(SplitConfig):
    """How clips are divided; as `SplitConfig`, whose further settings came to this kind of benchmark later."""

    n_folds: int = added(3)
    test_share: float = added(0.2)
    seed: int = added(0)


@dataclass(frozen=True)
class ControlsConfig:
    """What shows that the numbers mean something.

    Args:
        majority: The most frequent class of the training clips.
        linear_probe: A ridge classifier on the time-summed input of each modality.
        label_permuted: ``model/modality`` pairs, models by their labels, that are also trained on shuffled training
            labels.
    """

    majority: bool = True
    linear_probe: bool = True
    label_permuted: tuple[str, ...] = ()


@dataclass(frozen=True)
class PublishedFigure:
    """Figures from the literature, printed beside ours.

    Args:
        model: Label of one of the models.
        modality: One of its modalities.
        top1, top3: Accuracy in per cent.
        source: Where they were published.
        macs_g: Multiply-accumulates in 1e9, as the paper counts them.
        parameters_m: Parameters in 1e6.
        energy_share: Energy in per cent of that of the first model of the paper.
    """

    model: str
    modality: str
    top1: float | None = None
    top3: float | None = None
    source: str = ""
    macs_g: float | None = added(None)
    parameters_m: float | None = added(None)
    energy_share: float | None = added(None)


@dataclass(frozen=True)
class BenchmarkConfig:
    """A whole benchmark; its hash is the run id.

    Args:
        name: First part of the run id.
        title: Headline of the report.
        notes: What a reader must know, such as what a reduced recipe leaves out.
        kind: ``recognition``: clips are classified. Other kinds have configs of their own.
    """

    name: str
    models: tuple[ModelConfig, ...]
    title: str = ""
    notes: str = ""
    modalities: tuple[str, ...] = ("events", "rgb")
    seeds: tuple[int, ...] = (0,)
    data: DataConfig = DataConfig()
    protocol: ProtocolConfig = ProtocolConfig()
    train: TrainConfig = field(default_factory=TrainConfig)
    controls: ControlsConfig = ControlsConfig()
    published: tuple[PublishedFigure, ...] = ()
    kind: Literal["recognition"] = added("recognition")

    def __post_init__(self) -> None:
        if not self.models or not self.modalities or not self.seeds:
            raise ConfigError("the benchmark is empty", expected="at least one model, one modality and one seed")
        named = [m for model in self.models for m in model.modalities]
        for modality in (*self.modalities, *named):
            if modality not in N_CHANNELS:
                raise ConfigError(f"unknown modality '{modality}'", expected="one of " + ", ".join(N_CHANNELS))
            self.data.clip_input(modality)  # refuses what does not go together
        for model in self.models:
            look_up(dict.fromkeys(list_models(task="classification")), model.name, kind="model")
            recipe = self.train_config(model)
            for modality in self.modalities_of(model):
                recipe.check_modality(modality)
        networks = [f"{model.shown_name}/{modality}" for model in self.models for modality in self.modalities_of(model)]
        known = set(networks)
        if len(known) < len(networks):
            raise ConfigError(
                f"models names '{next(pair for pair in networks if networks.count(pair) > 1)}' twice",
                expected="every model on every modality once",
                fix="give each its own label, such as {name: c3d, label: C3D + SSN, args: {...}}",
            )
        shown = [model.shown_name for model in self.models]
        for figure in self.published:
            if figure.model not in shown:
                raise ConfigError(
                    f"published names the model '{figure.model}'",
                    expected="one of " + ", ".join(shown),
                    cause="another label, or a model that was left out",
                    fix="write the label of a model, or leave this figure out of published",
                )
        for pair in self.controls.label_permuted:
            if pair not in known:
                raise ConfigError(
                    f"controls.label_permuted names '{pair}'", expected="one of " + ", ".join(sorted(known))
                )

    @property
    def run_id(self) -> str:
        """Name and hash of the effective config."""
        return f"{self.name}-{config_hash(self)}"

    def modalities_of(self, model: ModelConfig) -> tuple[str, ...]:
        """Modalities that `model` runs on."""
        return model.modalities or self.modalities

    def train_config(self, model: ModelConfig) -> TrainConfig:
        """Training settings of `model`."""
        values = {f: getattr(self.train, f) for f in TrainConfig.__dataclass_fields__}
        return build_config(TrainConfig, {**values, **model.train}, source=f"train of model '{model.shown_name}'")

    def inner_subjects(self) -> int:
        """Most validation subjects that any model sets aside."""
        return max(self.train_config(model).validation_subjects for model in self.models)
