"""The numbers of NeuroBench for a model of this library (extra ``neurobench``)."""

import contextlib
from typing import Any

import torch
from torch import nn

from snnfer._optional import require
from snnfer.neurons import Neuron
from snnfer.neurons._observe import observe
from snnfer.profiling.operations import check_input, evaluation


def neurobench_metrics(model: nn.Module, x: torch.Tensor) -> dict[str, float]:
    """What NeuroBench reports for `model` on `x`, per sample.

    Its hooks do not see `Neuron.forward_with_state`, through which blocks call their neurons: the outputs of neurons
    are handed to them. Its conventions differ from those of `count_operations`; ``docs/profiling.md`` says how.

    Args:
        model: A model from ``[T, N, ...]`` with sub-modules.
        x: Input ``[T, N, ...]``.

    Returns:
        ``effective_macs``, ``effective_acs`` and ``dense`` (synaptic operations per sample), ``activation_sparsity``
        (share of zeros among the outputs of neurons, ReLU and Sigmoid), ``connection_sparsity`` (share of zero
        weights), ``parameters``, ``footprint_bytes`` (parameters and buffers).

    Raises:
        MissingExtraError: NeuroBench is not installed.
        ShapeError: `x` has no step or no sample, or does not fit the model.

    References:
        Yik et al., "The NeuroBench framework for benchmarking neuromorphic computing algorithms and systems", Nature
        Communications 16, 2025.

    Examples:
        >>> neurobench_metrics(model, x)["effective_acs"]  # doctest: +SKIP
        91520.0
    """
    check_input(x)
    models = require("neurobench.models", extra="neurobench")
    workload = require("neurobench.metrics.workload", extra="neurobench")
    static = require("neurobench.metrics.static", extra="neurobench")
    with evaluation(model), torch.no_grad(), contextlib.ExitStack() as stack:
        wrapped = models.TorchModel(model)
        wrapped.add_activation_module(Neuron)
        wrapped.register_hooks()
        stack.callback(wrapped.cleanup_hooks)
        hooks = {id(hook.layer): hook for hook in wrapped.activation_hooks}

        def record(name: str, neuron: Neuron, current: torch.Tensor, y: torch.Tensor, state: Any) -> None:
            if id(neuron) in hooks:
                hooks[id(neuron)].activation_outputs.append(y)

        with observe(model, record):
            y = wrapped(x)
        for hook in wrapped.activation_hooks:
            hook.close()
        data = (x.transpose(0, 1), None)  # NeuroBench divides by the length of the first axis
        operations = workload.SynapticOperations()(wrapped, y, data)
        return {
            "effective_macs": operations["Effective_MACs"],
            "effective_acs": operations["Effective_ACs"],
            "dense": operations["Dense"],
            "activation_sparsity": workload.ActivationSparsity()(wrapped, y, data),
            "connection_sparsity": static.ConnectionSparsity()(wrapped),
            "parameters": static.ParameterCount()(wrapped),
            "footprint_bytes": static.Footprint()(wrapped),
        }
