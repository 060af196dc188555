"""From a network without spikes to a rate-coded spiking network with its report."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
from torch import nn

from snnfer._check import check_choice, check_positive
from snnfer.converters.ann_to_snn.build import build_network
from snnfer.converters.ann_to_snn.calibrate import Balancing, calibrate
from snnfer.converters.ann_to_snn.measure import accuracy_curve, check_steps_and_labels, layer_reports
from snnfer.converters.ann_to_snn.network import RateSNN
from snnfer.converters.ann_to_snn.qcfs import QuantisedNetwork, fine_tune
from snnfer.converters.ann_to_snn.report import ConversionReport
from snnfer.converters.from_model import to_graph
from snnfer.converters.graph import Activation, Conv, Dense, Graph, Node, Pool, Spike
from snnfer.converters.passes import drop_idle, equalise, fold_affine, split_leaky
from snnfer.converters.run import run_graph
from snnfer.errors import ConfigError, ConversionError, ShapeError

Method = Literal["rate", "qcfs"]
FineTune = Callable[[QuantisedNetwork, torch.Tensor, torch.Tensor], None]
MAX_DIFFERENCE = 1e-3
N_COMPARED = 8
BATCH = 64


def ann_to_snn(
    ann: nn.Module | Graph,
    *,
    calibration: torch.Tensor,
    method: Method = "rate",
    n_steps: int = 32,
    balancing: Balancing = "percentile",
    percentile: float = 99.9,
    initial_charge: float = 0.5,
    equalisation: bool = False,
    levels: int = 8,
    tuning: FineTune = fine_tune,
    evaluation: torch.Tensor | None = None,
    labels: torch.Tensor | None = None,
    curve_steps: Sequence[int] = (),
    tolerance: float = 0.01,
    input_shape: Sequence[int] | None = None,
) -> tuple[RateSNN, ConversionReport]:
    r"""Convert a trained network of images into spiking neurons that code its activations as firing rates.

    Normalisation goes into the weights; every ReLU becomes a population of `RateIF` neurons, every LeakyReLU two
    (:math:`\max(z, az) = \text{ReLU}(z) - \text{ReLU}(-az)`), functional forms included; max pooling passes the neuron
    that has fired most. An activation of another kind is an error. Images go in as constant currents, and the last
    layer, which has no neurons, is read as its mean.

    "rate" sets the thresholds by calibration alone. "qcfs" first trains the network with activations of `levels`
    levels (`QCFS`), thresholds included, and gives the neurons what it learned: fewer steps are enough, about as many
    as levels.

    Args:
        ann: The trained network, or its graph; it stays as it is.
        calibration: Images ``[N, C, H, W]``, or clips ``[T, N, C, H, W]`` whose images are taken singly, normalised as
            for the network; of training subjects only.
        method: "rate" or "qcfs".
        n_steps: Simulation steps per image, and those of the layer reports.
        balancing: How thresholds are chosen, see `calibrate`: "percentile", or "local" for the least error at
            `n_steps`.
        percentile: For "percentile", in per cent; 100 is the largest activation.
        initial_charge: Potential of the neurons before the first step, in thresholds. One half makes the rate round to
            the nearest level; 0 always rounds down.
        equalisation: Whether to equalise the ranges of channels across layers first (`snnfer.converters.passes`). A
            threshold per channel makes "rate" independent of it; the training of "qcfs" is not.
        levels: For "qcfs", the levels of an activation.
        tuning: For "qcfs", called as ``tuning(network, images, outputs)`` with the calibration images and the outputs
            of the network without spikes; it trains the `QuantisedNetwork` in place. The default needs no labels;
            train on labels with ``lambda network, *_: fine_tune(network, x, y, loss=F.cross_entropy)``.
        evaluation: Images that the report measures, as `calibration`; the calibration data where None.
        labels: Class of each evaluated image ``[N]``, for accuracies in the report.
        curve_steps: Numbers of steps of the curve; powers of two up to `n_steps` where empty.
        tolerance: Loss of accuracy that the recommended number of steps allows.
        input_shape: ``(C, H, W)``, where the network does not know it.

    Returns:
        The spiking network, in evaluation mode, and the report.

    Raises:
        ConversionError: a layer cannot be converted (the message names it and says why), or the network spikes
            already.
        ShapeError: the data has another layout.
        ConfigError: an argument is out of range.

    References:
        Rueckauer et al., "Conversion of Continuous-Valued Deep Networks to Efficient Event-Driven Networks for Image
        Classification", Frontiers in Neuroscience 2017; Bu et al., "Optimal ANN-SNN Conversion for High-accuracy and
        Ultra-low-latency Spiking Neural Networks", ICLR 2022. Two populations for LeakyReLU are ours; Kim et al.,
        "Spiking-YOLO", AAAI 2020, give one neuron two thresholds.

    Examples:
        >>> _ = torch.manual_seed(0)
        >>> ann = nn.Sequential(nn.Conv2d(1, 4, 3), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(144, 3)).eval()
        >>> x = torch.rand(32, 1, 8, 8)
        >>> snn, report = ann_to_snn(ann, calibration=x, input_shape=(1, 8, 8), n_steps=32)
        >>> snn(x).shape
        torch.Size([32, 3])
        >>> report.layers[0].relative_error < 0.05
        True
    """
    _check_arguments(method, balancing, n_steps, percentile, levels, initial_charge)
    with _evaluation(ann):
        graph = ann if isinstance(ann, Graph) else to_graph(ann, input_shape=input_shape)
        graph = prepare(graph, equalisation=equalisation)
        x = images_of(calibration, graph, name="calibration")
        _check_same(ann, graph, x[:N_COMPARED])
    measured = x if evaluation is None else images_of(evaluation, graph, name="evaluation")
    steps = tuple(curve_steps) or powers_of_two(n_steps)
    check_steps_and_labels(steps, measured, labels)
    ann_accuracy = quantised_accuracy = None
    if labels is not None:
        ann_accuracy = _accuracy(lambda batch: run_ann(graph, batch), measured, labels)
    if method == "qcfs":
        network = quantise(graph, x, levels=levels, percentile=percentile)
        tuning(network, x, run_in_batches(graph, x))
        network.eval().requires_grad_(False)
        if labels is not None:
            quantised_accuracy = _accuracy(network, measured, labels)
        split, thresholds = split_leaky(network.graph()), network.thresholds()
    else:
        split = split_leaky(graph)
        thresholds = calibrate(split, x, balancing=balancing, percentile=percentile, n_steps=n_steps)
    about = {"in_channels": graph.input_shape[0], "size": list(graph.input_shape[1:]), "n_classes": _n_outputs(graph)}
    snn = build_network(
        split, thresholds, n_steps=n_steps, initial_charge=initial_charge, about={"method": method, **about}
    )
    report = ConversionReport(
        method=method,
        n_steps=n_steps,
        layers=layer_reports(snn, split, thresholds, measured, n_steps=n_steps),
        curve=accuracy_curve(snn, lambda batch: run_ann(graph, batch), measured, steps=steps, labels=labels),
        ann_accuracy=ann_accuracy,
        quantised_accuracy=quantised_accuracy,
        tolerance=tolerance,
        n_calibration=len(x),
        n_evaluation=len(measured),
        separate_evaluation=evaluation is not None,
    )
    return snn, report


def prepare(graph: Graph, *, equalisation: bool = False) -> Graph:
    """The graph that is converted: normalisation folded, max pooling in front of LeakyReLU, nothing that spikes.

    Raises:
        ConversionError: the network spikes, sees several steps, or has no activation to convert.
    """
    for node in graph.nodes:
        if isinstance(node, Spike):
            raise ConversionError(
                f"'{node.name}' is a spiking neuron",
                expected="a network without spikes, with ReLU or LeakyReLU",
                cause="the network is a spiking one already",
                fix="export it: snnfer export lava, or snnfer export nir",
            )
        if isinstance(node, Conv) and node.time_taps > 1:
            raise ConversionError(
                f"'{node.name}' is a convolution over {node.time_taps} time steps",
                expected="layers that see one image",
                cause="a rate code needs many simulation steps for each step of the input",
                fix="train the network with spiking neurons",
            )
    if not any(isinstance(node, Activation) for node in graph.nodes):
        raise ConversionError(
            "the network has no activation", expected="at least one ReLU or LeakyReLU", cause="a linear network"
        )
    graph = _weights_before_leaky(_pool_before_leaky(fold_affine(drop_idle(graph))))
    return equalise(graph) if equalisation else graph


def quantise(graph: Graph, x: torch.Tensor, *, levels: int = 8, percentile: float = 99.9) -> QuantisedNetwork:
    """The network of a prepared graph with `QCFS` activations, whose first thresholds come from images `x`."""
    return QuantisedNetwork(graph, calibrate(split_leaky(graph), x, percentile=percentile), levels=levels)


def run_ann(graph: Graph, x: torch.Tensor) -> torch.Tensor:
    """Output of a graph without spikes for images ``[N, ...]``."""
    return run_graph(graph, x[None])[graph.nodes[-1].name][0]


def run_in_batches(graph: Graph, x: torch.Tensor) -> torch.Tensor:
    """`run_ann` for any number of images."""
    return torch.cat([run_ann(graph, batch) for batch in x.split(BATCH)])


def images_of(x: torch.Tensor, graph: Graph, *, name: str) -> torch.Tensor:
    """Images ``[N, *input_shape]`` of images or clips, in the dtype and on the device of the weights."""
    shape = tuple(graph.input_shape)
    if x.ndim == len(shape) + 2 and tuple(x.shape[2:]) == shape:
        x = x.flatten(0, 1)  # [T * N, C, H, W]
    layout = ", ".join(map(str, shape))
    if tuple(x.shape[1:]) != shape or x.ndim != len(shape) + 1:
        raise ShapeError(
            f"the {name} data has shape {list(x.shape)}",
            expected=f"images [N, {layout}] or clips [T, N, {layout}]",
            cause="another layout, or data of another size than the network reads",
            fix="convert it with snnfer.layout, or resize it",
        )
    if not len(x):
        raise ShapeError(f"the {name} data has shape {list(x.shape)}", expected="at least one image")
    if not bool(torch.isfinite(x).all()):
        raise ShapeError(f"the {name} data holds NaN or infinity", expected="finite values")
    like = next((node.weight for node in graph.nodes if isinstance(node, Conv | Dense)), x)
    return x.to(like)


def _pool_before_leaky(graph: Graph) -> Graph:
    """Max pooling in front of the LeakyReLU before it: an increasing function may be applied after the maximum."""
    nodes = list(graph.nodes)
    for i in range(1, len(nodes)):
        before, node = nodes[i - 1], nodes[i]
        is_max = isinstance(node, Pool) and node.kind == "max"
        if is_max and isinstance(before, Activation) and before.negative_slope > 0:
            nodes[i - 1], nodes[i] = node, before
    return graph.with_nodes(tuple(nodes))


def _weights_before_leaky(graph: Graph) -> Graph:
    """An identity layer in front of every LeakyReLU that has no weights there, for the two populations to read."""
    nodes: list[Node] = []
    like = next((node.weight for node in graph.nodes if isinstance(node, Conv | Dense)), torch.zeros(()))
    for node, shape in zip(graph.nodes, (graph.input_shape, *graph.shapes), strict=False):
        leaky = isinstance(node, Activation) and node.negative_slope
        if leaky and not (nodes and isinstance(nodes[-1], Conv | Dense)):
            name, channels = f"{node.name}.both", shape[0]
            if len(shape) == 3:
                ones = like.new_ones(channels, 1, 1, 1)
                nodes.append(Conv(name, ones, like.new_zeros(channels), groups=channels))
            else:
                nodes.append(Dense(name, torch.eye(channels).to(like), like.new_zeros(channels)))
        nodes.append(node)
    return graph.with_nodes(tuple(nodes))


def _check_same(ann: nn.Module | Graph, graph: Graph, x: torch.Tensor) -> None:
    """Raise unless the graph gives the outputs of the network that it was read from."""
    if isinstance(ann, Graph):
        reference = run_ann(ann, x)
    else:
        with torch.no_grad():
            reference = ann(x[None] if hasattr(ann, "forward_steps") else x)
    ours = run_ann(graph, x)
    difference = float((ours.flatten(1) - reference.flatten(1)).norm() / reference.norm().clamp_min(1e-12))
    if not difference < MAX_DIFFERENCE:
        raise ConversionError(
            f"the graph of the network differs from the network by {difference:.2%}",
            expected=f"less than {MAX_DIFFERENCE:.1%}",
            cause="a forward pass with more than its layers say, or outputs that are not finite",
            fix="convert the part of the network that is a chain of layers",
        )


@contextlib.contextmanager
def _evaluation(ann: Any) -> Iterator[None]:
    """The network in evaluation mode for a while."""
    modes = [(module, module.training) for module in ann.modules()] if isinstance(ann, nn.Module) else []
    try:
        for module, _ in modes:
            module.training = False
        yield
    finally:
        for module, training in modes:
            module.training = training


def _accuracy(network: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, labels: torch.Tensor) -> float:
    with torch.no_grad():
        found = torch.cat([network(batch).argmax(1) for batch in x.split(BATCH)])
    return float((found == labels.to(found.device)).float().mean())


def _n_outputs(graph: Graph) -> int:
    return graph.shapes[-1][0]


def powers_of_two(n_steps: int) -> tuple[int, ...]:
    """1, 2, 4, ... below `n_steps`, and `n_steps`.

    Examples:
        >>> powers_of_two(10)
        (1, 2, 4, 8, 10)
    """
    return (*(2**k for k in range(n_steps.bit_length()) if 2**k < n_steps), n_steps)


def _check_arguments(
    method: str, balancing: str, n_steps: int, percentile: float, levels: int, initial_charge: float
) -> None:
    check_choice(method, ("rate", "qcfs"), name="method")
    check_choice(balancing, ("percentile", "local"), name="balancing")
    check_positive(n_steps, name="n_steps", unit="simulation steps")
    check_positive(levels, name="levels")
    if not 0 < percentile <= 100:
        raise ConfigError(f"percentile = {percentile}", expected="per cent, above 0 and up to 100, such as 99.9")
    if not 0 <= initial_charge < 1:
        raise ConfigError(f"initial_charge = {initial_charge}", expected="thresholds, from 0 to below 1, such as 0.5")
