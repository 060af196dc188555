"""A spiking block that keeps its input and computes everything else again, a few steps at a time, for the gradients."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.utils import _pytree as pytree

from snnfer.layers._block import _is_watched, _update
from snnfer.layers._streaming import apply_with_state
from snnfer.layers.norm import ThresholdDependentBatchNorm2d, TimeBatchNorm2d
from snnfer.layout import merge_time, split_time


class Stages(NamedTuple):
    """The parts of a block, in their order."""

    conv: nn.Module
    norm: nn.Module
    neuron: nn.Module
    pool: nn.Module


class _Statistics(NamedTuple):
    """Of a convolution over all steps: number of values per channel, mean and biased variance ``[C]`` in float64."""

    count: int
    mean: torch.Tensor
    variance: torch.Tensor


def can_recompute(stages: Stages) -> bool:
    """Whether the block is known to give the same when it is computed in parts and several times."""
    norm = type(stages.norm) in (TimeBatchNorm2d, ThresholdDependentBatchNorm2d, nn.Identity)
    return norm and not _is_watched(stages)


def recomputed(stages: Stages, x: torch.Tensor, state: Any, every: int) -> tuple[torch.Tensor, Any]:
    """Output and last state of a block, `every` steps at a time.

    Batch statistics are those of all steps: a pass over the sequence gathers them before the next one uses them, and
    the gradients pass through them.

    Args:
        stages: Parts of the block.
        x: ``[T, N, C, H, W]``.
        state: Of the neuron before the first step; None: at rest.
        every: Steps at a time.
    """
    tensors, structure = pytree.tree_flatten(state)
    run = _Run(stages, structure, every)
    parameters = [p for module in stages for p in module.parameters()]
    out, *last = _Recomputed.apply(run, len(tensors), x, *tensors, *parameters)  # type: ignore[misc]
    return out, pytree.tree_unflatten(last, run.last_structure)


class _Run:
    """One call of a block, in parts."""

    last_structure: Any

    def __init__(self, stages: Stages, structure: Any, every: int) -> None:
        self.stages, self.every, self.first_structure = stages, every, structure
        self.of_batch = isinstance(stages.norm, TimeBatchNorm2d) and (
            stages.norm.training or stages.norm.running_mean is None
        )
        self.parameters = [p for module in stages for p in module.parameters()]

    def statistics(self, x: torch.Tensor) -> _Statistics:
        """Of the convolution of all steps."""
        parts = []
        for chunk in x.split(self.every):
            current = self.stages.conv(merge_time(chunk))  # [t * N, C, H, W]
            values = current.float() if current.dtype in (torch.float16, torch.bfloat16) else current
            variance, mean = torch.var_mean(values, (0, 2, 3), correction=0)
            parts.append(torch.stack([torch.full_like(mean, current.numel() // len(mean)), mean, variance]).double())
        counts, means, variances = torch.stack(parts).unbind(1)  # [chunks, C]
        count = counts.sum(0)
        mean = (counts * means).sum(0) / count
        return _Statistics(int(count[0]), mean, (counts * (variances + (means - mean).square())).sum(0) / count)

    def chunk(
        self,
        x: torch.Tensor,
        state: Any,
        statistics: _Statistics | None,
        affine: tuple[torch.Tensor, torch.Tensor] | None,
    ) -> tuple[torch.Tensor, Any]:
        """Output and state of some steps, with the statistics of all."""
        current = self.stages.conv(merge_time(x))
        if statistics is None or affine is None:
            current = self.stages.norm(split_time(current, len(x)))
        else:
            mean, variance = (value.to(affine[0].dtype) for value in statistics[1:])
            normalised = F.batch_norm(current, mean, variance, *affine, False, 0.0, self.stages.norm.eps)  # type: ignore[arg-type]
            current = split_time(normalised, len(x))
        spikes, state = apply_with_state(self.stages.neuron, current, state)
        return self.stages.pool(spikes), state

    def affine(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Scale and offset of the normalisation, also where it has none: their gradients are needed as sums."""
        if not self.of_batch:
            return None
        norm: Any = self.stages.norm
        if norm.weight is not None:
            return norm.weight, norm.bias
        parameter = next(iter(self.stages.conv.parameters()))
        ones = torch.ones(norm.num_features, dtype=parameter.dtype, device=parameter.device)
        return ones.requires_grad_(), torch.zeros_like(ones).requires_grad_()


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, run: _Run, n_states: int, x: torch.Tensor, *tensors: torch.Tensor) -> Any:
        state = pytree.tree_unflatten(list(tensors[:n_states]), run.first_structure)
        statistics = run.statistics(x) if run.of_batch else None
        norm: Any = run.stages.norm
        if statistics and norm.training and norm.running_mean is not None:
            _update(norm, statistics.mean, statistics.variance * statistics.count / (statistics.count - 1))
        outputs, states = [], []
        for chunk in x.split(run.every):
            states.append(state)
            output, state = run.chunk(chunk, state, statistics, run.affine())
            outputs.append(output)
        last, run.last_structure = pytree.tree_flatten(state)
        ctx.run, ctx.n_states, ctx.statistics, ctx.autocast = run, n_states, statistics, _autocast(x)
        between = [pytree.tree_flatten(state) for state in states]
        ctx.structures = [(len(values), structure) for values, structure in between]
        ctx.save_for_backward(x, *(value for values, _ in between for value in values))
        return (torch.cat(outputs), *(value.clone() for value in last))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor, *grad_last: torch.Tensor) -> Any:  # type: ignore[override]
        run: _Run = ctx.run
        x, *values = ctx.saved_tensors
        wanted = [p for p in run.parameters if p.requires_grad]
        with torch.enable_grad(), ctx.autocast():
            sums = _Sums(wanted, x if ctx.needs_input_grad[2] else None)
            grad_state = list(grad_last)
            affine = run.affine()
            moments = [torch.zeros_like(value) for value in affine or ()]
            for start, chunk, grad_chunk in _backwards(x, grad, run.every):
                n_values, structure = ctx.structures[start // run.every]
                values, before = values[: len(values) - n_values], values[len(values) - n_values :]
                before = [None if value is None else value.detach().requires_grad_() for value in before]
                state = pytree.tree_unflatten(list(before), structure)
                part = chunk.detach().requires_grad_(ctx.needs_input_grad[2])
                output, after = run.chunk(part, state, ctx.statistics, affine)
                outputs = [output, *pytree.tree_leaves(after)]
                found = _gradients(outputs, [grad_chunk, *grad_state], [part, *before, *(affine or ()), *wanted])
                sums.add(start, found[0], found[1 + len(before) + len(moments) :])
                grad_state = found[1 : 1 + len(before)]
                for moment, value in zip(moments, found[1 + len(before) :], strict=False):
                    moment += 0 if value is None else value
            if affine is not None:
                _through_statistics(run, x, ctx.statistics, affine[0], moments, sums)
        states = iter(grad_state)
        first = [next(states) for _ in range(ctx.n_states)]
        parameters = iter(sums.parameters)
        return None, None, sums.x, *first, *(next(parameters) if p.requires_grad else None for p in run.parameters)


class _Sums:
    """Gradients of the whole sequence, gathered from its parts."""

    def __init__(self, parameters: list[nn.Parameter], x: torch.Tensor | None) -> None:
        self.parameters = [torch.zeros_like(p) for p in parameters]
        self.x = None if x is None else torch.zeros_like(x)

    def add(self, start: int, x: torch.Tensor | None, parameters: list[torch.Tensor | None]) -> None:
        """Add the gradients of a part that begins at step `start`."""
        if self.x is not None and x is not None:
            self.x[start : start + len(x)] += x
        for total, gradient in zip(self.parameters, parameters, strict=True):
            if gradient is not None:
                total += gradient


def _through_statistics(
    run: _Run, x: torch.Tensor, statistics: _Statistics, weight: torch.Tensor, moments: list[torch.Tensor], sums: _Sums
) -> None:
    r"""Add what reaches the convolution c through mean and variance.

    .. math:: -\frac{\gamma}{n\,\sigma} \Big( \sum g + \hat{c} \sum g\,\hat{c} \Big)
    """
    spread = (statistics.variance + run.stages.norm.eps).rsqrt()  # type: ignore[operator]
    factor = -weight.detach().double() * spread / statistics.count
    along, own = (moment.double() for moment in moments)
    slope = (factor * along * spread).view(1, -1, 1, 1)
    offset = (factor * own).view(1, -1, 1, 1) - slope * statistics.mean.view(1, -1, 1, 1)
    wanted = [p for p in run.parameters if p.requires_grad]
    for start in range(0, len(x), run.every):
        part = x[start : start + run.every].detach().requires_grad_(sums.x is not None)
        current = run.stages.conv(merge_time(part))
        grad = current.detach() * slope.to(current.dtype) + offset.to(current.dtype)
        found = _gradients([current], [grad], [part, *wanted])
        sums.add(start, found[0], found[1:])


def _gradients(
    outputs: list[torch.Tensor], grads: list[torch.Tensor | None], inputs: list[torch.Tensor | None]
) -> list[torch.Tensor | None]:
    """Gradients of those inputs that take one; None of the others."""
    pairs = [(o, g) for o, g in zip(outputs, grads, strict=True) if o.requires_grad and g is not None]
    differentiable = [value for value in inputs if value is not None and value.requires_grad]
    if not pairs or not differentiable:
        return [None] * len(inputs)
    found = iter(torch.autograd.grad([o for o, _ in pairs], differentiable, [g for _, g in pairs], allow_unused=True))
    return [next(found) if value is not None and value.requires_grad else None for value in inputs]


def _backwards(x: torch.Tensor, grad: torch.Tensor, every: int) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
    """First step, input and output gradient of each part, from the last to the first."""
    for start in reversed(range(0, len(x), every)):
        yield start, x[start : start + every], grad[start : start + every]


def _autocast(x: torch.Tensor) -> Callable[[], AbstractContextManager[Any]]:
    """What gives back the automatic mixed precision of now."""
    kind = x.device.type
    if hasattr(torch, "get_autocast_dtype"):
        dtype, enabled = torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
    elif kind == "cuda":  # torch 2.3
        dtype, enabled = torch.get_autocast_gpu_dtype(), torch.is_autocast_enabled()
    else:
        dtype, enabled = torch.get_autocast_cpu_dtype(), torch.is_autocast_cpu_enabled()
    return lambda: torch.autocast(kind, dtype=dtype, enabled=enabled)
