"""One window after the other through a network that keeps its state."""

from typing import Any

import torch
from torch import nn

from snnfer.errors import ConfigError
from snnfer.layers._fused_stream import FusedStream, prepare_stream
from snnfer.models._input import check_video
from snnfer.models.spiking_classifier import SpikingClassifier
from snnfer.neurons.kernels._select import chosen_kernel


class StreamingSession:
    """A network that takes one recording step by step, with its state kept and its weights prepared once.

    The outputs are those of ``model.forward_with_state(frame[None, None], state)``, bit for bit. Networks that begin
    with blocks of convolution, normalisation, neuron and pooling, such as `au_snn`, run on compiled kernels whose
    weights are folded and laid out once; others are called as they are. Where weights or modules change between two
    steps, the next step sees it, and the state goes on (but for numbers written through ``weight.data``, which torch
    does not count).

    Args:
        model: In evaluation mode, with ``forward_with_state``.

    Raises:
        ConfigError: the model has no ``forward_with_state``, or is in training mode.

    Examples:
        >>> from snnfer import create_model
        >>> model = create_model("au_snn", n_classes=3, size=(16, 16), hidden=32).eval()
        >>> session = StreamingSession(model)
        >>> frames = torch.poisson(torch.rand(5, 2, 16, 16))
        >>> votes = torch.stack([session.step(frame) for frame in frames])
        >>> torch.equal(votes.mean(0), model(frames[:, None])[0])
        True
    """

    def __init__(self, model: nn.Module) -> None:
        if not hasattr(model, "forward_with_state"):
            raise ConfigError(
                f"a {type(model).__name__} without forward_with_state",
                expected="a network that can go on from a state, such as au_snn",
                cause="a network that reads whole clips",
            )
        self._model: Any = model
        self._check_mode()
        self._fused: FusedStream | None = None
        self._state: Any = None
        self._kernel = ""  # that was chosen when `_fused` was prepared, or found impossible

    @property
    def is_fused(self) -> bool:
        """Whether the last step ran on prepared kernels."""
        return self._fused is not None

    @property
    def state(self) -> Any:
        """What ``model.forward_with_state`` would have returned; None before the first step."""
        return self._state if self._fused is None else self._fused.state()

    @torch.inference_mode()
    def reset(self, state: Any = None) -> None:
        """Go on from a state of the model; None starts a new recording from rest.

        Raises:
            StateError: the state is that of another model (where the network runs as it is: at the next step).
        """
        self._state = state
        if self._fused is not None:
            self._fused.set_state(state)

    @torch.inference_mode()
    def step(self, frame: torch.Tensor) -> torch.Tensor:
        """Scores ``[n_classes]`` of the next frame ``[C, H, W]``.

        Raises:
            ShapeError: the frame does not fit the model.
            ConfigError: the model was set to training mode.
        """
        if self._fused is not None and not self._fused.is_current():
            self._state, self._fused, self._kernel = self._fused.state(), None, ""
        if self._kernel != chosen_kernel(frame)[0]:
            self._prepare(chosen_kernel(frame)[0])
        if self._fused is None:  # which gets a copy: a state may hold the input, whose owner may write to it again
            self._check_mode()
            output, self._state = self._model.forward_with_state(frame[None, None].clone(), self._state)
            return output[0, 0]
        x = self._fused.x
        if frame.shape != x.shape[2:]:
            check_video(frame[None, None], in_channels=x.shape[2], size=tuple(x.shape[3:]), dtype=x.dtype)
        x[0, 0].copy_(frame)
        return self._fused.step()[0, 0].clone()

    def _prepare(self, kernel: str) -> None:
        self._check_mode()
        self._kernel, model = kernel, self._model
        if isinstance(model, SpikingClassifier) and _is_plain(model):
            height, width = model.size
            self._fused = prepare_stream(model.layers, (model.in_channels, height, width))
        if self._fused is not None:
            self._fused.set_state(self._state)

    def _check_mode(self) -> None:
        if self._model.training:
            raise ConfigError("a model in training mode", expected="evaluation mode", fix="model.eval()")


def _is_plain(model: SpikingClassifier) -> bool:
    """Whether the steps of the model are those of its chain."""
    return type(model).forward_with_state is SpikingClassifier.forward_with_state and "forward_with_state" not in vars(
        model
    )
