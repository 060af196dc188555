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
from snnfer.profiling.report import LayerOperations, OperationReport


def count_operations(model: nn.Module, x: torch.Tensor) -> OperationReport:
    """Count what `model` computes on `x`, layer by layer, in evaluation mode.

    Fan-outs are exact: a spike at the border of an image under a padded kernel reaches fewer neurons than one inside. A
    layer whose inputs are all 0 or 1 and that is called after a neuron works on spikes and costs accumulates; any other
    layer, the first one in particular, costs multiply-accumulates on its nonzero inputs. Not counted: biases, pooling,
    normalisation (which folds into the weights) and voting.

    Args:
        model: A model from ``[T, N, ...]``; its convolutions and `torch.nn.Linear` layers and `snnfer.neurons.Neuron`
            modules are found by hooks.
        x: Input ``[T, N, ...]``, at least one step and one sample.

    Returns:
        Counts per sample: the mean over the batch.

    Raises:
        ShapeError: `x` has no step or no sample, or does not fit the model.

    Examples:
        >>> from snnfer.models import create_model
        >>> model = create_model("au_snn", size=(16, 16), channels=4, hidden=32)
        >>> report = count_operations(model, torch.poisson(torch.rand(5, 2, 2, 16, 16)))
        >>> report.dense_macs == 5 * (16 * 16 * 4 * 2 * 9 + 8 * 8 * 4 * 4 * 9 + 4 * 16 * 32 + 32 * 210)
        True
    """
    if x.ndim < 2 or not x.shape[0] or not x.shape[1]:
        raise ShapeError(
            f"the input has shape {list(x.shape)}", expected="at least one step and one sample [T, N, ...]"
        )
    counter = _Counter(model)
    with evaluation(model), torch.no_grad():
        with counter.watch():
            model(x)
        with _separate_kernels(), FlopCounterMode(display=False) as flops:
            model(x)
    return counter.report(x, total_macs=flops.get_total_flops() // 2)


@contextlib.contextmanager
def _separate_kernels() -> Iterator[None]:
    """Recurrent layers and attention as single multiplications: torch's counter sees 0 in their fused kernels."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="TF32 acceleration on top of oneDNN")
            with torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH):
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
    spiking_input: bool = False


class _Counter:
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

        return hook

    def on_neuron(self, name: str, neuron: Neuron, x: torch.Tensor, y: torch.Tensor, state: Any) -> None:
        self.seen_neuron = True
        tally = self.tallies.setdefault(name, _Tally(neuron))
        tally.neuron_updates += y.numel()
        tally.spikes += 0 if isinstance(neuron, LI) else int(torch.count_nonzero(y))
        tally.state_bytes = _state_bytes(state)

    def report(self, x: torch.Tensor, *, total_macs: int) -> OperationReport:
        n_samples = x.shape[1]
        layers = tuple(_finish(name, tally, n_samples) for name, tally in self.tallies.items())
        parameters = list(self.model.parameters())
        config = getattr(self.model, "config", {})
        return OperationReport(
            model=config.get("name", type(self.model).__name__),
            n_steps=x.shape[0],
            n_samples=n_samples,
            layers=layers,
            parameters=sum(p.numel() for p in parameters),
            weight_bytes=sum(p.numel() * p.element_size() for p in parameters),
            unattributed_macs=total_macs / n_samples - sum(layer.dense_macs for layer in layers),
        )


def _finish(name: str, tally: _Tally, n_samples: int) -> LayerOperations:
    parameters = list(tally.module.parameters())
    operations = tally.operations / n_samples
    return LayerOperations(
        name=name,
        kind=type(tally.module).__name__,
        parameters=sum(p.numel() for p in parameters),
        weight_bytes=sum(p.numel() * p.element_size() for p in parameters),
        dense_macs=tally.dense_macs / n_samples,
        macs=0 if tally.spiking_input else operations,
        acs=operations if tally.spiking_input else 0,
        neuron_updates=tally.neuron_updates / n_samples,
        spikes=tally.spikes / n_samples,
        state_bytes=tally.state_bytes / n_samples,
    )


def _state_bytes(state: Any) -> int:
    if isinstance(state, torch.Tensor):
        return state.numel() * state.element_size()
    return sum(_state_bytes(part) for part in state) if isinstance(state, tuple | list) else 0
