"""Thresholds from calibration data: one per channel, by a percentile or by the least error of the rate code."""

import math
from typing import Literal

import torch

from snnfer.converters.graph import Activation, Graph
from snnfer.converters.run import run_graph
from snnfer.errors import ConversionError

Balancing = Literal["percentile", "local"]
N_CANDIDATES = 64
MAX_VALUES = 200_000
BATCH = 64


def calibrate(
    graph: Graph, x: torch.Tensor, *, balancing: Balancing = "percentile", percentile: float = 99.9, n_steps: int = 32
) -> dict[str, torch.Tensor]:
    r"""Threshold of each channel of each ReLU of `graph`, ``[C]`` by name of the activation.

    "percentile" takes the percentile of the positive activations of a channel, so that single large values do not make
    all others fire slowly. "local" takes the threshold with the least mean squared error of the rate code of T steps,

    .. math::
        \theta_c = \arg\min_\theta \; \mathbb{E}\Big[\Big(a - \frac{\theta}{T}
        \text{clip}\big(\lfloor a T / \theta + \tfrac12 \rfloor, 0, T\big)\Big)^2\Big],

    which weighs clipping above it against the coarse steps of a large threshold, and is smaller for few steps. The
    search goes over `N_CANDIDATES` fractions of the largest activation. A channel that stays silent on the calibration
    data gets the median of its layer.

    Args:
        graph: A graph without spikes, all its activations ReLU.
        x: Calibration data ``[N, *input_shape]``.
        balancing: How the threshold is chosen.
        percentile: In per cent, above 0 and up to 100 (the largest activation).
        n_steps: Steps T of the rate code, for "local".

    Raises:
        ConversionError: a layer is silent on all calibration data.

    References:
        Rueckauer et al., Frontiers in Neuroscience 2017, section 2.2.2 (percentile); Bu et al., "Inference-Scale
        Complexity in ANN-SNN Conversion for High-Performance and Low-Power Applications", CVPR 2025 (thresholds that
        minimise the local error; there by a delta rule, and without the number of steps).
    """
    values = _positive_activations(graph, x)
    if balancing == "local":
        return {name: _fill_silent(name, _least_error(a, n_steps)) for name, a in values.items()}
    return {name: _fill_silent(name, _percentile(a, percentile / 100)) for name, a in values.items()}


def _positive_activations(graph: Graph, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Activations ``[C, values]`` of each ReLU, at most `MAX_VALUES` of each channel, taken evenly."""
    n_batches = math.ceil(len(x) / BATCH)
    names = [node.name for node in graph.nodes if isinstance(node, Activation)]
    parts: dict[str, list[torch.Tensor]] = {name: [] for name in names}
    for batch in x.split(BATCH):
        outputs = run_graph(graph, batch[None], record="all")
        for name in names:
            a = outputs[name][0].transpose(0, 1).flatten(1)  # [C, N * H * W]
            step = max(1, math.ceil(a.shape[1] * n_batches / MAX_VALUES))
            parts[name].append(a[:, ::step])
    return {name: torch.cat(a, 1) for name, a in parts.items()}


def _percentile(a: torch.Tensor, share: float) -> torch.Tensor:
    """The percentile of the positive values of each row, 0 where there are none."""
    return torch.stack([_rank(row[row > 0], share) for row in a])


def _rank(values: torch.Tensor, share: float) -> torch.Tensor:
    if not len(values):
        return values.new_zeros(())
    rank = math.ceil(round(share * len(values), 6))  # 99.9 % of 1000 is 999, not 999.0000000000001
    return values.kthvalue(max(1, rank)).values


def _least_error(a: torch.Tensor, n_steps: int) -> torch.Tensor:
    largest = a.amax(1)
    best, least = largest.clone(), torch.full_like(largest, torch.inf)
    for k in range(1, N_CANDIDATES + 1):
        theta = (largest * k / N_CANDIDATES)[:, None]
        step = (theta / n_steps).clamp_min(torch.finfo(a.dtype).tiny)
        error = (a - (a / step + 0.5).floor().clamp(0, n_steps) * step).square().mean(1)
        better = error < least
        best, least = torch.where(better, theta[:, 0], best), torch.where(better, error, least)
    return best


def _fill_silent(name: str, threshold: torch.Tensor) -> torch.Tensor:
    active = threshold > 0
    if not active.any():
        raise ConversionError(
            f"the layer '{name}' is silent on all calibration data",
            expected="calibration data like the training data, normalised alike",
            cause="input that is not normalised, an untrained network, or a layer whose weights are all zero",
            fix="pass data from training subjects, through TrainedModel.normalise",
        )
    return torch.where(active, threshold, threshold[active].median())
