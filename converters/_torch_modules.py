"""How layers of torch become nodes."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from snnfer.converters._chain import Chain
from snnfer.converters.graph import Activation, Affine, Conv, Dense, Flatten, Pair, Pool
from snnfer.errors import ConversionError


def pair(value: int | tuple[int, ...]) -> Pair:
    """One number for height and width, or both."""
    if isinstance(value, int):
        return value, value
    height, width = value
    return height, width


def copied(tensor: torch.Tensor) -> torch.Tensor:
    """`tensor` as it is now, without gradient."""
    return tensor.detach().clone()


def bias_of(layer: nn.Linear | nn.Conv2d | nn.Conv3d) -> torch.Tensor:
    """Bias of a layer, zeros where it has none."""
    return copied(layer.bias) if layer.bias is not None else layer.weight.new_zeros(len(layer.weight)).detach()


def add_conv2d(chain: Chain, name: str, conv: nn.Conv2d) -> None:
    """Append a convolution.

    Raises:
        ConversionError: it pads with other values than zero, or not the same on both sides.
    """
    if conv.padding_mode != "zeros":
        raise ConversionError(f"'{name}' pads with '{conv.padding_mode}'", expected="padding with zeros")
    stride, dilation = pair(conv.stride), pair(conv.dilation)
    chain.add(
        Conv(name, copied(conv.weight), bias_of(conv), stride, _padding(name, conv), dilation, groups=conv.groups)
    )


def _padding(name: str, conv: nn.Conv2d) -> Pair:
    if conv.padding == "valid":
        return 0, 0
    if conv.padding != "same":
        return pair(conv.padding)  # type: ignore[arg-type]
    totals = [d * (k - 1) for d, k in zip(pair(conv.dilation), pair(conv.kernel_size), strict=True)]
    if any(total % 2 for total in totals):
        raise ConversionError(
            f"'{name}' pads one side more than the other", cause="padding='same' with an even kernel",
            fix="use an odd kernel, or a number as padding",
        )  # fmt: skip
    return totals[0] // 2, totals[1] // 2


def add_linear(chain: Chain, name: str, layer: nn.Linear) -> None:
    """Append a fully connected layer."""
    chain.add(Dense(name, copied(layer.weight), bias_of(layer)))


def add_norm(chain: Chain, name: str, norm: nn.modules.batchnorm._BatchNorm) -> None:
    """Append a batch normalisation with its running statistics.

    Raises:
        ConversionError: it has none.
    """
    if norm.running_mean is None or norm.running_var is None:
        raise ConversionError(
            f"'{name}' normalises every batch by its own statistics", expected="running statistics",
            fix="build it with track_running_stats=True and train it again",
        )  # fmt: skip
    scale = torch.rsqrt(norm.running_var + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight
    shift = -norm.running_mean * scale
    if norm.bias is not None:
        shift = shift + norm.bias
    chain.add(Affine(name, scale.detach(), shift.detach()))


def add_pool(
    chain: Chain, name: str, kind: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, **rest: Any
) -> None:
    """Append a pooling.

    Raises:
        ConversionError: it dilates, rounds up, or takes means of padding.
    """
    odd = [key for key, value in rest.items() if key in ("ceil_mode", "return_indices") and value]
    odd += ["padding"] if kind == "average" and pair(padding) != (0, 0) else []
    odd += ["dilation"] if pair(rest.get("dilation", 1)) != (1, 1) else []
    odd += ["divisor_override"] if rest.get("divisor_override") else []
    if odd:
        raise ConversionError(
            f"'{name}' pools with {odd[0]}",
            expected=f"{kind} pooling with a window"
            f"{' and a stride alone' if kind == 'average' else ', a stride and padding alone'}",
        )
    window = pair(kernel_size)
    step = window if stride is None or stride == [] else pair(stride)
    if (window, step) != ((1, 1), (1, 1)):
        chain.add(Pool(name, kind, window, step, pair(padding)))


def add_max_pool(chain: Chain, name: str, pool: nn.MaxPool2d) -> None:
    """Append a max pooling."""
    add_pool(
        chain, name, "max", pool.kernel_size, pool.stride, pool.padding, dilation=pool.dilation,
        ceil_mode=pool.ceil_mode, return_indices=pool.return_indices,
    )  # fmt: skip


def add_average_pool(chain: Chain, name: str, pool: nn.AvgPool2d) -> None:
    """Append an average pooling."""
    add_pool(
        chain, name, "average", pool.kernel_size, pool.stride, pool.padding, ceil_mode=pool.ceil_mode,
        divisor_override=pool.divisor_override,
    )  # fmt: skip


def add_adaptive_pool(chain: Chain, name: str, kind: Any, output_size: Any) -> None:
    """Append the pooling that makes maps of `output_size`.

    Raises:
        ConversionError: its windows overlap, because the size is no multiple.
    """
    wanted = [output_size, output_size] if isinstance(output_size, int) or output_size is None else list(output_size)
    size = chain.shape[1:]
    out = [n if w is None else w for n, w in zip(size, wanted, strict=True)]
    if any(n % o for n, o in zip(size, out, strict=True)):
        raise ConversionError(
            f"'{name}' pools maps of {size[0]} x {size[1]} to {out[0]} x {out[1]}",
            expected="a size that divides them, so that all windows are equal",
        )
    add_pool(chain, name, kind, (size[0] // out[0], size[1] // out[1]))


def add_flatten(chain: Chain, name: str, start_dim: int, end_dim: int) -> None:
    """Append a flattening of everything but batch and time.

    Raises:
        ConversionError: it joins other dimensions.
    """
    leading = 2 if chain.with_time else 1
    n_dims = leading + len(chain.shape)
    if start_dim % n_dims != leading or end_dim % n_dims != n_dims - 1:
        raise ConversionError(
            f"'{name}' flattens the dimensions {start_dim} to {end_dim}",
            expected=f"{leading} to -1, all but {'time and batch' if chain.with_time else 'the batch'}",
        )
    if len(chain.shape) > 1:
        chain.add(Flatten(name))


def add_activation(chain: Chain, name: str, negative_slope: float) -> None:
    """Append a ReLU or LeakyReLU.

    Raises:
        ConversionError: a slope outside [0, 1].
    """
    if not 0 <= negative_slope <= 1:
        raise ConversionError(f"'{name}' has a negative slope of {negative_slope}", expected="a slope from 0 to 1")
    if negative_slope < 1:
        chain.add(Activation(name, negative_slope))


def add_nothing(chain: Chain, name: str, module: nn.Module) -> None:
    """A module that does nothing in evaluation mode."""


def _add_prelu(chain: Chain, name: str, module: nn.PReLU) -> None:
    if module.num_parameters != 1:
        raise ConversionError(f"'{name}' has a slope per channel", expected="one slope for all", fix="use LeakyReLU")
    add_activation(chain, name, module.weight.item())


TORCH_MODULES: dict[type, Callable[[Chain, str, Any], None]] = {
    nn.Conv2d: add_conv2d,
    nn.Linear: add_linear,
    nn.BatchNorm1d: add_norm,
    nn.BatchNorm2d: add_norm,
    nn.MaxPool2d: add_max_pool,
    nn.AvgPool2d: add_average_pool,
    nn.AdaptiveAvgPool2d: lambda chain, name, pool: add_adaptive_pool(chain, name, "average", pool.output_size),
    nn.AdaptiveMaxPool2d: lambda chain, name, pool: add_adaptive_pool(chain, name, "max", pool.output_size),
    nn.Flatten: lambda chain, name, flatten: add_flatten(chain, name, flatten.start_dim, flatten.end_dim),
    nn.ReLU: lambda chain, name, _: add_activation(chain, name, 0.0),
    nn.LeakyReLU: lambda chain, name, module: add_activation(chain, name, module.negative_slope),
    nn.PReLU: _add_prelu,
    nn.Identity: add_nothing,
    nn.Dropout: add_nothing,
    nn.Dropout1d: add_nothing,
    nn.Dropout2d: add_nothing,
}
