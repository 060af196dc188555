"""The RGB-D network for facial expressions of Raimondo et al.: two convolutional trunks, one attention, a small ViT."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import torch
from torch import nn

from snnfer._check import check_positive
from snnfer.errors import CheckpointError, ConfigError, ShapeError
from snnfer.models._input import check_lengths, check_video, time_mean
from snnfer.models._reads import Reads
from snnfer.models._registry import register_model
from snnfer.models._rgbd_fusion import CrossModalityAttention, FusionRule, SumFusion
from snnfer.models._state_dict import mismatches, plain_state
from snnfer.models._steps import apply_to_steps
from snnfer.models._timm import create_network
from snnfer.models._weights_file import read_weights

Ablation = Literal["none", "no_vit", "no_attention", "sum_fusion", "rgb_only"]

STRIDE = 32  # of the last stage of every EfficientNet
OUTSIDE_TRUNK = ("conv_head.", "bn2.", "classifier.")  # what a whole EfficientNet has behind its last stage


class RGBDFER(nn.Module):
    """Trunks per modality, fusion, transformer (or average pooling), two fully connected layers; built by `rgbd_fer`.

    Attributes:
        encoder: The trunks, by modality (``rgb``, ``depth``); they may learn at another rate than the rest.
        n_features: Length of the embedding.
        explained_layer: The part whose output `snnfer.training.explanation.grad_cam` explains by default.
    """

    config: dict[str, Any]
    explained_layer = "fusion"

    def __init__(
        self,
        trunks: Mapping[str, nn.Module],
        fusion: nn.Module,
        pool: nn.Module,
        *,
        n_features: int,
        hidden: int,
        n_classes: int,
        size: Sequence[int],
    ) -> None:
        super().__init__()
        self.encoder = nn.ModuleDict(trunks)
        self.fusion = fusion
        self.pool = pool
        self.classifier = nn.Sequential(nn.Linear(n_features, hidden), nn.ReLU(), nn.Linear(hidden, n_classes))
        self.n_features = n_features
        self.size = tuple(size)

    def forward(self, x: torch.Tensor, *, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Scores ``[N, n_classes]`` of the input ``[T, N, C, H, W]``: the mean over the images of each clip.

        Args:
            x: Images ``[T, N, C, H, W]``; channels red, green, blue, depth.
            lengths: Valid images of each sample ``[N]``; all where None.
        """
        return self.forward_with_details(x, lengths=lengths)[0]

    def forward_with_details(
        self, x: torch.Tensor, *, lengths: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Scores ``[N, n_classes]``, and ``embedding`` ``[N, n_features]``, what the fully connected layers see."""
        embedding = self._embed(x)
        valid = check_lengths(lengths, x)
        return time_mean(self.classifier(embedding), valid), {"embedding": time_mean(embedding, valid)}

    def forward_steps(self, x: torch.Tensor) -> torch.Tensor:
        """Scores of each image ``[T, N, n_classes]``."""
        return self.classifier(self._embed(x))

    def load_trunks(self, state_dict: Mapping[str, Any], *, modalities: Sequence[str] = ()) -> None:
        """Copy the weights of a whole network of timm into the trunks.

        The names are timm's (``conv_stem.weight``, ``blocks.0.0.conv_dw.weight``, ...), as in hsemotion's
        ``enet_b2_7``; ``conv_head``, ``bn2`` and ``classifier``, which the trunks do not have, are left out. hsemotion
        publishes whole pickled modules, which run code when they are read: save their ``state_dict()`` once, in an
        environment that you trust with them.

        Args:
            state_dict: What ``torch.load(path, weights_only=True)`` gives.
            modalities: Trunks that get the weights; all where empty.

        Raises:
            CheckpointError: names or shapes do not fit; then the model is unchanged.
            ConfigError: the model has no trunk of this name.

        Examples:
            >>> import timm
            >>> model = rgbd_fer(size=(64, 64), backbone="test_efficientnet", width=16, depth=1, heads=2)
            >>> model.load_trunks(timm.create_model("test_efficientnet").state_dict(), modalities=["rgb"])
        """
        given = {key: v for key, v in plain_state(state_dict).items() if not key.startswith(OUTSIDE_TRUNK)}
        chosen = list(modalities or self.encoder)
        for name in chosen:
            if name not in self.encoder:
                raise ConfigError(f"modalities = {chosen}", expected="trunks of the model: " + ", ".join(self.encoder))
        own = self.encoder[chosen[0]].state_dict()  # all trunks are alike
        own = {key: value for key, value in own.items() if key in given or not key.endswith("num_batches_tracked")}
        problems = mismatches({key: key for key in own}, own, given)
        if problems:
            raise CheckpointError(
                f"the weights do not fit the trunks: {'; '.join(problems)}",
                expected="the state dict of timm's network that the model was created with",
                fix="create_model('rgbd_fer', backbone=...) with the network of the file",
            )
        for name in chosen:
            self.encoder[name].load_state_dict(given, strict=False)

    def _embed(self, x: torch.Tensor) -> torch.Tensor:
        """``[T, N, C, H, W]`` to ``[T, N, n_features]``."""
        rgb_only = len(self.encoder) == 1
        if x.ndim == 5 and x.shape[2] in (1, 3, 4):  # depth, RGB or both: it is known what is missing
            _check_channels(x.shape[2], rgb_only=rgb_only)
        x = check_video(x, in_channels=3 if rgb_only else 4, size=self.size, dtype=next(self.parameters()).dtype)
        return apply_to_steps(self._embed_images, x, training=self.training)

    def _embed_images(self, x: torch.Tensor) -> torch.Tensor:
        images = {"rgb": x[:, :3], "depth": x[:, 3:].repeat(1, 3, 1, 1)}  # depth: one channel seen three times
        features = {name: trunk(images[name])[-1] for name, trunk in self.encoder.items()}  # [N, C, h, w] each
        return self.pool(self.fusion(features))


class AveragePool(nn.Module):
    """Mean over the positions of ``[N, C, h, w]``."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


@register_model(reads=Reads("", "rgbd"))
def rgbd_fer(
    *,
    n_classes: int = 7,
    in_channels: int = 4,
    size: Sequence[int] = (260, 260),
    backbone: str = "tf_efficientnet_b2",
    n_masks: int = 4,
    reduction: int = 8,
    fusion: FusionRule = "average_rgb",
    width: int = 768,
    depth: int = 4,
    heads: int = 12,
    ablation: Ablation = "none",
    pretrained: bool = False,
    backbone_weights: str = "",
) -> RGBDFER:
    r"""Facial expressions from an RGB image and its depth map.

    Two EfficientNet-B2 of timm end with their last inverted-residual stage, :math:`X_\text{rgb}` and
    :math:`X_\text{depth}` of 352 x 9 x 9. LANet modules say for each modality which positions matter, the
    strongest of `n_masks` modules counts, and the mean of both modalities weighs the RGB features:

    .. math::
        M_i = \max_{s \le S}\ \sigma(\mathrm{BN}(w_2 * \mathrm{ReLU}(\mathrm{BN}(w_1 * X_i)))), \quad
        X_\text{out} = \tfrac12 (M_\text{rgb} + M_\text{depth}) \odot X_\text{rgb}

    A 1 x 1 convolution to `width` channels, a class token, learned positions and `depth` pre-norm transformer blocks
    follow, and two fully connected layers read the normalised class token (the ``embedding``). Batch normalisation sees
    all images of a batch, padded ones too: train on clips without padding, such as single images.

    At the defaults 43,814,307 parameters, 7,202,562 of them in each trunk, and 4.30 G multiply-accumulates per image.
    The paper names neither number.

    Args:
        n_classes: Number of classes.
        in_channels: 4: red, green, blue, depth, in this order; 3 with ``ablation="rgb_only"``.
        size: Height and width of the input, in pixels, at least 32 x 32.
        backbone: Name of an EfficientNet in timm.
        n_masks: LANet modules per modality, S.
        reduction: Channels of the trunk per channel between the two convolutions of a LANet module.
        fusion: ``average_rgb`` as printed; ``sum`` is
            :math:`M_\text{rgb} \odot X_\text{rgb} + M_\text{depth} \odot X_\text{depth}`, as in later code of theirs.
        width: Length of a token, a multiple of `heads`; also the size of the first fully connected layer.
        depth: Transformer blocks.
        heads: Attention heads per block.
        ablation: A row of the paper's tables VI and VII. ``no_vit``: average pooling of :math:`X_\text{out}` instead of
            convolution and transformer. ``no_attention``: :math:`X_\text{rgb} + X_\text{depth}` in front of the
            transformer. ``sum_fusion``: neither, eq. (8). ``rgb_only``: one trunk,
            :math:`X_\text{out} = M_\text{rgb} \odot X_\text{rgb}`.
        pretrained: Whether the trunks start from timm's weights for ImageNet, which are downloaded. In the model's
            `config` it is always false: a model that is built again takes its weights from its own file.
        backbone_weights: File of weights that both trunks start from, see `RGBDFER.load_trunks`; empty for none. In the
            model's `config` it is always empty.

    Shape:
        - Input: :math:`(T, N, C, H, W)`, normalised per channel; the paper has T = 1.
        - Output: :math:`(N, n_\text{classes})`, the mean of the scores of all images.

    Raises:
        MissingExtraError: timm is not installed.
        ShapeError: the input, `size` or `in_channels` does not fit.
        ConfigError: an unknown backbone, ablation or fusion.
        CheckpointError: the weights cannot be downloaded or read, or do not fit.

    References:
        Raimondo et al., "A new neural network architecture for facial expression recognition", 2024: section III-C,
        table II (trunk), figure 8, tables VI and VII (ablations). The paper says "the same from POSTERV2" of the
        transformer and "4 layers"; class token, learned positions and pre-norm are inferred. Wang and Guo, "LS-CNN",
        IEEE TIFS 2020 (LANet); Tan and Le, "EfficientNet", ICML 2019; Dosovitskiy et al., ICLR 2021.

    Examples:
        >>> model = rgbd_fer(size=(64, 64), backbone="test_efficientnet", width=32, depth=2, heads=4).eval()
        >>> scores, details = model.forward_with_details(torch.rand(1, 2, 4, 64, 64))
        >>> scores.shape, details["embedding"].shape
        (torch.Size([2, 7]), torch.Size([2, 32]))
    """
    check_positive(n_classes, name="n_classes", unit="classes")
    check_positive(n_masks, name="n_masks", unit="modules")
    check_positive(depth, name="depth", unit="transformer blocks")
    _check_choice("fusion", fusion, FusionRule)
    _check_choice("ablation", ablation, Ablation)
    _check_channels(in_channels, rgb_only=ablation == "rgb_only")
    if min(size) < STRIDE:
        raise ShapeError(f"size = {tuple(size)}", expected=f"at least {STRIDE} x {STRIDE} pixels, one position of the"
                         " features")  # fmt: skip
    if heads < 1 or width < 1 or width % heads:
        raise ShapeError(f"width = {width} with heads = {heads}", expected="a width that is a multiple of the heads")
    modalities = ("rgb",) if ablation == "rgb_only" else ("rgb", "depth")
    trunks = {name: _trunk(backbone, pretrained=pretrained) for name in modalities}
    channels = cast(Any, trunks["rgb"]).feature_info.channels()[-1]
    if ablation in ("sum_fusion", "no_attention"):
        fuse: nn.Module = SumFusion()
    else:
        fuse = CrossModalityAttention(channels, modalities, n_masks=n_masks, reduction=reduction, rule=fusion)
    without_vit = ablation in ("sum_fusion", "no_vit")
    pool = AveragePool() if without_vit else _transformer(channels, size, width=width, depth=depth, heads=heads)
    n_features = channels if without_vit else width
    model = RGBDFER(trunks, fuse, pool, n_features=n_features, hidden=width, n_classes=n_classes, size=size)
    if backbone_weights:
        model.load_trunks(read_weights(backbone_weights))
    return model


def _trunk(backbone: str, *, pretrained: bool) -> nn.Module:
    """Images ``[N, 3, H, W]`` to a list of one element, the output of the last stage ``[N, C, H / 32, W / 32]``."""
    trunk = create_network(backbone, pretrained=pretrained, features_only=True, out_indices=(-1,))
    reduction = cast(Any, trunk).feature_info.reduction()[-1]
    if reduction != STRIDE:
        raise ConfigError(
            f"backbone = '{backbone}', which divides the size by {reduction}",
            expected=f"a convolutional network that divides it by {STRIDE}, such as tf_efficientnet_b2",
        )
    return trunk


def _transformer(channels: int, size: Sequence[int], *, width: int, depth: int, heads: int) -> nn.Module:
    """Features ``[N, C, h, w]`` to the class token ``[N, width]``: timm's ViT whose patches are single positions."""
    positions = tuple(-(-side // STRIDE) for side in size)
    return create_network("vit_base_patch16_224", pretrained=False, img_size=positions, patch_size=1,
                          in_chans=channels, num_classes=0, embed_dim=width, depth=depth, num_heads=heads)  # fmt: skip


def _check_choice(name: str, value: str, choices: Any) -> None:
    if value not in choices.__args__:
        raise ConfigError(f"{name} = '{value}'", expected="one of " + ", ".join(choices.__args__))


def _check_channels(in_channels: int, *, rgb_only: bool) -> None:
    """Refuse a depth map without its RGB image, and the other way round."""
    if in_channels == (3 if rgb_only else 4):
        return
    if rgb_only:
        raise ShapeError(
            f"{in_channels} channels for rgbd_fer with ablation='rgb_only'",
            expected="3 channels: red, green, blue",
            fix="use the modality rgb, or leave out the ablation for RGB with depth",
        )
    causes = {1: "a depth map without its RGB image", 3: "an RGB image without its depth map"}
    raise ShapeError(
        f"{in_channels} channel{'s' * (in_channels != 1)} for rgbd_fer",
        expected="4 channels: red, green, blue, depth",
        cause=causes.get(in_channels, "another modality"),
        fix="use the modality rgbd, or ablation='rgb_only' for images without depth",
    )
