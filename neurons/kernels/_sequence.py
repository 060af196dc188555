"""A spiking neuron over a whole sequence as one node of autograd, around the kernels that compute it.

The kernels see time-major, contiguous memory ``[T, M]``: a tensor is handed over with its axes in the order in which
they lie in memory, so that channels-last stays channels-last and nothing is copied.
"""

from typing import Any, Protocol

import torch
from torch.autograd.function import once_differentiable

from snnfer.neurons._dynamics import Dynamics

Order = tuple[int, ...]


class NeuronKernel(Protocol):
    """The two directions, on contiguous tensors; `rates` is a rate per neuron, where there is more than one."""

    @staticmethod
    def forward(
        x: torch.Tensor,
        v: torch.Tensor,
        rate: torch.Tensor | None,
        rates: torch.Tensor | None,
        spikes: torch.Tensor,
        potentials: torch.Tensor | None,
        last: torch.Tensor,
        dynamics: Dynamics,
    ) -> None:
        """Fill `spikes`, `potentials` before the reset (where wanted) ``[T, *]``, and the `last` potential."""
        ...

    @staticmethod
    def backward(
        potentials: torch.Tensor,
        grad_spikes: torch.Tensor,
        grad_last: torch.Tensor,
        rate: torch.Tensor | None,
        rates: torch.Tensor | None,
        v: torch.Tensor | None,
        x: torch.Tensor | None,
        grad_x: torch.Tensor,
        grad_v: torch.Tensor,
        grad_rate: torch.Tensor | None,
        dynamics: Dynamics,
    ) -> None:
        """Fill the gradients; `v` and `x` are there where that of the rate needs them."""
        ...


def spiking_sequence(
    kernel: type[NeuronKernel], x: torch.Tensor, v: torch.Tensor, rate: torch.Tensor | None, dynamics: Dynamics
) -> tuple[torch.Tensor, torch.Tensor]:
    """Spikes ``[T, N, *]`` and last potential ``[N, *]`` of the input `x` ``[T, N, *]``, started at `v`."""
    if torch.is_grad_enabled() and any(a is not None and a.requires_grad for a in (x, v, rate)):
        return _SpikingSequence.apply(kernel, x, v, rate, dynamics)  # type: ignore[return-value]
    spikes, _, last = _forward(kernel, x, v, rate, dynamics, keep=False)
    return spikes, last


class _SpikingSequence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        kernel: type[NeuronKernel],
        x: torch.Tensor,
        v: torch.Tensor,
        rate: torch.Tensor | None,
        dynamics: Dynamics,
    ) -> Any:
        spikes, potentials, last = _forward(kernel, x, v, rate, dynamics, keep=True)
        needs_rate = rate is not None and ctx.needs_input_grad[3]
        ctx.save_for_backward(
            potentials, rate, v if needs_rate else None, x if needs_rate and dynamics.decay_input else None
        )
        ctx.settings = kernel, dynamics, needs_rate
        return spikes, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: torch.Tensor, grad_last: torch.Tensor) -> Any:  # type: ignore[override]
        potentials, rate, v, x = ctx.saved_tensors
        kernel, dynamics, needs_rate = ctx.settings
        order = memory_order(potentials)
        h, last = arranged(potentials, order), arranged_state(grad_last, order)
        grad_x, grad_v = torch.empty_like(h), torch.empty_like(last)
        grad_rate = torch.empty_like(last) if needs_rate else None
        kernel.backward(
            h,
            arranged(grad_spikes, order),
            last,
            rate,
            _rates(rate, potentials, order),
            arranged_state(v, order) if v is not None else None,
            arranged(x, order) if x is not None else None,
            grad_x,
            grad_v,
            grad_rate,
            dynamics,
        )
        back = inverse(order)
        if grad_rate is not None:
            grad_rate = grad_rate.permute(back).sum_to_size(rate.shape)
        return None, grad_x.permute(_with_time(back)), grad_v.permute(back), grad_rate, None


def _forward(
    kernel: type[NeuronKernel],
    x: torch.Tensor,
    v: torch.Tensor,
    rate: torch.Tensor | None,
    dynamics: Dynamics,
    *,
    keep: bool,
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
    """Spikes, potentials before the reset (None unless kept) and last potential, laid out as `x`."""
    order = memory_order(x)
    current, start = arranged(x, order), arranged_state(v, order)
    spikes, last = torch.empty_like(current), torch.empty_like(start)
    potentials = torch.empty_like(current) if keep else None
    kernel.forward(current, start, rate, _rates(rate, x, order), spikes, potentials, last, dynamics)
    back = inverse(order)
    axes = _with_time(back)
    return spikes.permute(axes), potentials.permute(axes) if potentials is not None else None, last.permute(back)


def memory_order(x: torch.Tensor) -> Order:
    """Axes of the ``[N, *]`` of `x` ``[T, N, *]`` from the slowest to the fastest in memory."""
    strides = x.stride()[1:]
    return tuple(sorted(range(len(strides)), key=lambda axis: -strides[axis]))


def inverse(order: Order) -> Order:
    """The order that undoes `order`."""
    return tuple(sorted(range(len(order)), key=order.__getitem__))


def arranged(x: torch.Tensor, order: Order) -> torch.Tensor:
    """A sequence ``[T, N, *]`` with its axes in `order`, contiguous; not copied where it lies so already."""
    return x.permute(_with_time(order)).contiguous()


def arranged_state(v: torch.Tensor, order: Order) -> torch.Tensor:
    """A state ``[N, *]`` likewise."""
    return v.permute(order).contiguous()


def _with_time(order: Order) -> Order:
    return 0, *(axis + 1 for axis in order)


def _rates(rate: torch.Tensor | None, x: torch.Tensor, order: Order) -> torch.Tensor | None:
    """A rate per neuron, where there is more than one."""
    return None if rate is None or rate.numel() == 1 else arranged_state(rate.expand(x.shape[1:]), order)
