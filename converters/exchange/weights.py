"""Parameters and buffers: into a layer of another library, and into a whole network that stands already."""

import inspect
from typing import Any, TypeVar

import torch
from torch import nn

from snnfer.errors import ConversionError

Layer = TypeVar("Layer", bound=nn.Module)


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Copy all parameters and buffers of a network into another one, of whatever library and names.

    Layers that hold weights are paired in the order in which the networks hold them, whatever they are called, and
    whatever layers without weights stand between them. Thresholds, resets and time constants that are not learned are
    no weights, and stay as they are in `target`.

    Args:
        source: Network that is read.
        target: Network that is written; it stays as it is if anything does not fit.

    Raises:
        ConversionError: the networks have different numbers of layers with weights, or a pair differs in its
            parameters or their shapes.

    Examples:
        >>> from snnfer.models import create_model
        >>> model = create_model("au_snn", size=(8, 8), n_classes=3, channels=4, hidden=16)
        >>> other = create_model("au_snn", size=(8, 8), n_classes=3, channels=4, hidden=16)
        >>> copy_weights(model, other)
        >>> torch.equal(model.layers.fc1.linear.weight, other.layers.fc1.linear.weight)
        True
        >>> copy_weights(model, torch.nn.Linear(4, 2))
        Traceback (most recent call last):
        ...
        snnfer.errors.ConversionError: the networks have 10 and 1 layers with weights; expected as many; ...
    """
    holders, others = _holders(source), _holders(target)
    if len(holders) != len(others):
        raise ConversionError(
            f"the networks have {len(holders)} and {len(others)} layers with weights",
            expected="as many", cause="neurons with a learned time constant in one of them, or another architecture",
        )  # fmt: skip
    pairs: list[tuple[torch.Tensor, torch.Tensor]] = []
    for (name, tensors), (other_name, other_tensors) in zip(holders, others, strict=True):
        shapes, other_shapes = _shapes(tensors), _shapes(other_tensors)
        if shapes != other_shapes:
            raise ConversionError(
                f"'{name}' holds {shapes}, and '{other_name}' holds {other_shapes}", expected="the same",
                cause="another width, another size of the input, or layers in another order",
            )  # fmt: skip
        pairs.extend((tensors[key], other_tensors[key]) for key in tensors)
    with torch.no_grad():
        for tensor, other in pairs:
            other.copy_(tensor)


def rebuilt(cls: type[Layer], layer: nn.Module, *, name: str = "", **changes: Any) -> Layer:
    """A layer of class `cls` with the settings, parameters and buffers of `layer`, which are shared, not copied.

    Args:
        cls: A class whose constructor takes what `layer` has as attributes, as those of torch and spikingjelly do.
        layer: The layer.
        name: Its name in the network, for messages.
        changes: Arguments of the constructor that `layer` has not, or that change.

    Raises:
        ConversionError: `layer` holds other tensors than a new layer does.
    """
    arguments: dict[str, Any] = {}
    for key in inspect.signature(cls.__init__).parameters:
        if key == "bias":
            arguments[key] = layer.bias is not None
        elif key not in ("self", "device", "dtype") and hasattr(layer, key):
            arguments[key] = getattr(layer, key)
    with torch.device("meta"):  # no memory, and no random numbers
        new = cls(**{**arguments, **changes})
    old = {**layer._parameters, **layer._buffers}
    if old.keys() != {**new._parameters, **new._buffers}.keys():
        raise ConversionError(
            f"'{name}' ({type(layer).__name__}) holds {', '.join(old)}",
            expected=", ".join({**new._parameters, **new._buffers}),
            cause="pruning or a normalisation of the weights",
            fix="make it permanent first, for example with torch.nn.utils.prune.remove",
        )
    for key, tensor in old.items():
        setattr(new, key, tensor)
    return new.train(layer.training)


def _holders(network: nn.Module) -> list[tuple[str, dict[str, torch.Tensor]]]:
    """Modules with tensors of their own, in order, each with those that its state has."""
    found = []
    for name, module in network.named_modules():
        tensors = {**module._parameters, **module._buffers}
        hidden = module._non_persistent_buffers_set
        own = {key: tensor for key, tensor in tensors.items() if tensor is not None and key not in hidden}
        if own:
            found.append((name or type(module).__name__, own))
    return found


def _shapes(tensors: dict[str, torch.Tensor]) -> dict[str, list[int]]:
    return {key: list(tensors[key].shape) for key in sorted(tensors)}
