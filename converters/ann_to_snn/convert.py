"""From a network without spikes to a spiking network with its report."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, overload

import torch
from torch import nn

from snnfer._check import check_choice, check_labels, check_positive
from snnfer.converters._evaluating import evaluating
from snnfer.converters.ann_to_snn.build import build_network
from snnfer.converters.ann_to_snn.calibrate import Balancing, calibrate
from snnfer.converters.ann_to_snn.measure import accuracy_curve, check_steps_and_labels, layer_reports
from snnfer.converters.ann_to_snn.network import RateSNN
from snnfer.converters.ann_to_snn.preparation import (
    N_COMPARED,
    accuracy_of,
    check_same,
    graph_of,
    images_of,
    prepare,
    run_ann,
    run_in_batches,
)
from snnfer.converters.ann_to_snn.qcfs import QuantisedNetwork, fine_tune
from snnfer.converters.ann_to_snn.report import ConversionReport
from snnfer.converters.ann_to_snn.sigma_delta import SigmaDeltaConversionReport, to_sigma_delta
from snnfer.converters.ann_to_snn.sigma_delta_network import SigmaDeltaSNN
from snnfer.converters.graph import Graph
from snnfer.converters.passes import split_leaky
from snnfer.errors import ConfigError
from snnfer.models.window_classifier import scores_windows

FineTune = Callable[[QuantisedNetwork, torch.Tensor, torch.Tensor], None]
METHODS = ("rate", "qcfs", "sigma_delta")


@overload
def ann_to_snn(
    ann: nn.Module | Graph,
    *,
    calibration: torch.Tensor,
    method: Literal["sigma_delta"],
    evaluation: torch.Tensor | None = None,
    labels: torch.Tensor | None = None,
    input_shape: Sequence[int] | None = None,
) -> tuple[SigmaDeltaSNN, SigmaDeltaConversionReport]: ...


@overload
def ann_to_snn(
    ann: nn.Module | Graph,
    *,
    calibration: torch.Tensor,
    method: Literal["rate", "qcfs"] = "rate",
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
) -> tuple[RateSNN, ConversionReport]: ...


def ann_to_snn(
    ann: nn.Module | Graph,
    *,
    calibration: torch.Tensor,
    method: Literal["rate", "qcfs", "sigma_delta"] = "rate",
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
) -> tuple[Any, Any]:
    r"""Convert a trained network of images into spiking neurons that code its activations.

    "rate" and "qcfs" code them as firing rates: normalisation goes into the weights; every ReLU becomes a population of
    `RateIF` neurons, every LeakyReLU two (:math:`\max(z, az) = \text{ReLU}(z) - \text{ReLU}(-az)`), functional forms
    included; max pooling passes the neuron that has fired most. An activation of another kind is an error. Images go in
    as constant currents, and the last layer, which has no neurons, is read as its mean.

    "rate" sets the thresholds by calibration alone. "qcfs" first trains the network with activations of `levels`
    levels (`QCFS`), thresholds included, and gives the neurons what it learned: fewer steps are enough, about as many
    as levels.

    "sigma_delta" codes them as changes, whole numbers in one pass (`snnfer.converters.loihi.sigma_delta`): the network
    that comes back computes what lava and its files do, bit for bit. Channels are always equalised, because a layer
    has one scale; max pooling is refused. Of the arguments below it takes `calibration`, `evaluation`, `labels` and
    `input_shape`, and an `evaluation` of clips is measured as clips, whose later images send only what changes.

    Args:
        ann: The trained network, or its graph; it stays as it is.
        calibration: Images ``[N, C, H, W]``, or clips ``[T, N, C, H, W]`` whose images are taken singly, normalised as
            for the network; of training subjects only.
        method: "rate", "qcfs" or "sigma_delta".
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
        labels: Class of each evaluated image ``[N]``, of clips ``[T * N]``, for accuracies in the report.
        curve_steps: Numbers of steps of the curve; powers of two up to `n_steps` where empty.
        tolerance: Loss of accuracy and agreement that the recommended number of steps allows (`recommend_steps`).
        input_shape: ``(C, H, W)``, where the network does not know it.

    Returns:
        The spiking network, in evaluation mode, and the report: `RateSNN` and `ConversionReport`, or `SigmaDeltaSNN`
        and `SigmaDeltaConversionReport`; both reports have ``table()`` and ``to_dict()``.

    Raises:
        ConversionError: a layer cannot be converted (the message names it and says why), or the network spikes
            already.
        ShapeError: the data has another layout, or a label is none of the classes.
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
        >>> integers, report = ann_to_snn(ann, calibration=x, input_shape=(1, 8, 8), method="sigma_delta")
        >>> report.run.layers[-1].relative_l2 < 0.05, bool((integers(x) - ann(x)).abs().max() < 0.05)
        (True, True)
    """
    _check_arguments(method, balancing, n_steps, percentile, levels, initial_charge)
    if method == "sigma_delta":
        return to_sigma_delta(
            ann, calibration=calibration, evaluation=evaluation, labels=labels, input_shape=input_shape
        )
    with evaluating(ann):
        graph = graph_of(ann, input_shape=input_shape)
        graph = prepare(graph, equalisation=equalisation)
        x = images_of(calibration, graph, name="calibration")
        check_same(ann, graph, x[:N_COMPARED])
    measured = x if evaluation is None else images_of(evaluation, graph, name="evaluation")
    steps = tuple(curve_steps) or powers_of_two(n_steps)
    check_steps_and_labels(steps, measured, labels)
    ann_accuracy = quantised_accuracy = None
    if labels is not None:
        check_labels(labels, _n_outputs(graph))
        ann_accuracy = accuracy_of(lambda batch: run_ann(graph, batch), measured, labels)
    if method == "qcfs":
        network = quantise(graph, x, levels=levels, percentile=percentile)
        tuning(network, x, run_in_batches(graph, x))
        network.eval().requires_grad_(False)
        if labels is not None:
            quantised_accuracy = accuracy_of(network, measured, labels)
        split, thresholds = split_leaky(network.graph()), network.thresholds()
    else:
        split = split_leaky(graph)
        thresholds = calibrate(split, x, balancing=balancing, percentile=percentile, n_steps=n_steps)
    about = {"in_channels": graph.input_shape[0], "size": list(graph.input_shape[1:]), "n_classes": _n_outputs(graph)}
    about["scores_windows"] = isinstance(ann, nn.Module) and scores_windows(ann)
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
        chance=1 / _n_outputs(graph),
    )
    return snn, report


def quantise(graph: Graph, x: torch.Tensor, *, levels: int = 8, percentile: float = 99.9) -> QuantisedNetwork:
    """The network of a prepared graph with `QCFS` activations, whose first thresholds come from images `x`."""
    return QuantisedNetwork(graph, calibrate(split_leaky(graph), x, percentile=percentile), levels=levels)


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
    check_choice(method, METHODS, name="method")
    check_choice(balancing, ("percentile", "local"), name="balancing")
    check_positive(n_steps, name="n_steps", unit="simulation steps")
    check_positive(levels, name="levels")
    if not 0 < percentile <= 100:
        raise ConfigError(f"percentile = {percentile}", expected="per cent, above 0 and up to 100, such as 99.9")
    if not 0 <= initial_charge < 1:
        raise ConfigError(f"initial_charge = {initial_charge}", expected="thresholds, from 0 to below 1, such as 0.5")
