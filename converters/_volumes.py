"""Networks whose layers see several steps of a clip at once, part by part, so that each says what is against it."""

from collections.abc import Callable
from typing import Any

from torch import nn

from snnfer.converters._chain import Chain
from snnfer.converters._refusals import looks_ahead, unknown
from snnfer.converters._torch_modules import add_activation, add_pool
from snnfer.errors import ConversionError
from snnfer.models.au_cnn3d import POOLED_SIZE, AUCNN3d, ConvBlock3d
from snnfer.models.c3d import C3D

ReadModule = Callable[[Chain, str, nn.Module], None]


def read_c3d(chain: Chain, name: str, model: C3D, read_module: ReadModule) -> None:
    """Stages, the means over parts of the clip, and the classifier."""
    for i, stage in enumerate(model.stages):
        for j, module in enumerate(stage.children()):
            read_module(chain, f"{_prefix(name)}stages.{i}.{j}", module)
    _join_steps(chain, f"{_prefix(name)}time_bins", model.n_bins, chain.shape[1:])
    read_module(chain, f"{_prefix(name)}classifier", model.classifier)


def read_au_cnn3d(chain: Chain, name: str, model: AUCNN3d, read_module: ReadModule) -> None:
    """Blocks, the mean over the clip, and the classifier."""
    for i, block in enumerate(model.features):
        read_module(chain, f"{_prefix(name)}features.{i}", block)
    _join_steps(chain, f"{_prefix(name)}mean", 1, POOLED_SIZE)
    read_module(chain, f"{_prefix(name)}classifier", model.classifier)


def read_relu_block(chain: Chain, name: str, block: ConvBlock3d, read_module: ReadModule) -> None:
    """Convolution, normalisation, ReLU, pooling."""
    read_module(chain, f"{name}.conv", block.conv)
    read_module(chain, f"{name}.norm", block.norm)
    add_activation(chain, f"{name}.relu", 0.0)
    read_module(chain, f"{name}.pool", block.pool)


def add_volume_pool(chain: Chain, name: str, pool: nn.MaxPool3d) -> None:
    """A pooling over time and space, where its window is of one step.

    Raises:
        ConversionError: it is of more.
    """
    window, stride, padding = (_triple(value) for value in (pool.kernel_size, pool.stride, pool.padding))
    if (window[0], stride[0], padding[0]) != (1, 1, 0):
        raise unknown(name, pool)
    add_pool(chain, name, "max", window[1:], stride[1:], padding[1:], dilation=_triple(pool.dilation)[1:],
             ceil_mode=pool.ceil_mode, return_indices=pool.return_indices)  # fmt: skip


def refuse_convolution(chain: Chain, name: str, conv: nn.Module) -> None:
    """Raise `ConversionError`: outside of a causal block, a convolution over time sees later steps."""
    raise looks_ahead(name, conv)


def _join_steps(chain: Chain, name: str, n_bins: int, size: tuple[int, ...]) -> None:
    features = chain.shape[0] * n_bins
    for extent in size:
        features *= extent
    error = ConversionError(
        f"'{name}' joins the steps of a clip",
        expected="scores of single steps, which are read out at the end",
        cause="a mean over time inside the network needs the whole clip",
        fix="end the network with a vote, as au_snn",
    )
    chain.refuse_as(name, "mean over time", error, (features,))


def _prefix(name: str) -> str:
    return f"{name}." if name else ""


def _triple(value: Any) -> tuple[int, int, int]:
    return (value, value, value) if isinstance(value, int) else tuple(value)
