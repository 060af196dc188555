"""Watching the neurons of a model while it runs."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from snnfer.neurons._base import Neuron

Callback = Callable[[str, Neuron, torch.Tensor, torch.Tensor, Any], None]


@contextlib.contextmanager
def observe(model: nn.Module, callback: Callback) -> Iterator[None]:
    """Call `callback` after every call of a neuron inside `model`, while the context lasts.

    Torch's forward hooks do not see `Neuron.forward_with_state`, through which blocks call their neurons; this does. In
    evaluation mode `snnfer.layers.SpikingSequential` runs step by step, so that a neuron is called once per step.

    Args:
        model: Any module.
        callback: Called as ``callback(name, neuron, input, output, state)``; `name` as in ``model.named_modules()``,
            input and output ``[t, N, *]``, the state after the call.

    Examples:
        >>> from snnfer.neurons import IF
        >>> counts = []
        >>> with observe(nn.Sequential(IF()), lambda name, neuron, x, y, state: counts.append((name, y.sum().item()))):
        ...     _ = nn.Sequential(IF())(torch.ones(3, 1))  # another model: not observed
        >>> counts
        []
        >>> model = nn.Sequential(IF())
        >>> with observe(model, lambda name, neuron, x, y, state: counts.append((name, y.sum().item()))):
        ...     _ = model(torch.ones(3, 1))
        >>> counts
        [('0', 3.0)]
    """
    with contextlib.ExitStack() as stack:
        for name, module in model.named_modules():
            if isinstance(module, Neuron):
                stack.callback(_restore, module, module.__dict__.get("forward_with_state"))
                module.__dict__["forward_with_state"] = _watched(name, module, callback)
        yield


def _watched(name: str, neuron: Neuron, callback: Callback) -> Callable[..., Any]:
    original = neuron.forward_with_state

    def forward_with_state(x: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        y, state = original(x, state)
        callback(name, neuron, x, y, state)
        return y, state

    return forward_with_state


def _restore(neuron: Neuron, previous: Any) -> None:
    if previous is None:
        del neuron.__dict__["forward_with_state"]
    else:
        neuron.__dict__["forward_with_state"] = previous
