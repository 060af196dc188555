"""What a sigma-delta network costs in accuracy and work, layer by layer, and its use as an encoder."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from snnfer.converters.graph import Graph
from snnfer.converters.loihi._stages import stages_of
from snnfer.converters.loihi.graph import ACCUMULATOR_LIMIT
from snnfer.converters.loihi.sigma_delta import SigmaDeltaGraph, as_graph, check_calibration
from snnfer.converters.loihi.sigma_delta_twin import SigmaDeltaActivity, decode, run_sigma_delta
from snnfer.errors import ConversionError

_COLUMNS = {"rel. L2": 9, "last": 9, "weight": 8, "exp": 5, "peak/2^23": 11, "overflows": 11, "density": 9}


@dataclass(frozen=True)
class SigmaDeltaLayerReport:
    """One layer on given data.

    Args:
        name: Name in the network.
        relative_l2: ``||integer - float|| / ||float||`` of the decoded activations over all steps and samples.
        last_relative_l2: The same of the last step alone: above `relative_l2` where the sums of messages drift.
        largest_weight: Magnitude; the register holds 254.
        state_exp: Its state exponent.
        peak_share: Peak of the accumulators as a share of ``2 ** 23``.
        overflows: Sums over synapses that left 24 bits.
        density: Messages per neuron and step.
        messages: Messages per sample, all steps.
        synaptic_operations: Synaptic operations per sample, all steps.
    """

    name: str
    relative_l2: float
    last_relative_l2: float
    largest_weight: int
    state_exp: int
    peak_share: float
    overflows: int
    density: float
    messages: float
    synaptic_operations: float


@dataclass(frozen=True)
class SigmaDeltaReport:
    """All layers of a sigma-delta network on given data, and what it gave for them, ``[T, N, *shape]``."""

    layers: tuple[SigmaDeltaLayerReport, ...]
    n_steps: int
    n_samples: int
    output: torch.Tensor

    def to_dict(self) -> dict[str, Any]:
        """For JSON, without the output."""
        layers = [asdict(layer) for layer in self.layers]
        return {"layers": layers, "n_steps": self.n_steps, "n_samples": self.n_samples}

    def table(self) -> str:
        """One line per layer."""
        rows = [
            f"{layer.name:<28}{layer.relative_l2:>9.4f}{layer.last_relative_l2:>9.4f}{layer.largest_weight:>8}"
            f"{layer.state_exp:>5}{layer.peak_share:>11.3f}{layer.overflows:>11}{layer.density:>9.3f}"
            for layer in self.layers
        ]
        header = f"{'layer':<28}" + "".join(f"{name:>{width}}" for name, width in _COLUMNS.items())
        return "\n".join([header, *rows])


@torch.no_grad()
def report_sigma_delta(
    network: nn.Module | Graph, integer: SigmaDeltaGraph, x: torch.Tensor, *, batch_size: int = 8
) -> SigmaDeltaReport:
    """Compare the integer network with the float network, layer by layer, in zero-latency mode.

    Args:
        network: What `integer` was made of.
        integer: Result of `sigma_delta`.
        x: Clips ``[T, N, *input_shape]`` that were not used for calibration.
        batch_size: Clips at a time.

    Raises:
        ConversionError: the two networks do not have the same layers.
        ShapeError: `x` has another layout.
    """
    graph = as_graph(network)
    stages = stages_of(graph)
    if [stage.node.name for stage in stages] != [layer.name for layer in integer.layers]:
        raise ConversionError(
            f"the integer network has the layers {', '.join(layer.name for layer in integer.layers)}",
            expected=", ".join(stage.node.name for stage in stages),
            cause="it was made of another network",
        )
    check_calibration(x, graph.input_shape, name="the input")
    sums = torch.zeros(len(stages), 2, len(x), dtype=torch.float64)  # squared error and squared norm of each step
    activity: list[list[SigmaDeltaActivity]] = []
    outputs = []
    for clips in x.split(batch_size, dim=1):
        result = run_sigma_delta(integer, clips, record=True)
        activity.append(list(result.activity[1:]))
        outputs.append(result.output)
        value = clips.flatten(0, 1).float()
        for i, (stage, layer) in enumerate(zip(stages, integer.layers, strict=True)):
            value = stage.activate(stage.linear(value) + stage.bias())
            total = result.messages[i + 1].long().cumsum(0)  # [T, N, *shape]
            decoded = torch.stack([decode(step, layer) for step in total])
            wanted = value.view(decoded.shape).double()
            sums[i, 0] += (decoded - wanted).square().flatten(1).sum(1).cpu()
            sums[i, 1] += wanted.square().flatten(1).sum(1).cpu()
    layers = tuple(
        _report(layer_sums, [chunk[i] for chunk in activity], integer, i, x.shape[1])
        for i, layer_sums in enumerate(sums)
    )
    return SigmaDeltaReport(layers, n_steps=len(x), n_samples=x.shape[1], output=torch.cat(outputs, dim=1))


def _report(
    sums: torch.Tensor, activity: list[SigmaDeltaActivity], integer: SigmaDeltaGraph, index: int, n_samples: int
) -> SigmaDeltaLayerReport:
    layer, messages = integer.layers[index], sum(chunk.messages for chunk in activity)
    return SigmaDeltaLayerReport(
        name=layer.name,
        relative_l2=_ratio(sums[0].sum(), sums[1].sum()),
        last_relative_l2=_ratio(sums[0, -1], sums[1, -1]),
        largest_weight=int(abs(layer.weight).max()),
        state_exp=layer.state_exp,
        peak_share=max(chunk.peak_accumulator for chunk in activity) / ACCUMULATOR_LIMIT,
        overflows=sum(chunk.overflows for chunk in activity),
        density=messages / sum(chunk.neuron_steps for chunk in activity),
        messages=messages / n_samples,
        synaptic_operations=sum(chunk.synaptic_operations for chunk in activity) / n_samples,
    )


def _ratio(error: torch.Tensor, norm: torch.Tensor) -> float:
    return float((error / norm).sqrt()) if norm else float("nan")


class SigmaDeltaEncoder(nn.Module):
    """A sigma-delta network in the place of the float encoder it was made of, so that a classifier can stand on it.

    Each image is a clip of one step from rest; for video, where only changes are sent, see `run_sigma_delta`.

    Args:
        graph: Result of `sigma_delta`.
        config: The float encoder's `config`, for the classifiers of `snnfer.models`.

    Shape:
        - Input: :math:`(B, C, H, W)`.
        - Output: :math:`(B, n_\\text{features})`.

    Examples:
        >>> from snnfer.converters.loihi.sigma_delta import sigma_delta
        >>> from snnfer.models import create_model
        >>> model = create_model("evtransfer", n_classes=3, size=(16, 16), width=4).eval()
        >>> images = torch.rand(1, 6, 3, 16, 16)  # [T, N, C, H, W]
        >>> graph = sigma_delta(model.encoder, calibration=images)
        >>> model.encoder = SigmaDeltaEncoder(graph, config=model.encoder.config)
        >>> model(images).shape
        torch.Size([6, 3])
    """

    def __init__(self, graph: SigmaDeltaGraph, *, config: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.graph = graph
        self.config = dict(config or {})
        last = graph.layers[-1]
        self.n_features = torch.Size(last.shape).numel() // (2 if last.paired_output else 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return run_sigma_delta(self.graph, x[None]).output[0].flatten(1)  # [B, n_features]
