r"""POSTER++ and POSTER-Var: facial expressions from single images, through image and landmark features.

Both read an image with two networks, `snnfer.models.ir50.IR50` and `snnfer.models.mobilefacenet.MobileFaceNet`, fuse
their features at three levels by cross attention, and read the fused levels with a small transformer:

    >>> import torch
    >>> model = poster_v2(size=(64, 64), widths=(8, 16, 16), depths=(1, 1, 1), embed_dim=32).eval()
    >>> model(torch.rand(1, 2, 3, 64, 64)).shape  # one image per step
    torch.Size([2, 7])

Weights of the public code come in through `load_authors_state`.
"""

from collections.abc import Sequence
from typing import Literal

from snnfer.models._poster_network import Poster
from snnfer.models._poster_state import load_authors_state
from snnfer.models._reads import RGB
from snnfer.models._registry import register_model

__all__ = ["Poster", "load_authors_state", "poster_v2", "poster_var"]


@register_model(reads=RGB)
def poster_v2(
    *,
    n_classes: int = 7,
    in_channels: int = 3,
    size: Sequence[int] = (224, 224),
    widths: Sequence[int] = (64, 128, 256),
    depths: Sequence[int] = (3, 4, 14),
    landmark_depths: Sequence[int] = (4, 6, 2),
    heads: Sequence[int] = (2, 4, 8),
    embed_dim: int = 768,
    vit_depth: int = 2,
    vit_heads: int = 8,
    drop_path: Sequence[float] = (0.0, 0.125, 0.25),
    freeze_landmarks: bool = True,
    freeze_norm: bool = False,
    backbone_weights: str = "",
    landmark_weights: str = "",
) -> Poster:
    r"""POSTER++: image and landmark features of three levels, fused by window cross attention, and a transformer.

    At the defaults 43,753,941 parameters and 8.5924 G multiply-accumulates per image. The public code builds 58.3
    million: the rest has no part in the result, and is not built here. The paper's 43.7 M and 8.4 G are counts of
    ``thop``, which does not see parameters outside of layers nor products of two activations.

    The published networks start from public weights of both branches. Without `landmark_weights` the landmark features
    are those of a random network: train it as well (``freeze_landmarks=False``).

    Args:
        n_classes: Number of classes.
        in_channels: Channels of the input: 3 for colour images.
        size: Height and width of the input, in pixels, multiples of 32 from 64. Both branches see every second pixel.
        widths: Channels of the three levels, in both branches.
        depths: Residual blocks of the three levels of the image branch.
        landmark_depths: Residual blocks of the three levels of the landmark branch.
        heads: Heads of the cross attention at the three levels.
        embed_dim: Length of a token of the transformer.
        vit_depth: Blocks of the transformer.
        vit_heads: Heads of the transformer.
        drop_path: Stochastic depth at the three levels: probability that a sample skips a branch in training.
        freeze_landmarks: Whether the weights of the landmark branch are excluded from training, as in the public code.
        freeze_norm: Whether batch normalisation of the landmark branch keeps its stored statistics in training. In the
            public code it follows each batch, although the weights are frozen.
        backbone_weights: File of weights that the image branch starts from, such as the public ``ir50.pth``; empty
            for random ones. In the model's `config` it is always empty: a model that is built again takes its weights
            from its own file.
        landmark_weights: The same for the landmark branch, such as ``mobilefacenet_model_best.pth.tar``.

    Shape:
        - Input: :math:`(T, N, C, H, W)`, normalised (by ImageNet's mean and deviation in the paper); each valid step
          is one image, and the paper has T = 1.
        - Output: :math:`(N, n_\text{classes})`, the mean of the scores of the images.

    Raises:
        ShapeError: the input, `size`, or a number of channels or heads does not fit.
        ConfigError: not three levels, or `drop_path` is no probability below 1.
        CheckpointError: a file of weights cannot be read, or does not fit.

    References:
        Mao et al., "POSTER++: A simpler and stronger facial expression recognition network", Pattern Recognition 157,
        2025. Order of layers, initialisation and rates of stochastic depth: the public code.

    Examples:
        >>> import torch
        >>> model = poster_v2(size=(64, 64), widths=(8, 16, 16), depths=(1, 1, 1), embed_dim=32).eval()
        >>> model.forward_steps(torch.rand(5, 2, 3, 64, 64)).shape
        torch.Size([5, 2, 7])
    """
    return Poster(
        n_classes=n_classes,
        in_channels=in_channels,
        size=size,
        widths=widths,
        depths=depths,
        landmark_depths=landmark_depths,
        heads=heads,
        embed_dim=embed_dim,
        vit_depth=vit_depth,
        vit_heads=vit_heads,
        drop_path=drop_path,
        freeze_landmarks=freeze_landmarks,
        freeze_norm=freeze_norm,
        backbone_weights=backbone_weights,
        landmark_weights=landmark_weights,
    )


