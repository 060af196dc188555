"""What each program makes of a network: accuracies over the steps, and the work per image where it reports it."""

import copy
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from benchmarks.ann_to_snn.data import Images
from snnfer.converters.ann_to_snn import ann_to_snn
from snnfer.errors import ConversionError
from snnfer.profiling import count_operations

STEPS = (1, 2, 4, 8, 16, 32, 64)
BATCH = 16
N_COUNTED = 3
LTB_PASSES, LTB_BATCH = 16, 12
SINABS_PERCENTILE = 99


@dataclass(frozen=True)
class Work:
    """What one image costs.

    Args:
        mode: Such as "16 steps" or "one pass".
        accuracy: Share of right test images in this mode.
        relative_error: Of the outputs, L2 over all test images, against the network without spikes.
        events: Spikes, or messages with a value.
        synaptic_operations: Additions that they cause.
    """

    mode: str
    accuracy: float
    relative_error: float
    events: float
    synaptic_operations: float


@dataclass(frozen=True)
class Result:
    """Accuracy at each of `STEPS` (empty for one pass), and the work where the program reports it."""

    accuracies: list[float]
    work: Work | None = None


@dataclass(frozen=True)
class Row:
    """What one program gave for one network: a result, or its refusal in words."""

    label: str
    result: Result | str
    seconds: float


Program = Callable[[nn.Sequential, Images], Result]


def run(label: str, program: Program, network: nn.Sequential, images: Images) -> Row:
    """Run one program on its own copy of the network; seconds are those of conversion and test together."""
    start = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the other programs; their errors are kept
            result: Result | str = program(copy.deepcopy(network), images)
    except Exception as error:
        kind = "" if isinstance(error, ConversionError) else f"{type(error).__name__}: "
        result = kind + " ".join(str(error).split())[:400]
    return Row(label, result, time.perf_counter() - start)


