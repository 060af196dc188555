"""Exact operation counts of a model on given inputs."""

import contextlib
import dataclasses
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from snnfer.errors import ShapeError
from snnfer.neurons import LI, Neuron
from snnfer.neurons._observe import observe
from snnfer.profiling._synapses import WEIGHTED, dense_macs, is_binary, nonzero_operations
from snnfer.profiling.report import LayerOperations, OperationReport, mean_report


def count_operations(model: nn.Module, x: torch.Tensor) -> OperationReport:
    """Count what `model` computes on `x`, layer by layer, in evaluation mode.

    Fan-outs are exact: a spike at the border of an image under a padded kernel reaches fewer neurons than one inside. A
    layer whose inputs are all 0 or 1 and that is called after a neuron works on spikes and costs accumulates; any other
    layer, the first one and those behind soft spiking neurons in particular, costs multiply-accumulates on its nonzero
    inputs. Not counted: biases, pooling, normalisation (which folds into the weights) and voting.

    Each sample runs alone, so that no count depends on the batch it came in.

    Args:
        model: A model from ``[T, N, ...]``; its convolutions and `torch.nn.Linear` layers and `snnfer.neurons.Neuron`
            modules are found by hooks.
        x: Input ``[T, N, ...]``, at least one step and one sample.

    Returns:
        Counts per sample: the mean over the batch, and every sample in ``report.samples``.

    Raises:
        ShapeError: `x` has no step or no sample, or does not fit the model.

    Examples:
        >>> from snnfer.models import create_model
        >>> model = create_model("au_snn", size=(16, 16), channels=4, hidden=32)
        >>> report = count_operations(model, torch.poisson(torch.rand(5, 2, 2, 16, 16)))
        >>> report.dense_macs == 5 * (16 * 16 * 4 * 2 * 9 + 8 * 8 * 4 * 4 * 9 + 4 * 16 * 32 + 32 * 210)
        True
        >>> len(report.samples)
        2
    """
    check_input(x)
    with evaluation(model), torch.no_grad():
        return mean_report([_count_sample(model, sample) for sample in x.split(1, dim=1)])


def _count_sample(model: nn.Module, x: torch.Tensor) -> OperationReport:
    counter = _Counter(model)
    with counter.watch():
        model(x)
    return counter.report(x, total_macs=flop_count(model, x) // 2)


def check_input(x: torch.Tensor) -> None:
    """Raise `ShapeError` unless `x` holds at least one step and one sample."""
    if x.ndim < 2 or not x.shape[0] or not x.shape[1]:
        raise ShapeError(
            f"the input has shape {list(x.shape)}", expected="at least one step and one sample [T, N, ...]"
        )


def flop_count(model: nn.Module, x: torch.Tensor) -> int:
    """What torch's FLOP counter sees of a call: 2 per multiply-accumulate, matrix products in attention included."""
    with _separate_kernels(model), FlopCounterMode(display=False) as flops:
        model(x)
    return flops.get_total_flops()


@contextlib.contextmanager
def _separate_kernels(model: nn.Module) -> Iterator[None]:
    """Recurrent layers and attention as single multiplications: torch's counter sees 0 in their fused kernels."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            if recurrent:  # the only fused kernel of oneDNN, without which convolutions are slow
                stack.enter_context(warnings.catch_warnings())
                warnings.filterwarnings("ignore", message="TF32 acceleration on top of oneDNN")
                stack.enter_context(torch.backends.mkldnn.flags(enabled=False))
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@contextlib.contextmanager
def evaluation(model: nn.Module) -> Iterator[None]:
    """Evaluation mode while the context lasts; every module gets its own mode back."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@dataclasses.dataclass
class _Tally:
    """Running sums over the calls of one layer."""

    module: nn.Module
    dense_macs: int = 0
    operations: int = 0
    neuron_updates: int = 0
    spikes: int = 0
    state_bytes: int = 0
    state_accesses: int = 0
    calls: int = 0
    inputs: int = 0
    nonzero_inputs: int = 0
    outputs: int = 0
    spiking_input: bool = False


class _Counter:
    """Watches one sample go through a model."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.tallies: dict[str, _Tally] = {}
        self.seen_neuron = False

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        """Count while the context lasts."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(observe(self.model, self.on_neuron))
            for name, module in self.model.named_modules():
                if isinstance(module, WEIGHTED):
                    handle = module.register_forward_hook(self.make_hook(name), with_kwargs=True)
                    stack.callback(handle.remove)
            yield

    def make_hook(self, name: str) -> Any:
        def hook(module: nn.Module, args: tuple[torch.Tensor, ...], kwargs: Any, y: torch.Tensor) -> None:
            x = args[0] if args else kwargs["input"]
            tally = self.tallies.get(name)
            if tally is None:
                tally = self.tallies[name] = _Tally(module, spiking_input=self.seen_neuron)
            tally.spiking_input = tally.spiking_input and is_binary(x)
            tally.dense_macs += dense_macs(module, x, y)
            tally.operations += nonzero_operations(module, x)
            tally.calls += 1
            tally.inputs += x.numel()
            tally.nonzero_inputs += int(torch.count_nonzero(x))
            tally.outputs += y.numel()

        return hook

    def on_neuron(self, name: str, neuron: Neuron, x: torch.Tensor, y: torch.Tensor, state: Any) -> None:
        self.seen_neuron = True
        tally = self.tallies.setdefault(name, _Tally(neuron))
        tally.neuron_updates += y.numel()
        tally.spikes += 0 if isinstance(neuron, LI) else int(torch.count_nonzero(y))
        parts = list(_state_tensors(state))
        tally.state_bytes = sum(part.numel() * part.element_size() for part in parts)
        tally.state_accesses += 2 * y.shape[0] * sum(part.numel() for part in parts)

    def report(self, x: torch.Tensor, *, total_macs: int) -> OperationReport:
        layers = tuple(_finish(name, tally) for name, tally in self.tallies.items())
        parameters = list(self.model.parameters())
        config = getattr(self.model, "config", {})
        return OperationReport(
            model=config.get("name", type(self.model).__name__),
            n_steps=x.shape[0],
            n_samples=1,
            layers=layers,
            parameters=sum(p.numel() for p in parameters),
            weight_bytes=sum(p.numel() * p.element_size() for p in parameters),
            unattributed_macs=total_macs - sum(layer.dense_macs for layer in layers),
        )


def _finish(name: str, tally: _Tally) -> LayerOperations:
    parameters = list(tally.module.parameters())
    weights = getattr(tally.module, "weight", None)
    return LayerOperations(
        name=name,
        kind=type(tally.module).__name__,
        parameters=sum(p.numel() for p in parameters),
        weight_bytes=sum(p.numel() * p.element_size() for p in parameters),
        dense_macs=tally.dense_macs,
        macs=0 if tally.spiking_input else tally.operations,
        acs=tally.operations if tally.spiking_input else 0,
        neuron_updates=tally.neuron_updates,
        spikes=tally.spikes,
        state_bytes=tally.state_bytes,
        dense_weight_reads=0 if weights is None else tally.calls * weights.numel(),
        state_accesses=tally.state_accesses,
        inputs=tally.inputs,
        nonzero_inputs=tally.nonzero_inputs,
        outputs=tally.outputs,
    )


def _state_tensors(state: Any) -> Iterator[torch.Tensor]:
    if isinstance(state, torch.Tensor):
        yield state
    elif isinstance(state, tuple | list):
        for part in state:
            yield from _state_tensors(part)
