"""The integer twin of sigma-delta networks: batched, and exactly what a Loihi-style chip computes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from snnfer._check import check_choice
from snnfer.converters.graph import Shape
from snnfer.converters.loihi._stages import correlate
from snnfer.converters.loihi.graph import ACCUMULATOR_LIMIT
from snnfer.converters.loihi.sigma_delta import SigmaDeltaGraph, SigmaDeltaLayer, check_calibration
from snnfer.errors import ConfigError, StateError

SigmaDeltaState = tuple[tuple[torch.Tensor, ...], ...]
"""int64 registers ``[N, *shape]``: activation and residue of the encoder; of each layer these and sigma; the summed
messages of the last layer."""
Mode = Literal["zero_latency", "free_running"]
MODES = ("zero_latency", "free_running")


@dataclass
class SigmaDeltaActivity:
    """What a layer did in a run.

    Args:
        name: Name of the layer; ``input`` for the delta encoder.
        messages: Messages that were sent (changes that are not 0).
        synaptic_operations: Messages times the synapses they reached, in the layer's own synapses; 0 for the encoder.
        neuron_steps: Neurons times steps times samples.
        peak_accumulator: Largest magnitude in a register: of the sum over synapses, of sigma, of sigma with the bias.
        peak_message: Largest magnitude of a message.
        overflows: Sums over synapses that left signed 24 bits; a convolution wraps them, as lava does.
    """

    name: str
    messages: int = 0
    synaptic_operations: int = 0
    neuron_steps: int = 0
    peak_accumulator: int = 0
    peak_message: int = 0
    overflows: int = 0

    @property
    def density(self) -> float:
        """Messages per neuron and step."""
        return self.messages / max(self.neuron_steps, 1)


@dataclass(frozen=True)
class SigmaDeltaResult:
    """A run of a sigma-delta network.

    Args:
        output: Activations of the last layer ``[T, N, *shape]`` in units of the network, pairs already subtracted. In
            free-running mode with the latency taken out: step `t` belongs to input step `t`.
        messages: int32 messages ``[S, N, *shape]`` of the encoder and of each layer, both populations; empty unless
            recorded. S is T, in free-running mode T + L for L layers: layer l (from 1) answers input step t in step
            ``t + l``.
        activity: Of the encoder and of each layer.
        state: All registers after the last step.
    """

    output: torch.Tensor
    messages: tuple[torch.Tensor, ...]
    activity: tuple[SigmaDeltaActivity, ...]
    state: SigmaDeltaState


@torch.no_grad()
def run_sigma_delta(
    graph: SigmaDeltaGraph,
    x: torch.Tensor,
    *,
    mode: Mode = "zero_latency",
    record: bool = False,
    state: SigmaDeltaState = (),
) -> SigmaDeltaResult:
    """Run a sigma-delta network on clips, bit for bit as lava's ``fixed_pt`` models.

    Args:
        graph: The network.
        x: Input ``[T, N, *input_shape]`` in units of the network; the encoder rounds it to ``1 / input_scale``.
        mode: "zero_latency" passes a step through all layers at once. "free_running" is the chip's pipeline: each layer
            takes one step, biases act from the first step on, and the input is held for L more steps.
        record: Whether the messages of all layers are kept.
        state: Where the run before ended, to go on with its clips; empty for rest. In zero-latency mode alone, because
            the pipeline of the other one is empty at its start.

    Raises:
        ShapeError: `x` has another layout.
        ConfigError: `x` is not finite, or a state in free-running mode.
        StateError: `state` belongs to another network or other clips.
    """
    check_choice(mode, MODES, name="mode")
    check_calibration(x, graph.input_shape, name="the input")
    if not bool(torch.isfinite(x).all()):
        raise ConfigError("the input has values that are not finite", expected="finite values", cause="NaN in the data")
    if state and mode == "free_running":
        raise ConfigError("a state in free-running mode", expected="whole clips from rest", fix="use zero_latency")
    latency = len(graph.layers) if mode == "free_running" else 0
    neurons = [_Neurons(layer, x) for layer in graph.layers]
    encoder = _Delta(graph.input_threshold, "input", graph.input_shape, x)
    kept, outputs, total = [], [], torch.zeros_like(neurons[-1].before)
    if state:
        _check_state(state, [*(item.registers for item in (encoder, *neurons)), (total,)])
        for item, registers in zip((encoder, *neurons), state, strict=False):
            item.registers = registers
        (total,) = state[-1]
    for step, sent in enumerate(_steps(graph, x, encoder, neurons, latency)):
        if record:
            kept.append([message.to(torch.int32) for message in sent])
        total = total + sent[-1]
        if step >= latency:
            outputs.append(decode(total, graph.layers[-1]))
    messages = tuple(torch.stack(step) for step in zip(*kept, strict=True))
    parts = (encoder, *neurons)
    after = (*(item.registers for item in parts), (total,))
    return SigmaDeltaResult(torch.stack(outputs), messages, tuple(item.activity for item in parts), after)


def decode(total: torch.Tensor, layer: SigmaDeltaLayer) -> torch.Tensor:
    """Activations ``[N, *]`` of summed messages ``[N, *shape]``: the pair's difference in units of the network."""
    if layer.paired_output:
        total = total[:, 0::2] - total[:, 1::2]
    return (total.double() / layer.payload_scale).float()


