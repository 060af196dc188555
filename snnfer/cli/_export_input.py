"""What ``export``, ``simulate`` and ``convert`` start from: a network, and clips of people, seen in training or not."""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from snnfer.errors import ConfigError, DatasetError, ProtocolError

Group = Literal["train", "test"]

N_CALIBRATION = 32
"""Clips of training subjects that ranges are taken from, unless a number is given."""


@dataclasses.dataclass(frozen=True)
class Exported:
    """The network to export.

    Args:
        model: In evaluation mode.
        name: Of the model, such as ``au_snn``.
        trained: What `snnfer.load_model` gave; None for a bare model name.
    """

    model: Any
    name: str
    trained: Any = None


@dataclasses.dataclass(frozen=True)
class LoadedClips:
    """Clips as the network reads them.

    Args:
        x: ``[T, N, C, H, W]`` float32, normalised; steps behind the length of a clip are those of zeros.
        labels: ``[N]``, classes of the network.
        lengths: ``[N]``, valid steps.
        names: Of the N clips.
        subjects: Whom they show, sorted.
    """

    x: Any
    labels: Any
    lengths: Any
    names: tuple[str, ...]
    subjects: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class LoadedImages:
    """Single images, as networks of images are trained on.

    Args:
        x: ``[M, C, H, W]`` float32, normalised.
        labels: ``[M]``, classes of the network.
        subjects: Whom they show, sorted.
    """

    x: Any
    labels: Any
    subjects: tuple[str, ...]


def add_model_argument(parser: argparse.ArgumentParser, *, by_name: bool = False) -> None:
    """Add ``model``; by name too where no weights are needed."""
    text = "model folder made by 'snnfer train'"
    parser.add_argument("model", help=f"{text}, or a model name, such as au_snn" if by_name else text)
    if by_name:
        parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE",
                            help="argument of the model, by name only, such as channels=16")  # fmt: skip


