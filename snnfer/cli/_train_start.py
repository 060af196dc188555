"""``snnfer train --init``: the weights, input and architecture of a trained network to start from."""

import argparse
from dataclasses import asdict
from typing import Any

from snnfer.errors import ConfigError

_BY_DATA = ("n_classes", "in_channels", "size")
"""Arguments of a model that come from the data."""
_DATA = ("representation", "representation_args", "window_us", "n_steps", "size", "slicing", "slice_events", "center")


def load_start(args: argparse.Namespace) -> Any:
    """The network of ``--init``, or None; `args` gets its model and modality where they are not given.

    Raises:
        ConfigError: it is a network of another kind, or there are two to start from.
    """
    start = None
    name = "au_snn"
    if args.init:
        from snnfer.training import load_model

        start = load_model(args.init)
        name = _config(start)["name"]
        _check_kind(args, start, name)
    args.model = args.model or name
    args.modality = args.modality or (start.input.modality if start else "events")
    return start


def _check_kind(args: argparse.Namespace, start: Any, name: str) -> None:
    from snnfer.models import list_models, model_task

    if args.encoder:
        raise ConfigError("--init with --encoder", expected="one network to start from", fix="leave --encoder out")
    if name not in list_models() or model_task(name) != "classification":
        raise ConfigError(
            f"--init with a folder of {name}", expected="a classifier made by 'snnfer train'", fix="leave it out"
        )
    for option, given, own in (("--model", args.model, name), ("--modality", args.modality, start.input.modality)):
        if given and given != own:
            raise ConfigError(
                f"{option} {given} with --init, a folder of {own}", expected=own, fix=f"leave {option} out"
            )


def settings_of(start: Any) -> dict[str, Any]:
    """Settings of data and model that a trained network was made with."""
    given = asdict(start.input)
    data = {key: list(given[key]) if key == "size" else given[key] for key in _DATA}
    model = {key: value for key, value in _config(start).items() if key not in ("name", *_BY_DATA)}
    return {"data": {**data, "crop": start.training.get("crop", "manifest")}, "model": model}


def take_over(network: Any, samples: Any, start: Any) -> None:
    """Copy the weights of `start` into `network`, if both read and name the same.

    Raises:
        ConfigError: another input, other classes, or another architecture.
    """
    ours = {**asdict(samples.input), "classes": list(samples.data.class_names), **network.config}
    its = {**asdict(start.input), "classes": list(start.class_names), **_config(start)}
    for key in sorted({*ours, *its} - {"max_frame_age_us"}):
        if _plain(ours.get(key)) != _plain(its.get(key)):
            raise ConfigError(
                f"{key} = {_plain(ours.get(key))} with --init",
                expected=f"{_plain(its.get(key))}, as the network of --init was trained",
                fix=f"leave the setting of {key} out, or train without --init" if key != "classes" else
                "pass the data set that it was trained on",
            )  # fmt: skip
    network.load_state_dict(start.model.state_dict())


def _config(start: Any) -> dict[str, Any]:
    return start.model.config


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
