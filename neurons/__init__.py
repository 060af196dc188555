"""Spiking neurons: pure functions over a sequence, thin modules around them, surrogate gradients.

Examples:
    >>> import torch
    >>> neuron = PLIF(init_tau=2.0)
    >>> spikes = neuron(torch.rand(10, 4, 16))  # [T, N, *], from rest
    >>> first, state = neuron.forward_with_state(torch.rand(5, 4, 16))
    >>> second, state = neuron.forward_with_state(torch.rand(5, 4, 16), state)
"""

from snnfer.neurons import functional, steps, surrogate
from snnfer.neurons._base import Neuron, create_neuron, list_neurons, register_neuron
from snnfer.neurons._observe import observe
from snnfer.neurons.integrate_and_fire import IF, LI, LIF, PLIF
from snnfer.neurons.kernels import KernelStatus, kernel_status, use_kernel
from snnfer.neurons.soft_spiking import SoftSpiking
from snnfer.neurons.surrogate import ATan, Sigmoid, SuperSpike, Surrogate, Triangle

__all__ = [
    "IF",
    "LI",
    "LIF",
    "PLIF",
    "ATan",
    "KernelStatus",
    "Neuron",
    "Sigmoid",
    "SoftSpiking",
    "SuperSpike",
    "Surrogate",
    "Triangle",
    "create_neuron",
    "functional",
    "kernel_status",
    "list_neurons",
    "observe",
    "register_neuron",
    "steps",
    "surrogate",
    "use_kernel",
]
