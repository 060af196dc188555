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
    name, insists = chosen_kernel(x)
    if name == "reference":
        return _spiking_sequence.spiking_sequence(x, v, rate, dynamics)
    obstacle, kernel = _compiled(x, dynamics) if name == "cpu" else _on_cuda(x, dynamics)
    if not obstacle:
        return _sequence.spiking_sequence(kernel, x, v, rate, dynamics)
    if insists:
        raise KernelError(
            f"the kernel '{name}' cannot run this neuron", cause=obstacle, fix='take use_kernel("reference")'
        )
    return _spiking_sequence.spiking_sequence(x, v, rate, dynamics)


def _compiled(x: torch.Tensor, dynamics: Dynamics) -> tuple[str, type[_sequence.NeuronKernel]]:
    return _neuron_cpu.obstacle(x, dynamics), _neuron_cpu.CompiledNeuron


def _on_cuda(x: torch.Tensor, dynamics: Dynamics) -> tuple[str, type[_sequence.NeuronKernel]]:
    from snnfer.neurons.kernels import _neuron_triton

    return _neuron_triton.obstacle(x, dynamics), _neuron_triton.TritonNeuron
