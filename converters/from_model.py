"""From a network to its graph: snnfer modules by their structure, other torch modules through torch.fx."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from snnfer.converters._chain import Chain, Unreadable
from snnfer.converters._functional import read_forward
from snnfer.converters._refusals import REASONS, looks_ahead, unknown
from snnfer.converters._torch_modules import (
    TORCH_MODULES,
    add_adaptive_pool,
    add_max_pool,
    add_norm,
    add_nothing,
    add_pool,
    bias_of,
    copied,
    pair,
)
from snnfer.converters._volumes import (
    add_volume_pool,
    read_au_cnn3d,
    read_c3d,
    read_relu_block,
    refuse_convolution,
)
from snnfer.converters.graph import Conv, Flatten, Graph, Shape, Spike, Vote
from snnfer.errors import ConversionError
from snnfer.layers import (
    FactorizedConv3d,
    GlobalAvgPool2d,
    SpikingAvgPool2d,
    SpikingConv2d,
    SpikingLinear,
    SpikingMaxPool2d,
    SpikingSequential,
    ThresholdDependentBatchNorm2d,
    TimeBatchNorm2d,
    TimeConstantDropout,
    TimeDistributed,
    VotingLayer,
)
from snnfer.models.au_cnn3d import AUCNN3d, ConvBlock3d
from snnfer.models.c3d import C3D, FullConv3d
from snnfer.models.est_resnet34 import ESTClassifier
from snnfer.models.spiking_classifier import SpikingClassifier
from snnfer.models.spiking_fer import SpikingFER
from snnfer.models.unet import EncoderBlock, UNetEncoder
from snnfer.models.window_classifier import WindowClassifier
from snnfer.neurons import IF, LIF, PLIF, Neuron


def to_graph(model: nn.Module, *, input_shape: Sequence[int] | None = None) -> Graph:
    """The chain of operations of a network in evaluation mode, with its weights.

    Spiking chains (`SpikingClassifier`, `SpikingSequential` and what they hold), `UNetEncoder` and window classifiers
    without LSTM are read by their structure. Any other module is traced with `torch.fx`, its children are read in turn:
    functional relu, leaky_relu, flatten, pooling and dropout are known. Dropout and identity leave nothing behind.

    Args:
        model: The network; it stays as it is, and the weights are copied.
        input_shape: ``(C, H, W)`` or ``(F,)`` of one step; needed only where the model does not know it.

    Raises:
        ConversionError: a module or function has no counterpart in a graph (the message names it), the network is not
            a chain, `input_shape` is missing, or `model` is no network.

    Examples:
        >>> from snnfer.models import create_model
        >>> graph = to_graph(create_model("au_snn", n_classes=3, size=(16, 16), channels=4, hidden=8, votes=2))
        >>> [type(node).__name__ for node in graph.nodes[:4]]
        ['Conv', 'Affine', 'Spike', 'Pool']
        >>> graph.shapes[-1]
        (3,)
        >>> to_graph(nn.Sequential(nn.Linear(4, 2), nn.Softplus()))
        Traceback (most recent call last):
        ...
        snnfer.errors.ConversionError: '1' is a Softplus; expected layers that a graph knows; ...
    """
    chain, shape = read_chain(model, input_shape=input_shape)
    return Graph(chain.nodes, shape, metadata_of(model))


def read_chain(
    model: nn.Module, *, input_shape: Sequence[int] | None = None, strict: bool = True
) -> tuple[Chain, Shape]:
    """The chain of `model` and the shape of its input; see `Chain` for `strict`."""
    check_module(model)
    shape = tuple(input_shape) if input_shape is not None else find_input_shape(model)
    chain = Chain(shape, with_time=any(isinstance(module, TIME_MODULES) for module in model.modules()), strict=strict)
    try:
        read_module(chain, "", model)
    except Unreadable:
        chain.complete = False
    return chain, shape


def check_module(model: object) -> None:
    """Raise `ConversionError` unless `model` is a network."""
    if isinstance(model, nn.Module):
        return
    is_name = isinstance(model, str)
    raise ConversionError(
        f"the model is the text '{model}'" if is_name else f"the model is a {type(model).__name__}",
        expected="a network, a torch.nn.Module",
        cause="the name of a model, or of its folder" if is_name else "",
        fix="pass snnfer.create_model(name), or snnfer.load_model(folder).model" if is_name else "",
    )


def metadata_of(model: nn.Module) -> dict[str, Any]:
    """The config of a registered model, as metadata of a graph."""
    config = getattr(model, "config", None)
    return {"model": config} if isinstance(config, dict) else {}


def find_input_shape(model: nn.Module) -> Shape:
    """Shape of one step of the input of `model`.

    Raises:
        ConversionError: the model does not say.
    """
    for owner in (model, getattr(model, "encoder", None)):
        known = {**getattr(owner, "config", {})} if isinstance(getattr(owner, "config", None), dict) else {}
        channels = known.get("in_channels", getattr(owner, "in_channels", None))
        size = known.get("size", getattr(owner, "size", None))
        if isinstance(channels, int) and isinstance(size, Sequence):
            return (channels, *size)
    first = next((m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)), None)
    if isinstance(first, nn.Linear):
        return (first.in_features,)
    raise ConversionError(
        f"the size of the input of this {type(model).__name__} is not known",
        expected="input_shape=(C, H, W)",
        fix="pass input_shape, for example input_shape=(2, 64, 64)",
    )


def read_module(chain: Chain, name: str, module: nn.Module) -> None:
    """Append the nodes of `module`, which is called `name`, to `chain`."""
    n_parts, shape = len(chain.parts), chain.shape
    try:
        _read(chain, name, module)
    except ConversionError as error:
        if chain.strict:
            raise
        del chain.parts[n_parts:]
        chain.shape = shape
        chain.refuse(name, module, error)


def _read(chain: Chain, name: str, module: nn.Module) -> None:
    reader = READERS.get(type(module))
    if reader is not None:
        reader(chain, name, module)
    elif type(module) in REASONS or type(module).__module__.startswith(LIBRARIES):
        raise unknown(name, module)
    elif any(isinstance(child, nn.Conv3d) for child in module.modules()):
        raise looks_ahead(name, module)
    else:
        read_forward(chain, name, module, read_module)


def _join(name: str, child: str) -> str:
    return f"{name}.{child}" if name else child


def _read_children(chain: Chain, name: str, module: nn.Module) -> None:
    for child, layer in module.named_children():
        read_module(chain, _join(name, child), layer)


def _read_neuron(chain: Chain, name: str, neuron: IF | LIF | PLIF) -> None:
    tau, decay_input = math.inf, False
    if not isinstance(neuron, IF):
        tau, decay_input = neuron.tau, neuron.decay_input
    if isinstance(neuron, PLIF):
        tau = 1 / neuron.w.detach().sigmoid().item()  # of the rate that the network itself uses, in its precision
    chain.add(Spike(name, tau, neuron.v_threshold, neuron.v_reset, neuron.reset, decay_input))


def _read_spiking_average(chain: Chain, name: str, layer: SpikingAvgPool2d) -> None:
    add_pool(chain, _join(name, "pool"), "average", layer.kernel_size)
    read_module(chain, _join(name, "neuron"), layer.neuron)


def _read_global_average(chain: Chain, name: str, layer: GlobalAvgPool2d) -> None:
    add_adaptive_pool(chain, name, "average", 1)
    chain.add(Flatten(chain.free_name(_join(name, "flatten"))))


def _read_distributed(chain: Chain, name: str, layer: TimeDistributed) -> None:
    with_time, chain.with_time = chain.with_time, False
    try:
        read_module(chain, _join(name, "module"), layer.module)
    finally:
        chain.with_time = with_time


def _read_factorized(chain: Chain, name: str, block: FactorizedConv3d) -> None:
    if not block.causal:
        raise looks_ahead(name, block)
    if block.shortcut is not None:
        raise ConversionError(
            f"'{name or type(block).__name__}' adds its input to its output", expected="a chain without shortcuts",
            fix="build it with residual=False and train it again",
        )  # fmt: skip
    _add_causal(chain, _join(name, "temporal"), block.temporal)
    for child in ("pointwise1", "norm1", "neuron1", "spatial", "pointwise2", "norm2", "neuron2"):
        layer = getattr(block, child)
        if isinstance(layer, nn.Conv3d):
            _add_causal(chain, _join(name, child), layer)
        elif isinstance(layer, nn.BatchNorm3d):
            add_norm(chain, _join(name, child), layer)
        else:
            read_module(chain, _join(name, child), layer)


def _add_causal(chain: Chain, name: str, conv: nn.Conv3d) -> None:
    """Append a convolution over the last steps, height and width; over this step alone if its kernel is that short."""
    weight, taps = copied(conv.weight), conv.kernel_size[0]
    weight = weight if taps > 1 else weight[:, :, 0]  # [O, I / groups, kH, kW]
    padding = pair(conv.padding[1:])  # type: ignore[arg-type]
    chain.add(Conv(name, weight, bias_of(conv), padding=padding, groups=conv.groups, time_taps=taps))


def _read_unet(chain: Chain, name: str, encoder: UNetEncoder) -> None:
    for i, block in enumerate(encoder.blocks):
        read_module(chain, _join(name, f"blocks.{i}"), block)
    for child in ("bottleneck", "activation"):
        read_module(chain, _join(name, child), getattr(encoder, child))
    chain.add(Flatten(_join(name, "flatten")))


def _read_windows(chain: Chain, name: str, model: WindowClassifier) -> None:
    for child in ("encoder", "lstm", "classifier"):
        layer = getattr(model, child)
        if layer is not None:
            read_module(chain, _join(name, child), layer)


LIBRARIES = ("torch.nn.", "snnfer.layers", "snnfer.neurons")
"""Modules of these are known by name or not at all; of others the forward pass is traced."""

TIME_MODULES = (
    *(Neuron, SpikingSequential, SpikingConv2d, SpikingLinear, FactorizedConv3d, VotingLayer, TimeDistributed),
    *(C3D, AUCNN3d),
)
"""A network that holds one of these reads ``[T, N, ...]``."""

READERS: dict[type, Callable[[Chain, str, Any], None]] = {
    **TORCH_MODULES,
    nn.Sequential: _read_children,
    SpikingSequential: _read_children,
    SpikingClassifier: _read_children,
    SpikingFER: _read_children,
    SpikingConv2d: _read_children,
    SpikingLinear: _read_children,
    EncoderBlock: _read_children,
    UNetEncoder: _read_unet,
    WindowClassifier: _read_windows,
    ESTClassifier: _read_windows,
    TimeDistributed: _read_distributed,
    FactorizedConv3d: _read_factorized,
    C3D: lambda chain, name, model: read_c3d(chain, name, model, read_module),
    AUCNN3d: lambda chain, name, model: read_au_cnn3d(chain, name, model, read_module),
    ConvBlock3d: lambda chain, name, block: read_relu_block(chain, name, block, read_module),
    FullConv3d: _read_children,
    nn.Conv3d: refuse_convolution,
    nn.MaxPool3d: add_volume_pool,
    nn.BatchNorm3d: add_norm,
    TimeBatchNorm2d: add_norm,
    ThresholdDependentBatchNorm2d: add_norm,
    SpikingMaxPool2d: add_max_pool,
    SpikingAvgPool2d: _read_spiking_average,
    GlobalAvgPool2d: _read_global_average,
    TimeConstantDropout: add_nothing,
    VotingLayer: lambda chain, name, layer: chain.add(Vote(name, layer.votes)),
    IF: _read_neuron,
    LIF: _read_neuron,
    PLIF: _read_neuron,
}
"""Exact classes: a subclass may do something else."""
