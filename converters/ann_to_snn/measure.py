"""Measuring a converted network against the one it was made from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from snnfer.converters.ann_to_snn.build import layers_of
from snnfer.converters.ann_to_snn.network import RateSNN
from snnfer.converters.ann_to_snn.neurons import RateIF
from snnfer.converters.ann_to_snn.report import LayerReport, StepReport
from snnfer.converters.graph import Graph
from snnfer.converters.run import run_graph
from snnfer.errors import ConfigError, ShapeError
from snnfer.neurons import observe

BATCH = 16  # the state of a wide image stays in the cache


def accuracy_curve(
    snn: RateSNN,
    ann: Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    *,
    steps: Sequence[int],
    labels: torch.Tensor | None = None,
) -> tuple[StepReport, ...]:
    """The output of `snn` after each number of steps against that of `ann`, in one simulation.

    Args:
        snn: The spiking network.
        ann: Gives the outputs ``[N, K]`` of the network without spikes for images.
        x: Images ``[N, C, H, W]``.
        steps: Numbers of simulation steps, ascending.
        labels: Class of each image ``[N]``; without them only the agreement of both networks is measured.

    Raises:
        ConfigError: `steps` is empty, not ascending, or below 1.
        ShapeError: not one label per image.
    """
    check_steps_and_labels(steps, x, labels)
    totals = [_StepTotals() for _ in steps]
    counter = _SpikeCounter()
    with torch.no_grad(), observe(snn, counter):
        for start in range(0, len(x), BATCH):
            images = x[start : start + BATCH]
            own = None if labels is None else labels[start : start + BATCH].to(x.device)
            reference = ann(images).flatten(1)
            spikes_before, done, state, total = counter.spikes, 0, None, torch.zeros_like(reference)
            for n, sums in zip(steps, totals, strict=True):
                while done < n:
                    output, state = snn.simulate(images[None], state)
                    total, done = total + output[0].flatten(1), done + 1
                sums.add(total / n, reference, own, counter.spikes - spikes_before)
    return tuple(sums.report(n, len(x), labels is not None) for n, sums in zip(steps, totals, strict=True))


def layer_reports(
    snn: RateSNN, graph: Graph, thresholds: dict[str, torch.Tensor], x: torch.Tensor, *, n_steps: int
) -> tuple[LayerReport, ...]:
    """One report per activation of `graph`, for images ``[N, *input_shape]``; see `build_network`, which made `snn`."""
    neurons = {name: layer for name, layer in layers_of(snn).items() if isinstance(layer, RateIF)}
    by_module = {id(layer): name for name, layer in neurons.items()}
    totals = {name: _LayerTotals() for name in neurons}
    with torch.no_grad():
        for images in x.split(BATCH):
            counts: dict[str, torch.Tensor] = {}

            def count(_name: str, neuron: object, _x: object, y: torch.Tensor, _state: object) -> None:
                name = by_module[id(neuron)]
                counts[name] = counts[name] + y.sum(0) if name in counts else y.sum(0)  # noqa: B023

            state = None
            with observe(snn, count):
                for _ in range(n_steps):
                    _, state = snn.simulate(images[None], state)
            outputs = run_graph(graph, images[None], record="all")
            for name, sums in totals.items():
                sums.add(outputs[name][0], counts[name], thresholds[name], n_steps)
    return tuple(sums.report(name, len(x), n_steps) for name, sums in totals.items())


def check_steps_and_labels(steps: Sequence[int], x: torch.Tensor, labels: torch.Tensor | None) -> None:
    """Raise unless `steps` ascend from at least 1 and there is one label per image."""
    if not steps or min(steps) < 1 or list(steps) != sorted(set(steps)):
        raise ConfigError(f"steps = {list(steps)}", expected="ascending numbers of simulation steps, at least 1")
    if labels is not None and labels.shape != (len(x),):
        raise ShapeError(f"labels have shape {list(labels.shape)}", expected=f"[{len(x)}], one per image")


class _SpikeCounter:
    """Callback of `observe`: spikes of all neurons so far."""

    def __init__(self) -> None:
        self.spikes = 0.0

    def __call__(self, _name: str, _neuron: object, _x: object, y: torch.Tensor, _state: object) -> None:
        self.spikes += float(y.sum())


@dataclass
class _StepTotals:
    """Sums over batches after one number of steps."""

    error: float = 0.0
    power: float = 0.0
    same: int = 0
    right: int = 0
    spikes: float = 0.0

    def add(self, y: torch.Tensor, reference: torch.Tensor, labels: torch.Tensor | None, spikes: float) -> None:
        self.error += float((y - reference).double().square().sum())
        self.power += float(reference.double().square().sum())
        self.same += int((y.argmax(1) == reference.argmax(1)).sum())
        self.right += 0 if labels is None else int((y.argmax(1) == labels).sum())
        self.spikes += spikes

    def report(self, n_steps: int, n: int, has_labels: bool) -> StepReport:
        relative = _ratio(self.error, self.power) ** 0.5
        return StepReport(n_steps, relative, self.same / n, self.right / n if has_labels else None, self.spikes / n)


@dataclass
class _LayerTotals:
    """Sums over batches for one activation a and its decoded rates r."""

    sums: torch.Tensor = field(default_factory=lambda: torch.zeros(6, dtype=torch.float64))  # 1, a, r, aa, rr, ar
    error: float = 0.0
    above: int = 0
    positive: int = 0
    spikes: float = 0.0
    neurons: int = 0

    def add(self, a: torch.Tensor, counts: torch.Tensor, unit: torch.Tensor, n_steps: int) -> None:
        unit = unit.view(-1, *(1,) * (a.ndim - 2))
        r = (counts * unit / n_steps).double()
        self.above += int((a > unit).sum())
        self.positive += int((a > 0).sum())
        self.spikes += float(counts.sum())
        self.neurons = a[0].numel()
        a = a.double()
        self.error += float((r - a).square().sum())
        ones = torch.tensor(float(a.numel()), dtype=torch.float64)
        moments = (ones, a.sum(), r.sum(), a.square().sum(), r.square().sum(), (a * r).sum())
        self.sums += torch.stack([value.cpu() for value in moments])

    def report(self, name: str, n: int, n_steps: int) -> LayerReport:
        count, a, r, aa, rr, ar = self.sums.tolist()
        covariance, spread = ar - a * r / count, max(0.0, (aa - a * a / count) * (rr - r * r / count)) ** 0.5
        return LayerReport(
            name=name,
            neurons=self.neurons,
            relative_error=_ratio(self.error, aa) ** 0.5,
            correlation=_ratio(covariance, spread),
            clipped_share=_ratio(self.above, self.positive),
            spikes=self.spikes / n,
            firing_rate=self.spikes / (n * self.neurons * n_steps),
        )


def _ratio(value: float, total: float) -> float:
    return value / total if total > 0 else 0.0
