"""The same networks in every library, written as its users write them.

All neurons are PLIF with a time constant of 2 steps, threshold 1 and a hard reset to 0; all fully connected layers have
a bias. Parameters stand in the same order everywhere, so that `copy_weights` can go through them.

- spikingjelly runs multi-step, layer by layer.
- norse, snnTorch: a loop over time. Their batch normalisation sees one step at a time in training.
- norse's box model halves its input (``decay_input``); a threshold of 0.5 gives the same spikes.
- sinabs runs its squeezed layers on ``[N * T, ...]``.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.speed.resnet import spikingjelly_resnet
from benchmarks.speed.workloads import N_CLASSES, VOTES, Convolution, Workload
from snnfer import create_model
from snnfer.layers import SpikingConv2d, SpikingLinear, SpikingSequential, TimeConstantDropout, VotingLayer
from snnfer.models import SpikingClassifier
from snnfer.neurons import PLIF

DROPOUT = 0.2


def build(library: str, workload: Workload) -> nn.Module:
    """The network of a workload, ``[T, N, C, H, W]`` to scores ``[N, classes]``, in one library."""
    return _BUILDERS[workload.kind][library](workload)


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Give `target` the weights and running statistics of `source`; time constants stay at 2 steps everywhere."""
    with torch.no_grad():
        for a, b in zip(_values(source), _values(target), strict=True):
            if a.shape != b.shape:
                raise ValueError(f"a parameter of shape {list(a.shape)} meets one of shape {list(b.shape)}")
            b.copy_(a)


def _values(network: nn.Module) -> Iterator[torch.Tensor]:
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
            yield from module.parameters(recurse=False)
            yield from (buffer for buffer in module.buffers(recurse=False) if buffer.ndim)


def _blocks(workload: Workload) -> Iterator[tuple[int, Convolution]]:
    """Input channels and description of every convolution."""
    before = workload.channels
    for block in workload.convolutions:
        yield before, block
        before = block.channels


