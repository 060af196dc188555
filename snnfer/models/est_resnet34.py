"""ResNet-34 on event spike tensors whose kernel learns with it, a baseline of evTransFER."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from snnfer._check import check_positive
from snnfer.errors import ShapeError
from snnfer.events import EventStream
from snnfer.models._encoder import Encoder
from snnfer.models._reads import Reads
from snnfer.models._registry import register_model
from snnfer.models._timm import TimmEncoder
from snnfer.models.window_classifier import WindowClassifier
from snnfer.representations import LearnedEST

MIN_SIZE = 16
Events = torch.Tensor | Sequence[EventStream] | Sequence[torch.Tensor]


class ESTClassifier(WindowClassifier):
    """`WindowClassifier` that can begin with the events themselves; built by `est_resnet34`."""

    def __init__(self, representation: LearnedEST, encoder: Encoder, classifier: nn.Module, **kwargs: Any) -> None:
        super().__init__(encoder, classifier, **kwargs)
        self.representation = representation

    def forward_events(self, windows: Sequence[Events]) -> torch.Tensor:
        """Scores ``[N, n_classes]`` of events; in training the kernel of the representation learns with the rest.

        Args:
            windows: One item per time step, each the events of N samples: anything that `LearnedEST` takes.

        Raises:
            ShapeError: there are no windows, or they hold different numbers of samples.
        """
        return self(self.represent(windows))

    def represent(self, windows: Sequence[Events]) -> torch.Tensor:
        """Event spike tensors ``[T, N, C, H, W]``, their centred square resized to the input of the network."""
        voxels = [square_resize(self.representation(events), self.encoder.config["size"]) for events in windows]
        if len({len(x) for x in voxels}) != 1:
            raise ShapeError(
                f"windows of {[len(x) for x in voxels]} samples", expected="one number of samples in every window"
            )
        return torch.stack(voxels)


def square_resize(x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Centred square of ``[N, C, H, W]``, resized to `size` by nearest neighbours."""
    height, width = x.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return F.interpolate(x[:, :, top : top + side, left : left + side], size=tuple(size), mode="nearest")


@register_model(reads=Reads("est"))
def est_resnet34(
    *,
    n_classes: int = 7,
    in_channels: int = 18,
    size: Sequence[int] = (224, 224),
    sensor_size: Sequence[int] = (180, 240),
    channels: Sequence[int] = (64, 128, 256, 512),
    blocks: Sequence[int] = (3, 4, 6, 3),
    lstm: bool = False,
    n_windows: int = 3,
    lstm_layers: int = 3,
    pretrained: bool = False,
) -> ESTClassifier:
    r"""ResNet-34 (of timm) on event spike tensors (EST), alone or in front of an LSTM over windows.

    ``model(x)`` takes event spike tensors that were made before. ``model.forward_events(windows)`` takes events and
    makes them with the model's own kernel, a network of 1,021 parameters that is trained with the rest. At the defaults
    21,336,324 parameters.

    Args:
        n_classes: Number of classes.
        in_channels: Channels of the input: twice the time bins of the representation.
        size: Height and width of the input, in pixels, at least 16 x 16.
        sensor_size: Height and width of the sensor whose events ``forward_events`` takes, in pixels.
        channels: Channels of the four stages.
        blocks: Residual blocks in the four stages.
        lstm: Whether an LSTM over the last `n_windows` tensors stands before the fully connected layer, as in
            `evtransfer_lstm`.
        n_windows: Tensors that the LSTM reads.
        lstm_layers: Stacked LSTM layers, of as many units as the last stage has channels.
        pretrained: Whether to start from timm's weights for ImageNet, which are downloaded (the first convolution is
            spread over the channels). In the model's `config` it is always false: a model that is built again takes
            its weights from its own file.

    Shape:
        - Input: :math:`(T, N, C, H, W)`; the paper has T = 1, or T = 3 with the LSTM.
        - Output: :math:`(N, n_\text{classes})`, the mean of the scores of all steps, or of all groups of `n_windows`.

    Raises:
        MissingExtraError: timm is not installed.
        ShapeError: the input, or one of the arguments, does not fit.
        CheckpointError: the pretrained weights cannot be downloaded, or do not fit.

    References:
        Gehrig et al., "End-to-End Learning of Representations for Asynchronous Event-Based Data", ICCV 2019; Verschae
        and Bugueno-Cordova, evTransFER, 2025 (baselines EST and EST + LSTM).

    Examples:
        >>> model = est_resnet34(size=(32, 32), sensor_size=(24, 32), channels=(4, 8, 8, 8), blocks=(1, 1, 1, 1)).eval()
        >>> model(torch.rand(1, 2, 18, 32, 32)).shape
        torch.Size([2, 7])
        >>> events = torch.tensor([[30.0, 2.0, 0.0, 1.0], [16.0, 9.0, 700.0, 0.0]])  # x, y, t, p
        >>> model.forward_events([[events, events]]).shape  # one window of two samples
        torch.Size([2, 7])
    """
    check_positive(n_classes, name="n_classes", unit="classes")
    if min(size) < MIN_SIZE:
        raise ShapeError(f"size = {tuple(size)}", expected=f"at least {MIN_SIZE} x {MIN_SIZE} pixels")
    if in_channels < 4 or in_channels % 2:
        raise ShapeError(f"in_channels = {in_channels}", expected="twice the time bins, of which there are at least 2")
    if len(channels) != 4 or len(blocks) != 4 or min(*channels, *blocks) < 1:
        raise ShapeError(
            f"channels = {tuple(channels)} with blocks = {tuple(blocks)}", expected="four numbers above 0 of each"
        )
    encoder = TimmEncoder(
        "resnet34",
        in_channels=in_channels,
        size=size,
        pretrained=pretrained,
        channels=tuple(channels),
        layers=tuple(blocks),
        zero_init_last=False,  # as torchvision's, which EST starts from
    )
    height, width = sensor_size
    with torch.device("cpu"):  # its first weights are fitted, which the device "meta" cannot
        representation = LearnedEST((height, width), n_bins=in_channels // 2)
    return ESTClassifier(
        representation,
        encoder,
        nn.Linear(encoder.n_features, n_classes),
        n_windows=n_windows if lstm else 1,
        lstm_layers=lstm_layers if lstm else 0,
    )