@register_model(reads=RGB)
def poster_var(
    *,
    n_classes: int = 7,
    in_channels: int = 3,
    size: Sequence[int] = (224, 224),
    widths: Sequence[int] = (64, 128, 256),
    depths: Sequence[int] = (3, 4, 14),
    landmark_depths: Sequence[int] = (4, 6, 2),
    heads: Sequence[int] = (2, 4, 8),
    embed_dim: int = 768,
    vit_depth: int = 2,
    vit_heads: int = 8,
    drop_path: Sequence[float] = (0.0, 0.125, 0.25),
    freeze_landmarks: bool = True,
    freeze_norm: bool = False,
    level_embeddings: bool = True,
    head: Literal["linear", "vich"] = "vich",
    backbone_weights: str = "",
    landmark_weights: str = "",
) -> Poster:
    r"""POSTER-Var: `poster_v2` with level embeddings, a nonlinear fusion of levels and a variational head.

    The embedding of each level ends in a GELU (and has one between its two convolutions), a learnt vector per level is
    added to its tokens, and all tokens are normalised. The head gives a normal distribution of each score,

    .. math::
        o = \mu + e^{\frac{1}{2} \log \sigma^2} \odot \varepsilon, \quad \varepsilon \sim N(0, I),

    from which training draws; in evaluation :math:`o = \mu`. `Poster.forward_with_details` also gives both parameters,
    for the divergence in the loss (``train.kl``). At the defaults 43,763,164 parameters and 8.5924 G
    multiply-accumulates per image.

    Args:
        n_classes: Number of classes.
        in_channels: Channels of the input: 3 for colour images.
        size: Height and width of the input, in pixels, multiples of 32 from 64.
        widths, depths, landmark_depths, heads, embed_dim, vit_depth, vit_heads, drop_path: As in `poster_v2`.
        freeze_landmarks, freeze_norm: As in `poster_v2`.
        level_embeddings: Whether a learnt vector per level is added ("Layer Emb." of the paper's ablation).
        head: ``vich`` is the variational head, ``linear`` a fully connected layer ("w/o VI Module").
        backbone_weights, landmark_weights: As in `poster_v2`.

    Shape:
        - Input: :math:`(T, N, C, H, W)`, normalised; each valid step is one image, and the paper has T = 1.
        - Output: :math:`(N, n_\text{classes})`, the mean of the scores of the images.

    Raises:
        ShapeError: the input, `size`, or a number of channels or heads does not fit.
        ConfigError: not three levels, or `drop_path` is no probability below 1.
        CheckpointError: a file of weights cannot be read, or does not fit.

    References:
        Lv, Zhang and Tsoi, "POSTER-Var", 2026, eq. (1) to (5) and Table 3. GELUs and the normalisation of the tokens:
        the public code; the paper says "nonlinear transformations".

    Examples:
        >>> import torch
        >>> model = poster_var(size=(64, 64), widths=(8, 16, 16), depths=(1, 1, 1), embed_dim=32).eval()
        >>> scores, details = model.forward_with_details(torch.rand(1, 2, 3, 64, 64))
        >>> torch.equal(scores, details["mu"]), list(details)
        (True, ['mu', 'log_variance'])
    """
    return Poster(
        n_classes=n_classes,
        in_channels=in_channels,
        size=size,
        widths=widths,
        depths=depths,
        landmark_depths=landmark_depths,
        heads=heads,
        embed_dim=embed_dim,
        vit_depth=vit_depth,
        vit_heads=vit_heads,
        drop_path=drop_path,
        freeze_landmarks=freeze_landmarks,
        freeze_norm=freeze_norm,
        backbone_weights=backbone_weights,
        landmark_weights=landmark_weights,
        nonlinear_fusion=True,
        level_embeddings=level_embeddings,
        head=head,
    )
