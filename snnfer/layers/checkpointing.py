"""Training long sequences in little memory: what a block computes is not kept but computed again."""

from typing import TypeVar

from torch import nn

from snnfer.errors import ConfigError
from snnfer.layers.blocks import SpikingConv2d

Model = TypeVar("Model", bound=nn.Module)


def checkpoint_over_time(model: Model, *, every: int) -> Model:
    """Let the spiking convolutions of a model compute again, for the gradients, what they do not keep.

    In training each `SpikingConv2d` keeps its input and the states of its neurons after every `every` steps. Its
    convolution, normalised currents and potentials exist for `every` steps at a time alone. Gradients are the same
    up to rounding: normalisation uses the statistics of all steps, which a pass of its own gathers before the spikes
    are computed, and gradients pass through them. Dropout and everything else outside of the blocks is computed once.
    The price is up to four convolutions forward and two backward instead of one each.

    Args:
        model: Any module that holds `SpikingConv2d`, such as `au_snn`; it is changed and returned.
        every: Steps at a time. Less memory with fewer, less overhead with more; 0 keeps everything, as at first.

    Raises:
        ConfigError: there is no such block in `model`, or `every` is below zero.

    References:
        Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016; over time: Gruslys et al., "Memory-Efficient
        Backpropagation Through Time", NeurIPS 2016.

    Examples:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> block = checkpoint_over_time(SpikingConv2d(2, 8), every=4)
        >>> x = torch.rand(10, 1, 2, 16, 16)
        >>> before = torch.autograd.grad(block(x).sum(), block.conv.weight)[0]
        >>> after = torch.autograd.grad(checkpoint_over_time(block, every=0)(x).sum(), block.conv.weight)[0]
        >>> torch.allclose(before, after, atol=1e-3)
        True
    """
    if every < 0:
        raise ConfigError(f"every = {every}", expected="a number of steps above 0, or 0 for none")
    blocks = [module for module in model.modules() if isinstance(module, SpikingConv2d)]
    if not blocks:
        raise ConfigError(
            f"checkpoint_over_time for a {type(model).__name__}",
            expected="a model with spiking convolutions (SpikingConv2d), such as au_snn",
            fix="leave train.checkpoint_every out",
        )
    for block in blocks:
        block.checkpoint_every = every
    return model
