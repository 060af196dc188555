"""evTransFER: facial expressions from event images, with the encoder of a reconstruction network.

A `pix2pix` generator first learns to reconstruct the face from an event image. Then its encoder goes into the
classifier:

    >>> from snnfer.models.unet import pix2pix
    >>> generator = pix2pix(size=(32, 32), width=4)  # trained, in real life
    >>> model = evtransfer(size=(32, 32), width=4)
    >>> model.load_encoder(encoder_from(generator))
    >>> model.freeze_encoder()  # or train it with a smaller learning rate than the head

Checkpoint format, for converters and exporters. ``config.json`` of a model folder holds under ``"model"`` the `config`
of the model: ``{"name": "evtransfer", "n_classes": 7, "in_channels": 3, "size": [256, 256], "width": 64,
"hidden": 256, "dropout": 0.5}``; `evtransfer_lstm` also has ``"n_windows"`` and ``"lstm_layers"``. The state dict
holds, for ``d = log2(size)`` convolutions with stride 2 (8 at 256 x 256):

============================================================  ========================================================
``encoder.blocks.{0..d-2}.conv.weight``, ``.bias``            convolution 4 x 4, stride 2, padding 1
``encoder.blocks.{1..d-2}.norm.weight``, ``.bias``,           batch normalisation (eps 1e-5), then LeakyReLU(0.2);
``.running_mean``, ``.running_var``, ``.num_batches_tracked``  block 0 has LeakyReLU alone
``encoder.bottleneck.weight``, ``.bias``                      convolution 4 x 4, stride 2, padding 1, then ReLU
``lstm.{weight,bias}_{ih,hh}_l{0..lstm_layers-1}``            `torch.nn.LSTM`, gates in torch's order i, f, g, o
``classifier.0.weight``, ``.bias``                            fully connected ``8 * width`` to `hidden`, then ReLU
``classifier.3.weight``, ``.bias``                            fully connected `hidden` to `n_classes`
============================================================  ========================================================

In a `pix2pix` folder the encoder has the same names, and the decoder is ``decoder.{0..d-2}.conv``, ``.norm`` and
``output``. Weights of the public code come in through `load_authors_state`.
"""

from collections.abc import Sequence

from torch import nn

from snnfer._check import check_positive
from snnfer.models._evtransfer_state import load_authors_state
from snnfer.models._reads import TIE
from snnfer.models._registry import register_model
from snnfer.models.unet import UNetEncoder, encoder_from
from snnfer.models.window_classifier import WindowClassifier

__all__ = ["encoder_from", "evtransfer", "evtransfer_lstm", "load_authors_state"]


def _head(n_features: int, hidden: int, n_classes: int, dropout: float) -> nn.Sequential:
    check_positive(hidden, name="hidden", unit="units")
    check_positive(n_classes, name="n_classes", unit="classes")
    return nn.Sequential(nn.Linear(n_features, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, n_classes))


@register_model(reads=TIE)
def evtransfer(
    *,
    n_classes: int = 7,
    in_channels: int = 3,
    size: Sequence[int] = (256, 256),
    width: int = 64,
    hidden: int = 256,
    dropout: float = 0.5,
) -> WindowClassifier:
    r"""Classifier of single event images: the encoder of a reconstruction network and two fully connected layers.

    The encoder is `UNetEncoder`; the head is fully connected, ReLU, dropout, fully connected. At the defaults
    19,673,799 parameters. The weights start as torch's layers do; see `WindowClassifier.load_encoder` for transfer.

    Args:
        n_classes: Number of classes.
        in_channels: Channels of the input: 3 for time-surface images such as TIE.
        size: Height and width of the input, in pixels: a square, a power of two, at least 16.
        width: Channels of the first convolution.
        hidden: Size of the first fully connected layer.
        dropout: Dropout probability before the last layer.

    Shape:
        - Input: :math:`(T, N, C, H, W)`, values in [-1, 1]; the paper has T = 1.
        - Output: :math:`(N, n_\text{classes})`, the mean of the scores of the images.

    Raises:
        ShapeError: the input, or `size`, does not fit.

    References:
        Verschae and Bugueno-Cordova, "evTransFER: A Transfer Learning Framework for Event-based Facial Expression
        Recognition", 2025.

    Examples:
        >>> import torch
        >>> model = evtransfer(size=(32, 32), width=4).eval()
        >>> model(torch.rand(1, 2, 3, 32, 32)).shape
        torch.Size([2, 7])
    """
    encoder = UNetEncoder(in_channels=in_channels, size=size, width=width)
    return WindowClassifier(encoder, _head(encoder.n_features, hidden, n_classes, dropout))


@register_model(reads=TIE)
def evtransfer_lstm(
    *,
    n_classes: int = 7,
    in_channels: int = 3,
    size: Sequence[int] = (256, 256),
    width: int = 64,
    hidden: int = 256,
    dropout: float = 0.5,
    n_windows: int = 3,
    lstm_layers: int = 3,
) -> WindowClassifier:
    r"""Classifier of sliding windows: `evtransfer` with an LSTM between the encoder and the head.

    The LSTM reads the features of the last `n_windows` event images from rest, and its last output goes to the head. At
    the defaults 25,977,543 parameters.

    Args:
        n_classes: Number of classes.
        in_channels: Channels of the input: 3 for time-surface images such as TIE.
        size: Height and width of the input, in pixels: a square, a power of two, at least 16.
        width: Channels of the first convolution.
        hidden: Size of the first fully connected layer.
        dropout: Dropout probability before the last layer.
        n_windows: Event images that one score is read from.
        lstm_layers: Stacked LSTM layers, of ``8 * width`` units each. The paper says "three LSTM units"; the public
            code has one layer unless told otherwise.

    Shape:
        - Input: :math:`(T, N, C, H, W)`, values in [-1, 1]; the paper has T = 3.
        - Output: :math:`(N, n_\text{classes})`, the mean of the scores of all complete groups of `n_windows`
          consecutive images; of a clip with fewer images, the score of all of them.

    Raises:
        ShapeError: the input, or `size`, does not fit.
        StateError: a streaming state belongs to another batch or model.

    References:
        Verschae and Bugueno-Cordova, "evTransFER: A Transfer Learning Framework for Event-based Facial Expression
        Recognition", 2025.

    Examples:
        >>> import torch
        >>> model = evtransfer_lstm(size=(32, 32), width=4).eval()
        >>> images = torch.rand(10, 1, 3, 32, 32) * 2 - 1
        >>> model(images).shape
        torch.Size([1, 7])
        >>> scores, state = model.forward_with_state(images[:9])  # streaming: each image is encoded once
        >>> scores, state = model.forward_with_state(images[9:], state)
        >>> torch.equal(scores, model.forward_steps(images)[9:])
        True
    """
    check_positive(lstm_layers, name="lstm_layers", unit="layers")
    encoder = UNetEncoder(in_channels=in_channels, size=size, width=width)
    head = _head(encoder.n_features, hidden, n_classes, dropout)
    return WindowClassifier(encoder, head, n_windows=n_windows, lstm_layers=lstm_layers)
