"""What ``snnfer train`` needs to know before it starts: settings by model, subjects, the id of a checkpoint."""

import argparse
from collections.abc import Sequence
from typing import Any

_TIE = {"representation": "tie", "size": [256, 256], "window_us": 33_333}
_WINDOW_RECIPE = {
    "epochs": 30,
    "batch_size": 32,
    "learning_rate": 1e-4,
    "loss": "cross_entropy",
    "schedule": "exponential",
}
PUBLISHED: dict[str, dict[str, Any]] = {
    "pix2pix": {"data": _TIE},
    "cvae": {
        "data": {"representation": "polarity_image", "size": [260, 346]},
        "train": {"batch_size": 16, "learning_rate": 1e-3, "betas": [0.9, 0.999]},
    },
    "evtransfer": {"data": _TIE, "train": _WINDOW_RECIPE},
    "evtransfer_lstm": {"data": _TIE, "train": _WINDOW_RECIPE},
}
"""Settings of the papers, where they are not the defaults: the systems that read single windows."""

_ENCODER_RATE = 1e-5  # of a transferred encoder, beside 1e-4 for the rest


def read_settings(args: argparse.Namespace, generator: Any = None, start: Any = None) -> Any:
    """The settings of data, windows, training and model: the paper's, those of the network to start from, ``--set``."""
    from dataclasses import field, make_dataclass

    from snnfer._config import apply_overrides, build_config, merge
    from snnfer.benchmark.config import DataConfig
    from snnfer.benchmark.windows import WindowConfig
    from snnfer.cli._train_start import settings_of
    from snnfer.models import model_task
    from snnfer.training import ReconstructionConfig, TrainConfig

    recipe = ReconstructionConfig if model_task(args.model) == "reconstruction" else TrainConfig
    groups = [
        ("data", DataConfig),
        ("train", recipe, field(default_factory=recipe)),
        ("model", dict[str, Any], field(default_factory=dict)),
        ("windows", WindowConfig, field(default_factory=WindowConfig)),
    ]
    settings = make_dataclass("TrainSettings", groups, frozen=True)
    published = PUBLISHED.get(args.model, {})
    values: dict[str, Any] = {
        "data": {"dataset": "manifest", "root": args.data, **published.get("data", {})},
        "train": dict(published.get("train", {})),
    }
    if generator is not None:
        given = generator.input
        values["data"] |= {
            "representation": given.representation,
            "representation_args": dict(given.representation_args),
            "window_us": given.window_us,
            "size": list(given.size),
        }
        values["train"]["encoder_learning_rate"] = _ENCODER_RATE
        values["model"] = {"width": generator.model.config["width"]}
    if start is not None:
        values = merge(values, settings_of(start))
    if args.quantize != "none":
        values["train"] |= {"quantize": args.quantize} | ({} if start is None else {"quantized_share": 1.0})
    result: Any = build_config(settings, apply_overrides(values, args.overrides), source="--set")
    if recipe is TrainConfig:
        result.train.check_modality(args.modality)
    return result


def load_generator(args: argparse.Namespace) -> Any:
    """The generator whose encoder is to be transferred, or None.

    Raises:
        ConfigError: the model takes no such encoder, or the generator has none.
    """
    if not args.encoder:
        return None
    from snnfer.errors import ConfigError
    from snnfer.models import encoder_from
    from snnfer.training import load_model

    if args.model not in ("evtransfer", "evtransfer_lstm"):
        raise ConfigError(
            f"--encoder with the model '{args.model}'", expected="evtransfer or evtransfer_lstm", fix="leave it out"
        )
    generator = load_model(args.encoder)
    encoder_from(generator.model)  # refuses a model without
    return generator


def check_unseen(network: Any, data: Any, hold_out: Sequence[str], *, name: str = "generator") -> None:
    """Raise `ProtocolError` if a trained network has seen subjects of `data` that are to be tested."""
    from snnfer.errors import ProtocolError

    record = network.training
    trained_on = {*record.get("train_subjects", ()), *record.get("validation_subjects", ())}
    seen = set(hold_out) & trained_on if record.get("data") == data.name else set()
    if seen:
        subjects = ", ".join(sorted(seen))
        raise ProtocolError(
            f"the {name} was trained on the held-out subjects {subjects}",
            expected="one that never saw them",
            fix=f"train the {name} with the same --hold-out",
        )


def check_same_input(clips: Any, generator: Any) -> None:
    """Raise `ConfigError` if the generator was trained on other images than those of `clips`."""
    from snnfer.errors import ConfigError

    for name in ("representation", "representation_args", "window_us", "size"):
        ours, its = (
            list(value) if isinstance(value, tuple) else value
            for value in (getattr(tensors.input, name) for tensors in (clips, generator))
        )
        if ours != its:
            raise ConfigError(
                f"data.{name} = {ours}", expected=f"{its}, as in the generator", fix=f"leave data.{name} out"
            )


def load_samples(data: Any, settings: Any, args: argparse.Namespace) -> Any:
    """What the model is trained on: pairs of events and frames, single windows, or whole clips."""
    from snnfer.benchmark.data import load_tensors
    from snnfer.benchmark.windows import frame_tensors
    from snnfer.models import model_task

    clips = load_tensors(data, settings.data, args.modality)
    if model_task(args.model) == "reconstruction":
        return settings.windows.pairs(clips, frame_tensors(data, settings.data, args.target))
    if args.model in PUBLISHED:
        n_windows = settings.model.get("n_windows", 3) if args.model == "evtransfer_lstm" else 1
        return settings.windows.samples(clips, n_windows=n_windows)
    return clips


def divide_subjects(data: Any, hold_out: Sequence[str], n_validation: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Training and validation subjects among those that are not held out."""
    from snnfer.errors import ConfigError

    data.select(hold_out)  # refuses an unknown subject
    others = [subject for subject in data.subjects if subject not in hold_out]
    if len(others) <= n_validation:
        raise ConfigError(
            f"{len(others)} of {len(data.subjects)} subjects are left to train on",
            expected=f"more than {n_validation}",
            fix="hold out fewer subjects",
        )
    n_train = len(others) - n_validation
    return tuple(others[:n_train]), tuple(others[n_train:])


def settings_hash(settings: Any, args: argparse.Namespace, train_subjects: Sequence[str]) -> str:
    """Hash of everything a checkpoint depends on, so that changed settings begin anew."""
    from pathlib import Path

    from snnfer._config import to_dict
    from snnfer._files import hash_file, hash_value

    given = args.encoder or args.init
    weights = hash_file(Path(given) / "model.safetensors") if given else ""
    identity = [to_dict(settings), args.model, args.modality, args.target, args.seed, list(train_subjects), weights]
    return hash_value(identity, length=8)