def _check_state(state: SigmaDeltaState, wanted: Sequence[tuple[torch.Tensor, ...]]) -> None:
    found, expected = ([[list(register.shape) for register in part] for part in parts] for parts in (state, wanted))
    if found != expected:
        raise StateError(
            f"a state of shapes {found}",
            expected=str(expected),
            cause="the state of another network, or of a batch of another size",
        )


def _steps(
    graph: SigmaDeltaGraph, x: torch.Tensor, encoder: "_Delta", neurons: list["_Neurons"], latency: int
) -> Iterator[list[torch.Tensor]]:
    """The messages of the encoder and of all layers, step by step."""
    sent: list[torch.Tensor | None] = [None] * (len(neurons) + 1)
    for step in range(len(x) + latency):
        before = list(sent)
        frame = x[min(step, len(x) - 1)].double()
        sent[0] = encoder.send((frame * graph.input_scale).round().long())
        source = before if latency else sent
        for i, layer in enumerate(neurons):
            sent[i + 1] = layer.step(source[i])
        yield [message for message in sent if message is not None]


class _Delta:
    """Sends changes of an activation that reach a threshold, and keeps the rest for later."""

    def __init__(self, threshold: int, name: str, shape: Shape, x: torch.Tensor) -> None:
        self.threshold = threshold
        self.before = torch.zeros(x.shape[1], *shape, dtype=torch.int64, device=x.device)
        self.residue = torch.zeros_like(self.before)
        self.activity = SigmaDeltaActivity(name)

    @property
    def registers(self) -> tuple[torch.Tensor, ...]:
        """What the next step needs."""
        return self.before, self.residue

    @registers.setter
    def registers(self, values: tuple[torch.Tensor, ...]) -> None:
        self.before, self.residue = values

    def send(self, value: torch.Tensor, shift: int = 0) -> torch.Tensor:
        """Messages ``[N, *shape]`` for the activations of a step."""
        change = value - self.before + self.residue
        sent = torch.where(change.abs() >= self.threshold, change, 0)
        self.residue = change - sent
        self.before = value
        message = sent >> shift
        self.activity.messages += int(message.count_nonzero())
        self.activity.neuron_steps += message.numel()
        self.activity.peak_message = max(self.activity.peak_message, _magnitude(message))
        return message


class _Neurons(_Delta):
    """The neurons of a layer with the synapses before them."""

    def __init__(self, layer: SigmaDeltaLayer, x: torch.Tensor) -> None:
        super().__init__(layer.threshold << layer.state_exp, layer.name, layer.shape, x)
        self.layer = layer
        self.sigma = torch.zeros_like(self.before)
        bias = torch.from_numpy(layer.bias).to(x.device, torch.int64) << layer.state_exp
        self.bias = bias.view(-1, *[1] * (len(layer.shape) - 1))
        self.weight = torch.from_numpy(layer.weight).to(x.device, torch.float64)
        self.present = (self.weight != 0).float()

    @property
    def registers(self) -> tuple[torch.Tensor, ...]:
        """What the next step needs."""
        return self.before, self.residue, self.sigma

    @registers.setter
    def registers(self, values: tuple[torch.Tensor, ...]) -> None:
        self.before, self.residue, self.sigma = values

    def step(self, arriving: torch.Tensor | None) -> torch.Tensor:
        """Messages ``[N, *shape]`` for those of the layer before; None is silence."""
        if arriving is not None:
            self.sigma = self.sigma + self._accumulate(arriving)
        value = self.sigma + self.bias
        self._note_peak(self.sigma, value)
        return self.send(value.clamp(min=0), self.layer.state_exp)

    def _accumulate(self, arriving: torch.Tensor) -> torch.Tensor:
        """Sum over synapses. float64 is exact: 8-bit weights, 16-bit messages and any fan-in stay below 2 ** 53."""
        active = (arriving != 0).float()
        if self.layer.input_pairs:
            arriving = arriving[:, 0::2] - arriving[:, 1::2]
            active = active[:, 0::2] + active[:, 1::2]
        sums = correlate(self.layer, arriving.double(), self.weight).round().long()
        operations = correlate(self.layer, active, self.present)
        self.activity.synaptic_operations += int(operations.double().sum())
        self._note_peak(sums)
        outside = (sums >= ACCUMULATOR_LIMIT) | (sums < -ACCUMULATOR_LIMIT)
        self.activity.overflows += int(outside.count_nonzero())
        if self.layer.kind == "dense":
            return sums
        return (sums + ACCUMULATOR_LIMIT) % (2 * ACCUMULATOR_LIMIT) - ACCUMULATOR_LIMIT

    def _note_peak(self, *registers: torch.Tensor) -> None:
        self.activity.peak_accumulator = max(self.activity.peak_accumulator, *map(_magnitude, registers))


def _magnitude(x: torch.Tensor) -> int:
    return int(x.abs().max()) if x.numel() else 0
