"""Totals in the two conventions that papers quote: true multiply-accumulates, and what the package thop prints."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from snnfer.profiling._synapses import CONVOLUTIONS, TRANSPOSED
from snnfer.profiling.operations import check_input, evaluation, flop_count

Rule = Callable[[Any, torch.Tensor, torch.Tensor], int]
"""Operations of a call from the module, its input and its output."""


def flop_totals(model: nn.Module, x: torch.Tensor) -> float:
    """True multiply-accumulates of `model` per sample: half of what torch's FLOP counter sees.

    Convolutions (padding included), linear layers, recurrent layers and the matrix products of attention; no biases,
    normalisation, pooling or activation. fvcore counts the same operations.

    Args:
        model: A model from ``[T, N, ...]``.
        x: Input ``[T, N, ...]``.

    Raises:
        ShapeError: `x` has no step or no sample, or does not fit the model.

    Examples:
        >>> flop_totals(nn.Linear(4, 3), torch.zeros(5, 2, 4)) == 5 * 4 * 3
        True
    """
    check_input(x)
    with evaluation(model), torch.no_grad():
        return flop_count(model, x) / 2 / x.shape[1]


def thop_macs(model: nn.Module, x: torch.Tensor) -> float:
    r"""What the package thop prints as MACs (and many papers as FLOPs), per sample; counted here without it.

    With :math:`n` the elements of the input and :math:`m` those of the output of a layer it adds

    .. math::
        m\,\tfrac{C_\text{in}}{g} K, \quad m\,F_\text{in}, \quad 2n \;(4n \text{ affine}), \quad n, \quad m, \quad
        m\,\bigl(\textstyle\prod_d \tfrac{\text{in}_d}{\text{out}_d} + 1\bigr), \quad r\,(3s - 1)

    for convolutions, linear layers, batch, instance and layer normalisation, PReLU, average pooling, adaptive average
    pooling and softmax modules (:math:`r` rows of :math:`s` classes); RNN, GRU and LSTM layers with their biases and
    gates, upsampling modules per output; nothing for ReLU, LeakyReLU, max pooling and dropout. It sees no function that
    is not a module: the products of attention are missing. It sees no subclass of these modules either, and counts a
    call of a module that stands in two places of a model four times.

    Args:
        model: A model from ``[T, N, ...]``.
        x: Input ``[T, N, ...]``.

    Raises:
        ShapeError: `x` has no step or no sample, or does not fit the model.

    References:
        The source of thop 0.1.1 (``thop/vision/basic_hooks.py``, ``thop/rnn_hooks.py``).

    Examples:
        >>> from snnfer.layers import TimeDistributed
        >>> model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2))
        >>> thop_macs(TimeDistributed(model), torch.zeros(1, 1, 1, 5, 5)) == 25 * 2 * 9 + 4 * 50
        True
    """
    check_input(x)
    counts: dict[nn.Module, int] = {}
    handles = [
        module.register_forward_hook(_adder(counts, RULES[type(module)]), with_kwargs=True)
        for module in _places(model)
        if type(module) in RULES
    ]
    try:
        with evaluation(model), torch.no_grad():
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    return _sum_over_tree(model, counts) / x.shape[1]


def _adder(counts: dict[nn.Module, int], rule: Rule) -> Any:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], y: Any) -> None:
        x = args[0] if args else next(iter(kwargs.values()))
        counts[module] = counts.get(module, 0) + rule(module, x, y)

    return hook


def _places(module: nn.Module) -> Iterator[nn.Module]:
    """All modules below `module`, one that stands in several places several times."""
    yield module
    for child in module.children():
        yield from _places(child)


def _sum_over_tree(module: nn.Module, counts: dict[nn.Module, int]) -> int:
    if type(module) in RULES:
        return counts.get(module, 0)
    return sum(_sum_over_tree(child, counts) for child in module.children())


def _convolution(module: Any, x: torch.Tensor, y: torch.Tensor) -> int:
    return y.numel() * (x.shape[1] // module.groups) * math.prod(module.kernel_size)


def _normalisation(module: Any, x: torch.Tensor, y: torch.Tensor) -> int:
    affine = getattr(module, "affine", False) or getattr(module, "elementwise_affine", False)
    return (4 if affine else 2) * x.numel()


def _adaptive_pooling(module: Any, x: torch.Tensor, y: torch.Tensor) -> int:
    window = math.prod(size / out for size, out in zip(x.shape[2:], y.shape[2:], strict=True))
    return int((window + 1) * y.numel())


def _softmax(module: Any, x: torch.Tensor, y: torch.Tensor) -> int:
    n_classes = x.shape[module.dim]
    return x.numel() // n_classes * (3 * n_classes - 1)


def _upsampling(module: Any, x: torch.Tensor, y: torch.Tensor) -> int:
    return y.numel() * {"nearest": 1, "linear": 5, "bilinear": 11, "bicubic": 224 + 35}.get(module.mode, 0)


def _cell(kind: type[nn.Module], n_inputs: int, n_hidden: int, bias: bool) -> int:
    gate = n_hidden * (n_inputs + n_hidden) + n_hidden + (2 * n_hidden if bias else 0)
    if kind is nn.LSTM:
        return 4 * gate + 4 * n_hidden
    return 3 * gate + 4 * n_hidden if kind is nn.GRU else gate


def _recurrent(module: Any, x: torch.Tensor, y: torch.Tensor) -> int:
    directions = 2 if module.bidirectional else 1
    sizes = [module.input_size, *[directions * module.hidden_size] * (module.num_layers - 1)]
    cells = sum(_cell(type(module), size, module.hidden_size, module.bias) for size in sizes)
    return directions * cells * x.shape[0] * x.shape[1]


RULES: dict[type[nn.Module], Rule] = {
    **dict.fromkeys((*CONVOLUTIONS, *TRANSPOSED), _convolution),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.LayerNorm), _normalisation),
    **dict.fromkeys((nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), _normalisation),
    **dict.fromkeys((nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), lambda module, x, y: y.numel()),
    **dict.fromkeys((nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d), _adaptive_pooling),
    **dict.fromkeys((nn.Upsample, nn.UpsamplingBilinear2d, nn.UpsamplingNearest2d), _upsampling),
    **dict.fromkeys((nn.RNN, nn.GRU, nn.LSTM), _recurrent),
    nn.Linear: lambda module, x, y: y.numel() * module.in_features,
    nn.PReLU: lambda module, x, y: x.numel(),
    nn.Softmax: _softmax,
}
"""Rules by exact class: thop passes subclasses by."""
