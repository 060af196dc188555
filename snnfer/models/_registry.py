"""The registry of models: `create_model`, `list_models`, `register_model`."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, Literal, overload

from torch import nn

from snnfer import _registry
from snnfer.errors import ConfigError
from snnfer.models._reads import Reads

Factory = Callable[..., nn.Module]
Task = Literal["classification", "reconstruction"]

STARTS = {  # where weights begin; a model that is built again gets them from its own file
    "pretrained": False,
    "backbone_weights": "",
    "landmark_weights": "",
}

_MODELS: dict[str, Factory] = {}
_TASKS: dict[str, Task] = {}
_READS: dict[str, Reads] = {}


@overload
def register_model(factory: Factory) -> Factory: ...


@overload
def register_model(*, task: Task = ..., reads: Reads = ...) -> Callable[[Factory], Factory]: ...


def register_model(
    factory: Factory | None = None,
    *,
    task: Task = "classification",
    reads: Reads = Reads(),  # noqa: B008  (frozen)
) -> Any:
    """Decorator: make a factory function known to `create_model` under its own name.

    The factory takes keyword-only arguments with JSON-able defaults. The model it returns gets the attribute `config`:
    its name and all arguments, so that ``create_model(**model.config)`` builds the same model again.

    Args:
        factory: The function; ``@register_model`` without brackets registers a classifier of single windows of counts.
        task: ``classification`` gives ``[N, n_classes]``, ``reconstruction`` images ``[T, N, C, H, W]``.
        reads: The input that the model is meant for, which ``snnfer profile`` gives it.

    Raises:
        ConfigError: a model of this name exists.
    """
    if factory is None:
        return functools.partial(_register, task=task, reads=reads)
    return _register(factory, task=task, reads=reads)


def _register(factory: Factory, *, task: Task, reads: Reads) -> Factory:
    @functools.wraps(factory)
    def build(**kwargs: Any) -> nn.Module:
        config = _complete(factory, kwargs)
        model = factory(**config)
        started = {key: value for key, value in STARTS.items() if key in config}
        model.config = {"name": factory.__name__, **config, **started}  # type: ignore[assignment]
        return model

    _registry.register(_MODELS, build, name=factory.__name__)
    _TASKS[factory.__name__] = task
    _READS[factory.__name__] = reads
    return build


def create_model(name: str, **kwargs: Any) -> nn.Module:
    """Build a model by name.

    Args:
        name: One of `list_models()`.
        **kwargs: Arguments of the model, such as ``n_classes=21, in_channels=2``.

    Raises:
        ConfigError: unknown name or argument; the message names the nearest known one.

    Examples:
        >>> model = create_model("au_snn", n_classes=21, in_channels=2)
        >>> sum(p.numel() for p in model.parameters())
        4312470
        >>> model.config["name"]
        'au_snn'
    """
    return _registry.look_up(_MODELS, name, kind="model")(**kwargs)


def list_models(pattern: str = "*", *, task: Task | None = None) -> list[str]:
    """Names of the models that match a shell pattern, of one task if it is given.

    Examples:
        >>> list_models("au_*")
        ['au_cnn3d', 'au_snn']
    """
    return [name for name in _registry.names(_MODELS, pattern) if task in (None, _TASKS[name])]


def model_task(name: str) -> Task:
    """What a registered model does: ``classification`` or ``reconstruction``."""
    return _registry.look_up(_TASKS, name, kind="model")


def model_reads(name: str) -> Reads:
    """What a registered model reads.

    Examples:
        >>> model_reads("spiking_fer").representation
        'binary_frames'
    """
    return _registry.look_up(_READS, name, kind="model")


def _complete(factory: Factory, kwargs: dict[str, Any]) -> dict[str, Any]:
    """`kwargs` with the defaults filled in, tuples as lists (what JSON gives back)."""
    known = inspect.signature(factory).parameters
    for key in kwargs:
        if key not in known:
            raise ConfigError(
                f"unknown argument '{key}' of model '{factory.__name__}'", expected="one of " + ", ".join(known)
            )
    values = {key: kwargs.get(key, parameter.default) for key, parameter in known.items()}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
