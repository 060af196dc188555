"""From a neuron to the kernel that runs it."""

import torch

from snnfer.errors import KernelError
from snnfer.neurons import _spiking_sequence
from snnfer.neurons._dynamics import Dynamics
from snnfer.neurons.kernels import _neuron_cpu, _sequence
from snnfer.neurons.kernels._select import chosen_kernel


def spiking_sequence(
    x: torch.Tensor, v: torch.Tensor, rate: torch.Tensor | None, dynamics: Dynamics
) -> tuple[torch.Tensor, torch.Tensor]:
    """Spikes ``[T, N, *]`` and last potential ``[N, *]`` of the input `x` ``[T, N, *]``, started at `v`."""
    kernel, insists = chosen_kernel(x)
    if kernel == "cpu":
        obstacle = _neuron_cpu.obstacle(x, dynamics)
        if not obstacle:
            return _sequence.spiking_sequence(_neuron_cpu.CompiledNeuron, x, v, rate, dynamics)
        if insists:
            raise KernelError(
                "the kernel 'cpu' cannot run this neuron", cause=obstacle, fix='take use_kernel("reference")'
            )
    return _spiking_sequence.spiking_sequence(x, v, rate, dynamics)
