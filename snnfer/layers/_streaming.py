"""Streaming: which modules have a state, and how a chain of modules passes it on."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from snnfer.errors import ConfigError, ShapeError, StateError

WITHOUT_TIME = {
    *(nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.InstanceNorm2d, nn.GroupNorm),
    *(nn.MaxPool1d, nn.AvgPool1d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool2d),
}
"""Layers of torch on ``[N, C, ...]``: of ``[T, N, ...]`` they refuse the dimensions, or take the batch for channels."""


@runtime_checkable
class Streaming(Protocol):
    """A module that can go on from a state: `snnfer.neurons.Neuron`, the spiking blocks, `SpikingSequential`."""

    def forward_with_state(self, x: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        """Output and the state after the last step; `state` None means rest."""
        ...


def apply_with_state(module: nn.Module, x: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
    """Apply `module`; one without memory has the state None."""
    if isinstance(module, Streaming):
        return module.forward_with_state(x, state)
    if hasattr(module, "_memories"):  # would take time for a batch, and remember the last clip
        raise StateError(
            f"{type(module).__name__} of spikingjelly keeps a memory between calls",
            expected="a module that starts every sequence from rest",
            fix="wrap it with snnfer.neurons.adapters.from_spikingjelly",
        )
    if isinstance(module, nn.Sequential) and any(isinstance(member, Streaming) for member in module.modules()):
        raise StateError(
            f"{type(module).__name__} around layers with a state",
            expected="a chain that passes their states on",
            cause="it would start them from rest in every chunk",
            fix="make it a snnfer.layers.SpikingSequential",
        )
    if type(module) in WITHOUT_TIME:  # not their subclasses, which may know about time
        _refuse(module)
    return module(x), None


def _refuse(module: nn.Module) -> None:
    name = f"nn.{type(module).__name__}"
    own = "TimeBatchNorm2d(...)" if isinstance(module, nn.BatchNorm2d) else f"TimeDistributed({name}(...))"
    raise ConfigError(
        f"{name} directly in a chain over time",
        expected="layers on [T, N, ...]",
        cause=f"{name} of torch has no time dimension",
        fix=f"snnfer.layers.{own}",
    )


def run_by_step(
    function: Callable[[torch.Tensor, Any], tuple[torch.Tensor, Any]], x: torch.Tensor, state: Any = None
) -> tuple[torch.Tensor, Any]:
    """Apply `function`, from ``[T, N, ...]`` and a state to the same, to one step after the other.

    Whatever the chunk that a step comes in, it is computed alone and has the same bits.
    """
    outputs = []
    for step in x.split(1):
        output, state = function(step, state)
        outputs.append(output)
    return torch.cat(outputs), state


def _run_members(
    members: Sequence[nn.Module], x: torch.Tensor, states: Sequence[Any]
) -> tuple[torch.Tensor, tuple[Any, ...]]:
    after = []
    for module, state in zip(members, states, strict=True):
        x, new_state = apply_with_state(module, x, state)
        after.append(new_state)
    return x, tuple(after)


class SpikingSequential(nn.Sequential):
    """A chain of modules on ``[T, N, ...]`` that passes the states of its members on.

    In training mode every member sees the whole sequence at once, so that normalisation layers use the statistics of
    all steps. In evaluation mode the chain runs step by step: the memory does not grow with the number of steps, and
    any cut of a sequence into chunks gives the same bits, although matrix products round differently for different
    batch sizes. Members are therefore called once per step, with a sequence of one step.

    Args:
        *modules: Modules from ``[T, N, ...]`` to ``[T, N, ...]``, or one ordered dictionary of them.

    Shape:
        - Input, output: :math:`(T, N, ...)`, at least one step.

    Raises:
        ConfigError: a member is a layer of torch without time, such as `torch.nn.Conv2d`.
        ShapeError: the sequence has no steps.
        StateError: the state belongs to a chain of another length.

    Examples:
        >>> from snnfer.neurons import LIF
        >>> chain = SpikingSequential(nn.Linear(4, 3), LIF()).eval()
        >>> x = torch.rand(6, 2, 4)
        >>> first, state = chain.forward_with_state(x[:1])
        >>> rest, state = chain.forward_with_state(x[1:], state)
        >>> torch.equal(torch.cat([first, rest]), chain(x))
        True
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_with_state(x)[0]

    def forward_with_state(
        self, x: torch.Tensor, state: tuple[Any, ...] | None = None
    ) -> tuple[torch.Tensor, tuple[Any, ...]]:
        """Output ``[T, N, ...]`` and the states of all members after the last step."""
        if not len(x):
            raise ShapeError(f"the input has shape {list(x.shape)}", expected="at least one time step [T, N, ...]")
        states = self._split_state(state)
        y, after = self._run_head(x, states)
        rest = list(self)[len(after) :]
        if not rest:
            return y, tuple(after)

        def run_rest(x: torch.Tensor, state: Any) -> tuple[torch.Tensor, tuple[Any, ...]]:
            return _run_members(rest, x, state)

        before = states[len(after) :]
        y, others = run_rest(y, before) if self.training or len(y) == 1 else run_by_step(run_rest, y, before)
        return y, (*after, *others)

    def _run_head(self, x: torch.Tensor, states: tuple[Any, ...]) -> tuple[torch.Tensor, tuple[Any, ...]]:
        """Output and states of the first members where a kernel stands in for them; otherwise of none."""
        from snnfer.layers._fused import run_head  # which knows the layers that use this module

        found = run_head(list(self), x, states, training=self.training)
        return (x, ()) if found is None else (found[0], tuple(found[1]))

    def _split_state(self, state: tuple[Any, ...] | None) -> tuple[Any, ...]:
        if state is None:
            return (None,) * len(self)
        if not isinstance(state, tuple) or len(state) != len(self):
            found = f"{len(state)} entries" if isinstance(state, tuple) else type(state).__name__
            raise StateError(
                f"a state of {found} for a chain of {len(self)} modules",
                cause="the state of another model",
                fix="pass state=None to start from rest",
            )
        return state
