"""A rate-coded spiking network as a module that stands where the network without spikes stood."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from snnfer._check import check_positive
from snnfer.converters.ann_to_snn.neurons import CumulativeMaxPool2d, RateIF
from snnfer.errors import ShapeError, StateError
from snnfer.layers import SpikingSequential, TimeDistributed, VotingLayer
from snnfer.models._input import check_lengths, check_video, time_mean

NAME = "rate_snn"
"""What the config of a model folder calls this network."""


class ChannelScale(nn.Module):
    """Scale and shift per channel of ``[T, N, C, *]``: what no synapse behind the neurons can take over."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shape = (-1, *(1,) * (x.ndim - 3))
        return x * self.scale.view(shape) + self.shift.view(shape)


class RateSNN(nn.Module):
    r"""Spiking network that codes activations as firing rates; made by `snnfer.converters.ann_to_snn`.

    It is used as the network that it was made from: every image is shown for `n_steps` simulation steps, from rest, and
    its score is the mean of the output over them,

    .. math::
        y = \frac{1}{T} \sum_{t=0}^{T-1} \text{layers}(x)_t

    Images are independent: a soft-reset neuron that was inhibited by one image would answer late to the next. For
    input that changes with every simulation step there is `simulate`, whose state goes on.

    Args:
        layers: The chain, one dictionary per layer, as in ``config["layers"]`` of a converted network.
        input_shape: ``(C, H, W)``, or ``(F,)`` for networks of vectors.
        n_steps: Simulation steps per image.
        scores_windows: Whether the network that it was made from scores single windows, see
            `snnfer.models.WindowClassifier`.

    Attributes:
        config: The arguments: ``RateSNN(**config)`` without its ``name`` builds the same network again.
        layers: The chain as `SpikingSequential`, on ``[T, N, ...]``.

    Shape:
        - Input: one image per sample :math:`(N, C, H, W)`, or clips :math:`(T, N, C, H, W)` whose T images are shown
          one after the other.
        - Output: :math:`(N, K)`; of clips the mean over their (valid) images.

    Raises:
        ShapeError: the input does not fit.

    Examples:
        >>> fc = {"kind": "dense", "name": "fc", "features": [4, 3]}
        >>> relu = {"kind": "spike", "name": "relu", "channels": 3}
        >>> snn = RateSNN(layers=[fc, relu], input_shape=[4], n_steps=16)
        >>> snn(torch.rand(2, 4)).shape, snn(torch.rand(5, 2, 4)).shape
        (torch.Size([2, 3]), torch.Size([2, 3]))
        >>> snn.run(torch.rand(2, 4), n_steps=8).shape  # after each step, the mean so far
        torch.Size([8, 2, 3])
    """

    def __init__(
        self,
        *,
        layers: Sequence[Mapping[str, Any]],
        input_shape: Sequence[int],
        n_steps: int = 32,
        scores_windows: bool = False,
        **about: Any,
    ) -> None:
        super().__init__()
        check_positive(n_steps, name="n_steps", unit="simulation steps")
        self.n_steps = n_steps
        self.input_shape = tuple(input_shape)
        self.scores_windows = scores_windows
        self.config = {
            "name": NAME,
            **about,
            "layers": [dict(layer) for layer in layers],
            "input_shape": list(input_shape),
            "n_steps": n_steps,
            "scores_windows": scores_windows,
        }
        self.layers = SpikingSequential(OrderedDict((module_name(spec["name"]), _build(spec)) for spec in layers))

    def forward(self, x: torch.Tensor, *, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Scores ``[N, K]`` of images ``[N, C, H, W]`` or clips ``[T, N, C, H, W]``.

        Args:
            x: Images or clips, any dtype.
            lengths: Valid images of each clip ``[N]``; all where None.
        """
        clips = x[None] if x.ndim == len(self.input_shape) + 1 else x
        return time_mean(self.forward_steps(clips), check_lengths(lengths, clips))

    def forward_steps(self, x: torch.Tensor) -> torch.Tensor:
        """Score of each image ``[T, N, K]`` of clips ``[T, N, C, H, W]``; each image is shown from rest."""
        x = self._checked(x)
        return torch.stack([self._show(image) for image in x])

    def forward_with_state(self, x: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, tuple[()]]:
        """Scores of each image ``[T, N, K]`` and the state of a stream, which is empty: images are independent.

        See `simulate` for the state of the neurons.
        """
        if state not in (None, ()):
            found = list(state.shape) if isinstance(state, torch.Tensor) else type(state).__name__
            raise StateError(
                f"a state of {found}", expected="a state of shape () or None", cause="the state of another model"
            )
        return self.forward_steps(x), ()

    def simulate(self, x: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        """Output of each simulation step ``[T, N, K]`` for its input ``[T, N, C, H, W]``, and the state of the neurons.

        In evaluation mode any cut of the steps into chunks gives the same bits.
        """
        return self.layers.forward_with_state(self._checked(x), state)

    def run(self, x: torch.Tensor, *, n_steps: int | None = None) -> torch.Tensor:
        """The score that images ``[N, C, H, W]`` would have after each step: the mean so far, ``[n_steps, N, K]``."""
        steps = n_steps if n_steps is not None else self.n_steps
        outputs = self.simulate(x.expand(steps, *x.shape))[0]
        counts = torch.arange(1, steps + 1, dtype=outputs.dtype, device=outputs.device)
        return outputs.cumsum(0) / counts.view(-1, *(1,) * (outputs.ndim - 1))

    def extra_repr(self) -> str:
        return f"n_steps={self.n_steps}"

    def _show(self, image: torch.Tensor) -> torch.Tensor:
        """Mean output ``[N, K]`` over `n_steps` steps of ``[N, C, H, W]``, without keeping the steps."""
        total, state = None, None
        for _ in range(self.n_steps):
            output, state = self.layers.forward_with_state(image[None], state)
            total = output[0] if total is None else total + output[0]
        assert total is not None
        return total / self.n_steps

    def _checked(self, x: torch.Tensor) -> torch.Tensor:
        dtype = next(self.parameters()).dtype
        if len(self.input_shape) == 3:
            return check_video(x, in_channels=self.input_shape[0], size=self.input_shape[1:], dtype=dtype)
        if x.ndim != 1 + 1 + len(self.input_shape) or tuple(x.shape[2:]) != self.input_shape or not len(x):
            raise ShapeError(
                f"the input has shape {list(x.shape)}",
                expected=f"[N, {self.input_shape[0]}], or [T, N, {self.input_shape[0]}] with at least one step",
            )
        return x.to(dtype)


def module_name(name: str) -> str:
    """The name of a node as that of a member of the chain, which must not hold a dot."""
    return name.replace(".", "_")


def _build(spec: Mapping[str, Any]) -> nn.Module:
    kind = spec["kind"]
    if kind == "conv":
        before, after = spec["channels"]
        settings: Any = {key: tuple(spec[key]) for key in ("kernel_size", "stride", "padding", "dilation")}
        return TimeDistributed(nn.Conv2d(before, after, groups=spec["groups"], **settings))
    if kind == "dense":
        return nn.Linear(*spec["features"])
    if kind == "scale":
        return ChannelScale(spec["channels"])
    if kind == "spike":
        return RateIF(spec["channels"], initial_charge=spec.get("initial_charge", 0.5))
    if kind == "max":
        padding = tuple(spec.get("padding", (0, 0)))
        return CumulativeMaxPool2d(tuple(spec["kernel_size"]), stride=tuple(spec["stride"]), padding=padding)
    if kind == "average":
        return TimeDistributed(nn.AvgPool2d(tuple(spec["kernel_size"]), tuple(spec["stride"])))
    return {"flatten": lambda: nn.Flatten(2), "vote": lambda: VotingLayer(spec["votes"])}[kind]()
