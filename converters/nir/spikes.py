"""Spikes of snnfer models, and how near to their threshold the neurons were."""

import copy
from typing import Any, NamedTuple

import torch
from torch import nn

from snnfer.converters._evaluating import evaluating
from snnfer.neurons import LI, Neuron, observe

_NEVER = 1e30
"""A threshold that nothing reaches, so that the state after a step is the potential before the reset."""


class Origin(NamedTuple):
    """A spike that differs although all before it, in time and in the network, agree."""

    layer: str
    step: int
    sample: int
    margin: float
    """Distance of the potential from the threshold, as a share of the threshold's own distance from rest."""


def spikes_of(model: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Spikes ``[T, N, *]`` of all neurons of a model in evaluation mode, by their names in it."""
    steps: dict[str, list[torch.Tensor]] = {}

    def record(name: str, neuron: Neuron, _input: torch.Tensor, output: torch.Tensor, _state: Any) -> None:
        if not isinstance(neuron, LI):
            steps.setdefault(name, []).append(output.bool().cpu())

    with evaluating(model), torch.inference_mode(), observe(model, record):
        model(x)
    return {name: torch.cat(outputs) for name, outputs in steps.items()}


def find_origins(model: nn.Module, x: torch.Tensor, different: dict[str, torch.Tensor]) -> tuple[Origin, ...]:
    """The first spikes that differ in each sample, each with its margin in `model`.

    Args:
        model: The network.
        x: Its input ``[T, N, C, H, W]``.
        different: Where the spikes of its neurons differ from those of another one, ``[T, N, *]``, by the names of the
            neurons, from input to output.
    """
    firsts: dict[tuple[str, int], list[int]] = {}
    for sample in range(x.shape[1]):
        where = [(int(mask[:, sample].flatten(1).any(1).int().argmax()), i, name)
                 for i, (name, mask) in enumerate(different.items()) if mask[:, sample].any()]  # fmt: skip
        if where:
            step, _, name = min(where)
            firsts.setdefault((name, step), []).append(sample)
    origins: list[Origin] = []
    seen: dict[str, int] = {}
    before: dict[str, torch.Tensor] = {}

    def record(name: str, neuron: Any, current: torch.Tensor, _output: torch.Tensor, state: Any) -> None:
        first = seen.get(name, 0)
        seen[name] = first + len(current)
        for i in range(len(current)):
            for sample in firsts.get((name, first + i), ()):
                potential = _potential(neuron, current[: i + 1], before.get(name))[sample]
                margins = (potential - neuron.v_threshold).abs() / abs(neuron.v_threshold - neuron.v_reset)
                mask = different[name][first + i, sample].to(margins.device)
                origins.extend(Origin(name, first + i, sample, m) for m in margins[mask].tolist())
        before[name] = state

    with evaluating(model), torch.inference_mode(), observe(model, record):
        model(x)
    return tuple(origins)


def _potential(neuron: Neuron, current: torch.Tensor, state: torch.Tensor | None) -> torch.Tensor:
    """Potential ``[N, *]`` that the last step of `current` leads to, before it is compared and reset."""
    if len(current) > 1:
        state = type(neuron).forward_with_state(neuron, current[:-1], state)[1]
    probe = copy.copy(neuron)
    probe.__dict__ = {**neuron.__dict__, "v_threshold": _NEVER}
    return type(neuron).forward_with_state(probe, current[-1:], state)[1]