def add_data_arguments(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Add ``--data`` and ``--clips``."""
    parser.add_argument("--data", required=required, metavar="DIR",
                        help="data set (manifest or its folder): training subjects calibrate, others test")  # fmt: skip
    parser.add_argument("--clips", type=int, metavar="N", help="test clips, taken evenly (default: all)")


def load_exported(model: str, overrides: Sequence[str] = ()) -> Exported:
    """The network of a model folder, or an untrained one by name.

    Raises:
        ConfigError: an unknown name, arguments for a trained model, or values that a model cannot be built with.
        CheckpointError: the folder is damaged.
    """
    from snnfer.cli._named_model import create_named

    if Path(model).is_dir():
        from snnfer import load_model

        if overrides:
            raise ConfigError("--set with a model folder", expected="the model as it was trained", fix="leave it out")
        trained = load_model(model)
        config: Any = trained.model.config
        return Exported(trained.model, str(config["name"]), trained)
    if "/" in model or model.startswith("."):
        raise ConfigError(
            f"no model in '{model}'", expected="a folder made by 'snnfer train', or a model name such as au_snn"
        )
    return Exported(create_named(model, overrides).eval(), model)


def load_clips(exported: Exported, data_dir: str, *, group: Group = "test", n_clips: int | None = None) -> LoadedClips:
    """Clips of a data set, as the network was trained to read them.

    Args:
        exported: A trained network.
        data_dir: The data set.
        group: ``train`` gives clips of the subjects that it was trained on, for calibration; ``test`` those of subjects
            that were held out, or, in another data set, of all.
        n_clips: That many, taken evenly; all where None.

    Raises:
        ConfigError: a bare model name, or a number of clips below 1.
        DatasetError: the data set cannot be read, or has a class that the network does not know.
        ProtocolError: it has no clip of such subjects.
    """
    from snnfer.datasets import collate

    trained, tensors = exported.trained, _read(exported, data_dir, group=group, n_clips=n_clips)
    x, _, lengths = collate([tensors[i] for i in range(len(tensors))])
    clips = tensors.data.clips
    names = tuple(clip.clip for clip in clips)
    return LoadedClips(trained.normalise(x), _labels(trained, clips), lengths, names, tensors.data.subjects)


def load_images(
    exported: Exported, data_dir: str, *, group: Group = "test", n_clips: int | None = None
) -> LoadedImages:
    """The images of clips that training would take.

    Those are all; for classifiers of windows (`WindowClassifier`) only windows that have enough events and lie inside
    the movement, as ``windows`` of the training says.

    Args:
        exported, data_dir, group, n_clips: As in `load_clips`.

    Raises:
        ConfigError, ProtocolError: as `load_clips`.
        DatasetError: also where no window has enough events.
    """
    import torch

    from snnfer.benchmark.windows import WindowConfig
    from snnfer.models.window_classifier import scores_windows

    trained, tensors = exported.trained, _read(exported, data_dir, group=group, n_clips=n_clips)
    if scores_windows(trained.model) and trained.input.slicing == "time":
        windows = WindowConfig(**trained.training.get("windows", {}))  # models of before it was recorded: the defaults
        chosen = windows.samples(tensors).samples
    else:
        chosen = [(clip, step) for clip, n_valid in enumerate(tensors.lengths) for step in range(n_valid)]
    clips = [tensors[i][0] for i in range(len(tensors))]
    x = torch.stack([clips[clip][step] for clip, step in chosen])
    labels = _labels(trained, tensors.data.clips)[[clip for clip, _ in chosen]]
    return LoadedImages(trained.normalise(x[None])[0], labels, tensors.data.subjects)


def _read(exported: Exported, data_dir: str, *, group: Group, n_clips: int | None) -> Any:
    """Tensors of the clips that `load_clips` and `load_images` give."""
    from snnfer.benchmark.data import read_clips
    from snnfer.datasets import ManifestDataset

    trained = exported.trained
    if trained is None:
        raise ConfigError(
            f"--data with the untrained model '{exported.name}'", expected="a model folder", fix="train it first"
        )
    if n_clips is not None and n_clips < 1:
        raise ConfigError(f"{n_clips} clips", expected="a number above 0")
    data = ManifestDataset.read(data_dir, min_clips_per_subject=1)
    chosen = data.select(_subjects(data, trained.training, group))
    chosen = chosen if n_clips is None else chosen.evenly(n_clips)
    return read_clips(chosen, trained.input, trained.training.get("crop", "manifest"))


def load_calibration(exported: Exported, data_dir: str, *, n_clips: int = N_CALIBRATION) -> LoadedClips:
    """Clips of training subjects alone: ranges that come from test data would flatter what they are tested on."""
    return load_clips(exported, data_dir, group="train", n_clips=n_clips)


def _subjects(data: Any, training: dict[str, Any], group: Group) -> list[str]:
    seen = {*training.get("train_subjects", ()), *training.get("validation_subjects", ())}
    same = bool(seen & set(data.subjects)) and training.get("data") == data.name
    wanted = training.get("train_subjects", ()) if group == "train" else set(data.subjects) - (seen if same else set())
    subjects = [subject for subject in data.subjects if subject in wanted]
    if not subjects or (group == "train" and not same):
        raise ProtocolError(
            f"data set '{data.name}' has no clip of a subject that the model was "
            + ("trained on" if group == "train" else "not trained on"),
            expected="the data set of the training" + ("" if group == "train" else ", with subjects held out"),
            cause=f"it was trained on '{training.get('data', 'unknown')}': {', '.join(sorted(seen)) or 'unknown'}",
            fix="pass the data set of the training"
            if group == "train"
            else "train with --hold-out SUBJECT, or pass recordings of other people",
        )
    return subjects


def _labels(trained: Any, clips: Sequence[Any]) -> Any:
    """Classes of the network ``[N]`` of clips."""
    import torch

    for clip in clips:
        if clip.class_name not in trained.class_names:
            raise DatasetError(
                f"the data set has the class '{clip.class_name}'",
                expected="classes of the model: " + ", ".join(trained.class_names),
            )
    return torch.tensor([trained.class_names.index(clip.class_name) for clip in clips])
