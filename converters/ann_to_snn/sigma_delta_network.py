"""A sigma-delta network in integers as a module that stands where the network without spikes stood."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from snnfer.converters.loihi.sigma_delta import SigmaDeltaGraph, SigmaDeltaLayer, check_calibration
from snnfer.converters.loihi.sigma_delta_twin import SigmaDeltaState, run_sigma_delta
from snnfer.models._input import check_lengths, time_mean

NAME = "sigma_delta_snn"
"""What the config of a model folder calls this network."""
_PAIRS = ("stride", "padding", "dilation")


class SigmaDeltaSNN(nn.Module):
    """Spiking network whose neurons send changes of their activation as whole numbers; bit for bit what lava computes.

    The weights are integers, and so is everything that is computed from them: `run_sigma_delta` on `graph`. A clip
    starts from rest; of its later images only changes are sent, so that their number of messages depends on how much
    moves. Made by `snnfer.converters.ann_to_snn` with ``method="sigma_delta"``, or by `from_graph`.

    Args:
        layers: One dictionary per layer, as in ``config["layers"]``: the fields of `SigmaDeltaLayer`, with the shape of
            the weights (``weight_shape``) instead of weights and biases.
        input_shape: ``(C, H, W)``, or ``(F,)`` for networks of vectors.
        input_scale: Units of the delta encoder per unit of the input.
        input_threshold: Smallest change of the input that is sent, in units of the encoder.
        scores_windows: Whether the network that it was made from scores single windows, see
            `snnfer.models.WindowClassifier`.

    Attributes:
        config: The arguments: ``SigmaDeltaSNN(**config)`` without its ``name`` builds the same network again, all
            weights zero until `load_state_dict`.

    Shape:
        - Input: one image per sample :math:`(N, C, H, W)`, or clips :math:`(T, N, C, H, W)`, values of any size: the
          encoder rounds them to ``1 / input_scale``.
        - Output: :math:`(N, K)`; of clips the mean over their (valid) images.

    Raises:
        ShapeError: the input does not fit.

    Examples:
        >>> from snnfer.converters.loihi.sigma_delta import sigma_delta
        >>> network = nn.Sequential(nn.Linear(4, 6), nn.LeakyReLU(0.2), nn.Linear(6, 3))
        >>> snn = SigmaDeltaSNN.from_graph(sigma_delta(network, calibration=torch.rand(1, 32, 4)))
        >>> x = torch.rand(5, 2, 4)
        >>> snn(x).shape, snn.forward_steps(x).shape
        (torch.Size([2, 3]), torch.Size([5, 2, 3]))
        >>> bool((snn(x[0]) - network(x[0])).abs().max() < 0.05)
        True
    """

    def __init__(
        self,
        *,
        layers: Sequence[Mapping[str, Any]],
        input_shape: Sequence[int],
        input_scale: float,
        input_threshold: int = 0,
        scores_windows: bool = False,
        **about: Any,
    ) -> None:
        super().__init__()
        self.scores_windows = scores_windows
        self.input_shape = tuple(input_shape)
        self.config = {
            "name": NAME,
            **about,
            "layers": [dict(layer) for layer in layers],
            "input_shape": list(input_shape),
            "input_scale": input_scale,
            "input_threshold": input_threshold,
            "scores_windows": scores_windows,
        }
        self.weights = nn.ParameterList(_integers(spec["weight_shape"]) for spec in layers)
        self.biases = nn.ParameterList(_integers(spec["weight_shape"][:1]) for spec in layers)

    @classmethod
    def from_graph(cls, graph: SigmaDeltaGraph, **about: Any) -> "SigmaDeltaSNN":
        """The module of `graph`; `about` goes into its config."""
        snn = cls(
            layers=[_describe(layer) for layer in graph.layers],
            input_shape=graph.input_shape,
            input_scale=graph.input_scale,
            input_threshold=graph.input_threshold,
            **about,
        )
        for layer, weight, bias in zip(graph.layers, snn.weights, snn.biases, strict=True):
            weight.copy_(torch.from_numpy(layer.weight))
            bias.copy_(torch.from_numpy(layer.bias))
        return snn.eval()

    @property
    def graph(self) -> SigmaDeltaGraph:
        """The network for `run_sigma_delta`, `write_sigma_delta` and `report_sigma_delta`."""
        config = self.config
        parts = zip(config["layers"], self.weights, self.biases, strict=True)
        layers = tuple(_layer(*part) for part in parts)
        return SigmaDeltaGraph(layers, self.input_shape, config["input_scale"], config["input_threshold"])

    def forward(self, x: torch.Tensor, *, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Scores ``[N, K]`` of images ``[N, C, H, W]`` or clips ``[T, N, C, H, W]``.

        Args:
            x: Images or clips, any dtype.
            lengths: Valid images of each clip ``[N]``; all where None.
        """
        clips = x[None] if x.ndim == len(self.input_shape) + 1 else x
        return time_mean(self.forward_steps(clips), check_lengths(lengths, clips))

    def forward_steps(self, x: torch.Tensor) -> torch.Tensor:
        """Score of each image ``[T, N, K]`` of clips ``[T, N, C, H, W]``."""
        return self.forward_with_state(x)[0]

    def forward_with_state(
        self, x: torch.Tensor, state: SigmaDeltaState | None = None
    ) -> tuple[torch.Tensor, SigmaDeltaState]:
        """Score of each image ``[T, N, K]`` and the registers of all neurons; any cut into chunks gives the same bits.

        Raises:
            StateError: the state belongs to another batch or network.
        """
        check_calibration(x, self.input_shape, name="the input")
        result = run_sigma_delta(self.graph, x, state=state or ())
        return result.output, result.state

    def extra_repr(self) -> str:
        return f"layers={len(self.weights)}, input_scale={self.config['input_scale']:g}"


def _integers(shape: Sequence[int]) -> nn.Parameter:
    return nn.Parameter(torch.zeros(*shape, dtype=torch.int16), requires_grad=False)  # 8-bit weights, 13-bit biases


def _describe(layer: SigmaDeltaLayer) -> dict[str, Any]:
    geometry = {key: list(getattr(layer, key)) for key in _PAIRS}
    facts = {key: value for key, value in vars(layer).items() if key not in ("weight", "bias", *_PAIRS)}
    return {**facts, **geometry, "shape": list(layer.shape), "weight_shape": list(layer.weight.shape)}


def _layer(spec: Mapping[str, Any], weight: torch.Tensor, bias: torch.Tensor) -> SigmaDeltaLayer:
    facts = {key: value for key, value in spec.items() if key != "weight_shape"}
    facts |= {key: tuple(spec[key]) for key in ("shape", *_PAIRS)}
    return SigmaDeltaLayer(weight=weight.cpu().int().numpy(), bias=bias.cpu().int().numpy(), **facts)