def rate(**settings: Any) -> Program:
    """snnfer with these settings."""

    def program(network: nn.Sequential, images: Images) -> Result:
        snn, report = ann_to_snn(
            network, calibration=images.calibration, evaluation=images.test, labels=images.test_labels,
            input_shape=images.shape, curve_steps=STEPS, **{"n_steps": 16, **settings},
        )  # fmt: skip
        point = next(row for row in report.curve if row.n_steps == (report.recommended_steps or max(STEPS)))
        snn.n_steps = point.n_steps
        counted = count_operations(snn, images.test[:: len(images.test) // N_COUNTED][None, :N_COUNTED])
        mode = f"{point.n_steps} steps"
        work = Work(mode, point.accuracy or 0.0, point.relative_error, point.spikes, counted.acs)
        return Result([row.accuracy or 0.0 for row in report.curve], work)

    return program


def sigma_delta(network: nn.Sequential, images: Images) -> Result:
    """snnfer in integers: one pass, in which neurons send their activation as a whole number."""
    _, report = ann_to_snn(
        network, calibration=images.calibration, evaluation=images.test, labels=images.test_labels,
        input_shape=images.shape, method="sigma_delta",
    )  # fmt: skip
    error = report.run.layers[-1].relative_l2
    return Result([], Work("one pass", report.accuracy or 0.0, error, report.messages, report.synaptic_operations))


def spikingjelly(
    recipe_name: str, *, passes: int = 1, batch: int = 50, delayed: bool = False, **settings: Any
) -> Program:
    """A recipe of spikingjelly's ann2snn.

    Args:
        recipe_name: In ``ann2snn.recipes``.
        passes: Over the calibration images.
        batch: Calibration images at a time.
        delayed: Whether the output is read only after the step that ``estimate_delay_start`` gives.
        settings: Of the recipe.
    """

    def program(network: nn.Sequential, images: Images) -> Result:
        from spikingjelly.activation_based import functional
        from spikingjelly.activation_based.ann2snn import Converter, estimate_delay_start, recipes

        loader = [(x, torch.zeros(len(x))) for x in images.calibration.split(batch)] * passes
        snn = Converter(getattr(recipes, recipe_name)(dataloader=loader, **settings)).convert(network).eval()
        starts = [estimate_delay_start(snn, loader, "cpu", n) if delayed else 0 for n in STEPS]

        def outputs(x: torch.Tensor) -> torch.Tensor:
            functional.reset_net(snn)
            return torch.stack([snn(x) for _ in range(max(STEPS))])

        return Result(accuracies_over_steps(outputs, images, starts))

    return program


def sinabs(*, normalised: bool) -> Program:
    """sinabs: every ReLU becomes neurons with threshold 1 that send several spikes per step.

    Args:
        normalised: Whether its ``normalize_weights`` scales the layers first, on the calibration images, after torch
            has folded the batch normalisation.
    """

    def program(network: nn.Sequential, images: Images) -> Result:
        from sinabs import reset_states
        from sinabs.from_torch import from_model

        if normalised:
            network = _normalised(network, images.calibration)
        n_steps = max(STEPS)
        snn = from_model(network, input_shape=images.shape, num_timesteps=n_steps, batch_size=None).spiking_model
        left = [type(layer).__name__ for layer in snn.modules() if isinstance(layer, nn.LeakyReLU)]
        if left:
            raise ConversionError(f"{len(left)} LeakyReLU are left in its network, without a word")

        def outputs(x: torch.Tensor) -> torch.Tensor:
            reset_states(snn)
            return snn(x.repeat_interleave(n_steps, 0)).unflatten(0, (-1, n_steps)).transpose(0, 1)  # [T, N, K]

        return Result(accuracies_over_steps(outputs, images, [0] * len(STEPS)))

    return program


def _normalised(network: nn.Sequential, calibration: torch.Tensor) -> nn.Sequential:
    from sinabs.utils import normalize_weights

    network = _folded(network)
    names = list(network._modules)
    activations = [name for name in names if isinstance(network._modules[name], nn.ReLU)]
    before = [name for name in names if isinstance(network._modules[name], nn.Conv2d | nn.Linear)]
    normalize_weights(network, calibration, activations, before[: len(activations)], percentile=SINABS_PERCENTILE)
    return network


def _folded(network: nn.Sequential) -> nn.Sequential:
    """The chain with every batch normalisation in the convolution before it."""
    layers: list[nn.Module] = []
    for layer in network:
        if isinstance(layer, nn.BatchNorm2d):
            layers[-1] = nn.utils.fuse_conv_bn_eval(layers[-1], layer)  # type: ignore[arg-type]
        else:
            layers.append(layer)
    return nn.Sequential(*layers)


def accuracies_over_steps(
    outputs: Callable[[torch.Tensor], torch.Tensor], images: Images, starts: list[int]
) -> list[float]:
    """Accuracy of the mean output ``[T, N, K]`` from a first step on, for each of `STEPS`."""
    right = torch.zeros(len(STEPS))
    with torch.no_grad():
        for x, labels in _batches(images):
            steps = outputs(x)
            for i, (first, last) in enumerate(zip(starts, STEPS, strict=True)):
                right[i] += (steps[first:last].mean(0).argmax(1) == labels).sum()
    return (right / len(images.test)).tolist()


def _batches(images: Images) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    return zip(images.test.split(BATCH), images.test_labels.split(BATCH), strict=True)


def accuracy(network: nn.Sequential, images: Images) -> float:
    """Share of right test images of the network without spikes."""
    return sum(float((network(x).argmax(1) == labels).sum()) for x, labels in _batches(images)) / len(images.test)


CHANNELS = {"mode": "99.9%", "channel_wise": True, "half_threshold": True}

PROGRAMS: dict[str, Program] = {
    "snnfer rate, 99.9 %": rate(),
    "snnfer rate, largest activation": rate(percentile=100),
    "snnfer rate, 99.9 %, no initial charge": rate(initial_charge=0.0),
    "snnfer rate, local for 8 steps": rate(balancing="local", n_steps=8),
    "snnfer qcfs, 4 levels": rate(method="qcfs", levels=4),
    "snnfer sigma-delta": sigma_delta,
    "spikingjelly RateCoding, Max": spikingjelly("RateCodingRecipe", mode="Max"),
    "spikingjelly RateCoding, 99.9 % of channels": spikingjelly("RateCodingRecipe", **CHANNELS),
    "spikingjelly RateCoding, its example": spikingjelly("RateCodingRecipe", pre_spike_maxpool=True, **CHANNELS),
    "spikingjelly RateCoding, its example, late readout": spikingjelly(
        "RateCodingRecipe", delayed=True, pre_spike_maxpool=True, **CHANNELS
    ),
    "spikingjelly LocalThresholdBalancing": spikingjelly(
        "LocalThresholdBalancingRecipe", passes=LTB_PASSES, batch=LTB_BATCH
    ),
    "spikingjelly LocalThresholdBalancing, late readout": spikingjelly(
        "LocalThresholdBalancingRecipe", passes=LTB_PASSES, batch=LTB_BATCH, delayed=True
    ),
    "sinabs from_model": sinabs(normalised=False),
    "sinabs normalize_weights, from_model": sinabs(normalised=True),
}
