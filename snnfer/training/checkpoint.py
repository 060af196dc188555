"""Model folders (safetensors + JSON) and resumable training checkpoints, both without pickle."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from snnfer._files import atomic_path, write_json
from snnfer._optional import require
from snnfer.converters.ann_to_snn.network import NAME as RATE_SNN
from snnfer.converters.ann_to_snn.network import RateSNN
from snnfer.converters.ann_to_snn.sigma_delta_network import NAME as SIGMA_DELTA_SNN
from snnfer.converters.ann_to_snn.sigma_delta_network import SigmaDeltaSNN
from snnfer.datasets import ClipInput
from snnfer.errors import CheckpointError, SnnferError
from snnfer.models import create_model

FORMAT = "snnfer-model"
FORMAT_VERSION = 1
CONVERTED = {RATE_SNN: RateSNN, SIGMA_DELTA_SNN: SigmaDeltaSNN}
"""Networks that conversions make, by the name in their config."""


@dataclass(frozen=True)
class TrainedModel:
    """A network with everything that is needed to use it on a recording.

    Attributes:
        model: The network, in evaluation mode.
        input: How a clip becomes its input.
        class_names: Class names in output order.
        mean: Per input channel, subtracted from the raw values; from training subjects only.
        std: Per input channel, divides the result.
        training: What it was trained on and how (for people to read).
    """

    model: torch.nn.Module
    input: ClipInput
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    training: dict[str, Any]

    def normalise(self, x: torch.Tensor) -> torch.Tensor:
        """Raw input ``[T, N, C, H, W]`` to what the network was trained on, float32."""
        return normalise(x, self.mean, self.std)


def normalise(x: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    """``(x - mean) / std`` per channel of ``[T, N, C, H, W]``, as float32."""
    shape = (1, 1, -1, 1, 1)
    offset, scale = (torch.tensor(v, dtype=torch.float32, device=x.device).view(shape) for v in (mean, std))
    return (x.float() - offset).div_(scale)  # x itself stays as it is, float32 or not


def save_model(folder: str | os.PathLike[str], trained: TrainedModel) -> None:
    """Write ``model.safetensors`` and ``config.json`` into `folder`."""
    safetensors = require("safetensors.torch", extra="train")
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    with atomic_path(path / "model.safetensors") as temporary:
        state = {name: tensor.contiguous() for name, tensor in trained.model.state_dict().items()}
        safetensors.save_file(state, temporary)
    write_json(
        path / "config.json",
        {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "model": trained.model.config,
            "input": asdict(trained.input),
            "mean": list(trained.mean),
            "std": list(trained.std),
            "class_names": list(trained.class_names),
            "training": trained.training,
        },
    )


def load_model(folder: str | os.PathLike[str], *, device: str = "cpu") -> TrainedModel:
    """Read a model folder written by `save_model`.

    Raises:
        CheckpointError: the folder is missing or damaged, or of another version.

    Examples:
        >>> trained = load_model("runs/model")  # doctest: +SKIP
        >>> trained.model(trained.normalise(x))  # doctest: +SKIP
    """
    safetensors = require("safetensors", extra="train")
    path = Path(folder)
    config = _read_config(path)
    try:
        model = _build(config["model"])
        state = require("safetensors.torch", extra="train").load_file(path / "model.safetensors", device=device)
        model.load_state_dict(state)
        return TrainedModel(
            model=model.to(device).eval(),
            input=ClipInput(**{**config["input"], "size": tuple(config["input"]["size"])}),
            class_names=tuple(config["class_names"]),
            mean=tuple(config["mean"]),
            std=tuple(config["std"]),
            training=config["training"],
        )
    except FileNotFoundError as error:
        raise CheckpointError(f"'{path}' has no model.safetensors", fix="train the model again") from error
    except (KeyError, TypeError, RuntimeError, SnnferError, safetensors.SafetensorError) as error:
        detail = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"the model in '{path}' cannot be built", cause=f"a damaged or edited file ({detail})", fix="train it again"
        ) from error


def _build(config: dict[str, Any]) -> torch.nn.Module:
    """The network of a config: a registered one, or what a conversion made of one."""
    converted = CONVERTED.get(config["name"])
    if converted is None:
        return create_model(**config)
    return converted(**{key: value for key, value in config.items() if key != "name"}).requires_grad_(False)


def _read_config(path: Path) -> dict[str, Any]:
    file = path / "config.json"
    if not file.is_file():
        raise CheckpointError(
            f"no model in '{path}'",
            expected="a folder with config.json and model.safetensors",
            fix="make one with 'snnfer train DATA --out DIR'",
        )
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"'{file}' is not valid JSON", cause=str(error)) from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise CheckpointError(f"'{file}' does not describe a snnfer model", fix="pass a folder made by 'snnfer train'")
    if config.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"the model in '{path}' has format version {config.get('format_version')}",
            expected=f"format version {FORMAT_VERSION}",
            cause="it was written by another version of snnfer",
            fix="use that version, or train the model again",
        )
    return config


def save_state(path: str | os.PathLike[str], state: Any) -> None:
    """Write nested dictionaries, lists, numbers, strings and tensors as one safetensors file, atomically."""
    tensors: dict[str, torch.Tensor] = {}
    tree = json.dumps(_encode(state, tensors))
    with atomic_path(path) as temporary:
        require("safetensors.torch", extra="train").save_file(tensors, temporary, metadata={"tree": tree})


def load_state(path: str | os.PathLike[str], *, device: str = "cpu") -> Any:
    """Read what `save_state` wrote."""
    with require("safetensors", extra="train").safe_open(path, framework="pt", device=device) as file:
        tree = json.loads(file.metadata()["tree"])
        return _decode(tree, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118


def _encode(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        name = f"{len(tensors):06d}"
        tensors[name] = value.detach().clone().contiguous()
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[key, _encode(item, tensors)] for key, item in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_encode(item, tensors) for item in value]}
    if isinstance(value, list):
        return [_encode(item, tensors) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise CheckpointError(f"a training state holds a {type(value).__name__}", expected="tensors and plain values")


def _decode(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, list):
        return [_decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "tuple":
        return tuple(_decode(item, tensors) for item in content)
    return {key: _decode(item, tensors) for key, item in content}
