"""Vision transformer on event images, a baseline of evTransFER."""

from collections.abc import Sequence

from torch import nn

from snnfer._check import check_positive
from snnfer.errors import ShapeError
from snnfer.models._reads import TIE
from snnfer.models._registry import register_model
from snnfer.models._timm import TimmEncoder
from snnfer.models.window_classifier import WindowClassifier


@register_model(reads=TIE)
def vit_b16(
    *,
    n_classes: int = 7,
    in_channels: int = 3,
    size: Sequence[int] = (224, 224),
    patch_size: int = 16,
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    lstm: bool = False,
    n_windows: int = 3,
    lstm_layers: int = 3,
    pretrained: bool = False,
) -> WindowClassifier:
    r"""Vision transformer (ViT-B/16 of timm) on event images, alone or in front of an LSTM over windows.

    At the defaults 85,804,039 parameters.

    Args:
        n_classes: Number of classes.
        in_channels: Channels of the input: 3 for time-surface images such as TIE.
        size: Height and width of the input, in pixels, multiples of `patch_size`.
        patch_size: Side of a patch, in pixels.
        width: Length of a token, a multiple of `heads`.
        depth: Transformer blocks.
        heads: Attention heads per block.
        lstm: Whether an LSTM over the last `n_windows` images stands before the fully connected layer, as in
            `evtransfer_lstm`.
        n_windows: Images that the LSTM reads.
        lstm_layers: Stacked LSTM layers, of `width` units each.
        pretrained: Whether to start from timm's weights for ImageNet, which are downloaded. In the model's `config` it
            is always false: a model that is built again takes its weights from its own file.

    Shape:
        - Input: :math:`(T, N, C, H, W)`, values in [-1, 1]; the paper has T = 1, or T = 3 with the LSTM.
        - Output: :math:`(N, n_\text{classes})`, the mean of the scores of all images, or of all groups of `n_windows`.

    Raises:
        MissingExtraError: timm is not installed.
        ShapeError: the input, or `size`, does not fit.
        CheckpointError: the pretrained weights cannot be downloaded, or do not fit.

    References:
        Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021; Verschae and Bugueno-Cordova, "evTransFER: A
        Transfer Learning Framework for Event-based Facial Expression Recognition", 2025 (baselines ViT and ViT + LSTM).

    Examples:
        >>> import torch
        >>> model = vit_b16(size=(32, 32), width=32, depth=2, heads=4, lstm=True).eval()
        >>> model(torch.rand(3, 2, 3, 32, 32)).shape
        torch.Size([2, 7])
    """
    check_positive(n_classes, name="n_classes", unit="classes")
    check_positive(patch_size, name="patch_size", unit="pixels")
    if min(size) < patch_size or any(side % patch_size for side in size):
        raise ShapeError(f"size = {tuple(size)}", expected=f"multiples of patch_size = {patch_size}")
    if heads < 1 or width < 1 or width % heads:
        raise ShapeError(f"width = {width} with heads = {heads}", expected="a width that is a multiple of the heads")
    encoder = TimmEncoder(
        "vit_base_patch16_224",
        in_channels=in_channels,
        size=size,
        pretrained=pretrained,
        img_size=tuple(size),
        patch_size=patch_size,
        embed_dim=width,
        depth=depth,
        num_heads=heads,
    )
    return WindowClassifier(
        encoder,
        nn.Linear(encoder.n_features, n_classes),
        n_windows=n_windows if lstm else 1,
        lstm_layers=lstm_layers if lstm else 0,
    )
