"""What a netx or sigma-delta file says of the network that it came from, so that clips can be read for it alone."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from snnfer.cli._export_input import Exported, LoadedClips
from snnfer.errors import ConfigError, ExportError

GRADED_BITS = 8


def describe_source(exported: Exported) -> dict[str, Any]:
    """`describe_training`, and how many bits the spikes or counts of the input have.

    Raises:
        ConfigError: the network is not trained.
        ExportError: its input is no spikes and no counts.
    """
    source = describe_training(exported)
    return {**source, "message_bits": message_bits(exported.trained)}


def describe_training(exported: Exported) -> dict[str, Any]:
    """The model's config, how a clip becomes its input, its classes, and whom it was trained on.

    Raises:
        ConfigError: the network is not trained.
    """
    trained = exported.trained
    if trained is None:
        raise ConfigError(
            f"'{exported.name}' is the name of a model, without trained weights",
            expected="a folder made by 'snnfer train'",
            fix="train it first; 'snnfer export check' takes a name",
        )
    return {
        "model": trained.model.config,
        "input": dataclasses.asdict(trained.input),
        "mean": list(trained.mean),
        "std": list(trained.std),
        "class_names": list(trained.class_names),
        "training": trained.training,
    }


def describe_certified(folder: str, data: str, calibration: LoadedClips, tested: LoadedClips) -> dict[str, Any]:
    """Which network was certified on whom, and by which versions."""
    import torch

    from snnfer import __version__

    return {
        "model_folder": folder,
        "data": data,
        "calibration_subjects": list(calibration.subjects),
        "calibration_clips": len(calibration.names),
        "test_subjects": list(tested.subjects),
        "test_clips": list(tested.names),
        "versions": {"snnfer": __version__, "torch": torch.__version__},
    }


def message_bits(trained: Any) -> int:
    """0 where the input is spikes, 8 where it is event counts.

    Raises:
        ExportError: it is neither.
    """
    if any(trained.mean) or any(value != 1 for value in trained.std):
        raise ExportError(
            f"the model reads values shifted by {_row(trained.mean)} and divided by {_row(trained.std)}",
            expected="spikes or event counts as they are, which a chip can take",
            cause="a model of images, not of spikes",
            fix="train a spiking one with --modality events and --set data.representation=binary_frames, or see "
            "'snnfer convert'",
        )
    if trained.input.modality != "events" or not trained.input.event_representation.is_whole:
        raise ExportError(
            f"the model reads {_kind(trained.input)}",
            expected="spikes or event counts, which a chip can take",
            fix="train with --modality events and --set data.representation=binary_frames",
        )
    return 0 if trained.input.representation == "binary_frames" else GRADED_BITS


def source_of(metadata: Mapping[str, Any], path: str) -> Exported:
    """What `load_clips` needs, from the metadata of a file; the network itself is left out.

    Raises:
        ExportError: the file does not say it.
    """
    import torch

    from snnfer.datasets import ClipInput
    from snnfer.training.checkpoint import TrainedModel

    try:
        values = metadata["input"]
        trained = TrainedModel(
            model=torch.nn.Identity(),
            input=ClipInput(**{**values, "size": tuple(values["size"])}),
            class_names=tuple(metadata["class_names"]),
            mean=tuple(metadata["mean"]),
            std=tuple(metadata["std"]),
            training=metadata["training"],
        )
        return Exported(trained.model, str(metadata["model"]["name"]), trained)
    except (KeyError, TypeError) as error:
        raise ExportError(
            f"'{path}' does not say how clips become its input",
            cause="another program wrote it, or another version of snnfer",
            fix="make it with 'snnfer export lava' or 'snnfer convert', or simulate it from Python: "
            "snnfer.converters.lava.simulate",
        ) from error


def _kind(clip_input: Any) -> str:
    return clip_input.representation if clip_input.modality == "events" else f"{clip_input.modality} frames"


def _row(values: Any) -> str:
    return ", ".join(f"{value:g}" for value in values)