def _convolution(before: int, block: Convolution, conv: Callable[..., nn.Module] = nn.Conv2d) -> nn.Module:
    return conv(before, block.channels, block.kernel, stride=block.stride, padding=block.kernel // 2, bias=False)


# snnfer


def snnfer_chain(workload: Workload) -> nn.Module:
    """snnfer's layers; au_snn is exactly this chain."""
    if workload.name == "au_snn":
        return create_model("au_snn", size=(workload.size, workload.size))
    layers: list[nn.Module] = [
        SpikingConv2d(before, block.channels, kernel_size=block.kernel, stride=block.stride, pool=block.pool)
        for before, block in _blocks(workload)
    ]
    layers += [nn.Flatten(2), TimeConstantDropout(DROPOUT), SpikingLinear(workload.features, workload.hidden)]
    layers += [TimeConstantDropout(DROPOUT), SpikingLinear(workload.hidden, N_CLASSES * VOTES), VotingLayer(VOTES)]
    return SpikingClassifier(SpikingSequential(*layers), in_channels=2, size=(workload.size, workload.size))


def snnfer_spiking_fer(workload: Workload) -> nn.Module:
    """The registered model."""
    return create_model("spiking_fer", n_classes=N_CLASSES, size=(workload.size, workload.size), n_steps=workload.steps)


# spikingjelly


class SpikingJelly(nn.Module):
    """A multi-step network that forgets before every batch; mean over time."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        from spikingjelly.activation_based import functional

        functional.set_step_mode(network, "m")
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        from spikingjelly.activation_based import functional

        functional.reset_net(self.network)
        return self.network(x).mean(0)


class SpikingJellyNeuron(SpikingJelly):
    """A neuron that forgets before every batch; all steps."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        from spikingjelly.activation_based import functional

        functional.reset_net(self.network)
        return self.network(x)


def spikingjelly_plif() -> nn.Module:
    """spikingjelly's PLIF with the settings of the paper."""
    from spikingjelly.activation_based import neuron, surrogate

    return neuron.ParametricLIFNode(decay_input=False, detach_reset=True, surrogate_function=surrogate.ATan())


def spikingjelly_chain(workload: Workload) -> nn.Module:
    """spikingjelly's layers."""
    from spikingjelly.activation_based import layer

    layers: list[Any] = []
    for before, block in _blocks(workload):
        layers += [_convolution(before, block, layer.Conv2d), layer.BatchNorm2d(block.channels), spikingjelly_plif()]
        layers += [layer.MaxPool2d(block.pool)] if block.pool > 1 else []
    layers += [layer.Flatten(), layer.Dropout(DROPOUT), layer.Linear(workload.features, workload.hidden)]
    layers += [spikingjelly_plif(), layer.Dropout(DROPOUT), layer.Linear(workload.hidden, N_CLASSES * VOTES)]
    return SpikingJelly(nn.Sequential(*layers, spikingjelly_plif(), layer.VotingLayer(VOTES)))


# norse


class NorseChain(nn.Module):
    """norse's layers in a loop over time."""

    def __init__(self, workload: Workload) -> None:
        super().__init__()
        from norse.torch import SequentialState

        layers: list[nn.Module] = []
        for before, block in _blocks(workload):
            layers += [_convolution(before, block), nn.BatchNorm2d(block.channels), norse_plif()]
            layers += [nn.MaxPool2d(block.pool)] if block.pool > 1 else []
        layers += [nn.Flatten(), nn.Dropout(DROPOUT), nn.Linear(workload.features, workload.hidden), norse_plif()]
        layers += [nn.Dropout(DROPOUT), nn.Linear(workload.hidden, N_CLASSES * VOTES), norse_plif()]
        self.network = SequentialState(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _votes(_over_time(self.network, x))


class NorseNeuron(nn.Module):
    """One cell in a loop over time."""

    def __init__(self, workload: Workload) -> None:
        super().__init__()
        self.cell = norse_plif()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _over_time(self.cell, x)


def norse_plif() -> nn.Module:
    """norse's box model with a learnable time constant of 2 steps."""
    from norse.torch import LIFBoxCell, LIFBoxParameters

    tau = nn.Parameter(torch.tensor(500.0))
    cell = LIFBoxCell(LIFBoxParameters(tau_mem_inv=tau, v_th=torch.tensor(0.5), alpha=torch.tensor(2.0)), dt=0.001)
    cell.rate = tau  # registered, so that the optimiser finds it
    return cell


def _over_time(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    outputs, state = [], None
    for step in x.unbind(0):
        y, state = network(step, state)
        outputs.append(y)
    return torch.stack(outputs)


def _votes(spikes: torch.Tensor) -> torch.Tensor:
    """Scores ``[N, classes]`` of spikes ``[T, N, classes * VOTES]``."""
    return spikes.unflatten(-1, (N_CLASSES, VOTES)).mean((0, -1))


# snnTorch


class SnnTorchChain(nn.Module):
    """snnTorch's neurons in a loop over time."""

    def __init__(self, workload: Workload) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(_convolution(before, block), nn.BatchNorm2d(block.channels))
            for before, block in _blocks(workload)
        )
        self.pools = [block.pool for block in workload.convolutions]
        self.block_neurons = nn.ModuleList(snntorch_plif() for _ in self.pools)
        self.dropout = nn.Dropout(DROPOUT)
        self.fc1, self.neuron1 = nn.Linear(workload.features, workload.hidden), snntorch_plif()
        self.fc2, self.neuron2 = nn.Linear(workload.hidden, N_CLASSES * VOTES), snntorch_plif()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        neurons: Any = [*self.block_neurons, self.neuron1, self.neuron2]
        v = [neuron.init_leaky() for neuron in neurons]
        outputs = []
        for spikes in x.unbind(0):
            for i, (block, neuron, pool) in enumerate(zip(self.blocks, self.block_neurons, self.pools, strict=True)):
                spikes, v[i] = neuron(block(spikes), v[i])
                spikes = F.max_pool2d(spikes, pool) if pool > 1 else spikes
            spikes, v[-2] = self.neuron1(self.fc1(self.dropout(spikes.flatten(1))), v[-2])
            spikes, v[-1] = self.neuron2(self.fc2(self.dropout(spikes)), v[-1])
            outputs.append(spikes)
        return _votes(torch.stack(outputs))


def snntorch_plif() -> nn.Module:
    """snnTorch's leaky neuron with a learnable decay of 0.5, reset in the step of the spike."""
    from snntorch import Leaky, surrogate

    spike = surrogate.atan(alpha=2.0)
    return Leaky(beta=0.5, learn_beta=True, reset_mechanism="zero", reset_delay=False, spike_grad=spike)


# sinabs


class SinabsChain(nn.Module):
    """sinabs' squeezed layers."""

    def __init__(self, workload: Workload) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, block in _blocks(workload):
            layers += [_convolution(before, block), nn.BatchNorm2d(block.channels), sinabs_plif(workload.batch)]
            layers += [nn.MaxPool2d(block.pool)] if block.pool > 1 else []
        layers += [nn.Flatten(), nn.Dropout(DROPOUT), nn.Linear(workload.features, workload.hidden)]
        layers += [sinabs_plif(workload.batch), nn.Dropout(DROPOUT), nn.Linear(workload.hidden, N_CLASSES * VOTES)]
        self.network = nn.Sequential(*layers, sinabs_plif(workload.batch))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        import sinabs

        sinabs.reset_states(self.network)
        spikes = self.network(x.transpose(0, 1).flatten(0, 1))  # [N * T, classes * VOTES]
        return _votes(spikes.unflatten(0, (x.shape[1], len(x))).transpose(0, 1))


def sinabs_plif(batch: int) -> nn.Module:
    """sinabs' leaky neuron with a learnable decay of exp(-1 / 1.4427) = 0.5."""
    from sinabs import activation, layers

    return layers.LIFSqueeze(
        tau_mem=1.4426950408889634, batch_size=batch, spike_fn=activation.SingleSpike,
        reset_fn=activation.MembraneReset(), surrogate_grad_fn=activation.SingleExponential(),
        train_alphas=True, norm_input=False,
    )  # fmt: skip


_BUILDERS: dict[str, dict[str, Callable[[Workload], nn.Module]]] = {
    "chain": {
        "snnfer": snnfer_chain,
        "spikingjelly": spikingjelly_chain,
        "norse": NorseChain,
        "snntorch": SnnTorchChain,
        "sinabs": SinabsChain,
    },
    "spiking_fer": {
        "snnfer": snnfer_spiking_fer,
        "spikingjelly": lambda workload: SpikingJelly(spikingjelly_resnet(N_CLASSES)),
    },
    "neuron": {
        "snnfer": lambda workload: PLIF(),
        "spikingjelly": lambda workload: SpikingJellyNeuron(spikingjelly_plif()),
        "norse": NorseNeuron,
    },
}
