"""Losses of reconstruction networks, and terms of the losses of classifiers."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch.nn import functional

from snnfer.errors import DatasetError
from snnfer.models.cvae import kl_to_prior


def discriminator_loss(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    r"""Half the binary cross-entropy of a discriminator that should say 1 to real pairs and 0 to generated ones.

    .. math:: L_D = \tfrac12 [\mathrm{BCE}(D(x, y), 1) + \mathrm{BCE}(D(x, G(x)), 0)]

    Args:
        real, fake: Logits of any one shape, such as ``[N, 1, h, w]`` of a patch discriminator.

    References:
        Isola et al., CVPR 2017, eq. (1); the factor 1/2 is from section 3.3.

    Examples:
        >>> round(float(discriminator_loss(torch.zeros(1), torch.zeros(1))), 4)  # undecided: log 2
        0.6931
    """
    on_real = functional.binary_cross_entropy_with_logits(real, torch.ones_like(real))
    on_fake = functional.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
    return 0.5 * (on_real + on_fake)


def generator_loss(fake: torch.Tensor, output: torch.Tensor, target: torch.Tensor, *, l1_weight: float) -> torch.Tensor:
    r"""What a generator is trained on: to be taken for real, and to be near the target.

    .. math:: L_G = \mathrm{BCE}(D(x, G(x)), 1) + \lambda\, \mathrm{mean}\,|G(x) - y|

    Args:
        fake: Logits of the discriminator for the generated pairs.
        output, target: Images of one shape.
        l1_weight: :math:`\lambda`.

    References:
        Isola et al., CVPR 2017, eq. (4), with the non-saturating adversarial term of section 3.3.
    """
    fooled = functional.binary_cross_entropy_with_logits(fake, torch.ones_like(fake))
    return fooled + l1_weight * functional.l1_loss(output, target)


def negative_elbo(
    reconstruction: torch.Tensor,
    target: torch.Tensor,
    mu: torch.Tensor,
    log_variance: torch.Tensor,
    *,
    kl_weight: float = 1.0,
) -> torch.Tensor:
    r"""Squared error summed over pixels plus the divergence from the prior, averaged over the images.

    .. math:: L = \frac1N \sum_n \Big[\sum_i (\hat y_{ni} - y_{ni})^2 + \beta D_{KL}(\mu_n, \sigma_n^2)\Big]

    Args:
        reconstruction, target: Images ``[T, N, C, H, W]`` in [0, 1].
        mu, log_variance: Of the latent code, ``[T, N, latent]``.
        kl_weight: :math:`\beta`.

    References:
        Kingma and Welling, "Auto-Encoding Variational Bayes", ICLR 2014, appendix B.
    """
    error = (reconstruction.float() - target).square().flatten(2).sum(-1)  # [T, N]
    return (error + kl_weight * kl_to_prior(mu.float(), log_variance.float())).mean()


def class_weights(labels: Sequence[int], n_classes: int, *, names: Sequence[str] = ()) -> torch.Tensor:
    r"""Weights ``[K]`` with which every class adds the same to the loss.

    .. math:: w_c = \frac{N}{n_c K}

    They are 1 on average over the samples, and 1 each where all classes are equally frequent.

    Args:
        labels: Class indices of the training samples.
        n_classes: :math:`K`.
        names: Of the classes, for the error.

    Raises:
        DatasetError: a class has no training sample.

    References:
        King and Zeng, "Logistic Regression in Rare Events Data", 2001.

    Examples:
        >>> class_weights([0, 0, 0, 1], 2)
        tensor([0.6667, 2.0000])
    """
    counts = torch.bincount(torch.as_tensor(labels, dtype=torch.int64), minlength=n_classes)
    if not counts.all():
        empty = int(counts.argmin())
        raise DatasetError(
            f"the class '{names[empty] if names else empty}' has no training sample",
            expected="at least one sample of each class to weight it by",
            cause="a small training set, or a class that only the test subjects show",
            fix="set train.class_weights=none, or leave the class out of the data set",
        )
    return (len(labels) / (counts.double() * n_classes)).float()


def cross_entropy(
    scores: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None = None, *, label_smoothing: float = 0.0
) -> torch.Tensor:
    r"""Cross-entropy of class scores, averaged over the samples.

    .. math:: L = \frac1N \sum_n -w_{y_n} \log \mathrm{softmax}(o_n)_{y_n}

    The sum is divided by the number of samples, not by the sum of their weights as `torch.nn.CrossEntropyLoss` does, so
    that a sample counts the same whichever batch it falls into, and accumulated batches are one large batch.

    Args:
        scores: :math:`o`, ``[N, K]``.
        labels: Class indices ``[N]``.
        weights: :math:`w`, ``[K]``, on average 1; None weights all alike.
        label_smoothing: Share of the label that is spread over all classes.
    """
    if weights is None:
        return functional.cross_entropy(scores, labels, label_smoothing=label_smoothing)
    options = {"label_smoothing": label_smoothing, "reduction": "sum"}
    return functional.cross_entropy(scores, labels, weights, **options) / len(labels)


def vich_kl(
    scores: torch.Tensor,
    mu: torch.Tensor,
    log_variance: torch.Tensor,
    kind: Literal["softmax_prior", "gaussian"],
) -> torch.Tensor:
    r"""Divergence term of the variational classification head of POSTER-Var.

    .. math::
        L_\text{softmax prior} = \frac{1}{NK} \sum_{n,k} p_{nk} (\log p_{nk} - \log z_{nk}), \quad
        L_\text{gaussian} = \frac{1}{2N} \sum_{n,k} \mu_{nk}^2 + \sigma_{nk}^2 - 1 - \log \sigma_{nk}^2

    with :math:`z = \mathrm{softmax}(o)` of the drawn scores and :math:`p = \mathrm{softmax}(\epsilon)`,
    :math:`\epsilon \sim N(0, I)` from torch's random numbers.

    Args:
        scores: Drawn scores :math:`o`, ``[N, K]``.
        mu, log_variance: :math:`\mu` and :math:`\log \sigma^2`, ``[N, K]``.
        kind: ``softmax_prior`` pulls the scores to a random prior, as the authors' code; ``gaussian`` their
            distribution to the standard normal one.

    References:
        POSTER-Var names a divergence without a formula: ``softmax_prior`` is that of the authors' code, ``gaussian``
        the textbook form (Kingma and Welling, "Auto-Encoding Variational Bayes", ICLR 2014, appendix B).

    Examples:
        >>> one = torch.ones(1, 2)
        >>> vich_kl(one, one, torch.zeros(1, 2), "gaussian")  # unit variance, mean 1 in two classes
        tensor(1.)
    """
    if kind == "gaussian":
        return kl_to_prior(mu.float(), log_variance.float()).mean()
    prior = torch.randn_like(mu, dtype=torch.float32).log_softmax(-1)
    return (prior.exp() * (prior - scores.float().log_softmax(-1))).mean()


def center_loss(
    x: torch.Tensor, labels: torch.Tensor, centers: torch.Tensor, *, reduction: Literal["mean", "sum"] = "mean"
) -> torch.Tensor:
    r"""Squared distance of embeddings to the centres of their classes.

    .. math:: L_C = \frac1N \sum_n \lVert x_n - c_{y_n} \rVert_2^2

    Args:
        x: Embeddings ``[N, d]``.
        labels: Class indices ``[N]``.
        centers: ``[K, d]``.
        reduction: ``mean`` over the batch, or its ``sum``.

    References:
        Wen et al., "A Discriminative Feature Learning Approach for Deep Face Recognition", ECCV 2016, eq. (2), without
        its factor 1/2 and averaged, as in the code of Raimondo et al.

    Examples:
        >>> center_loss(torch.tensor([[3.0, 4.0]]), torch.tensor([0]), torch.zeros(1, 2))
        tensor(25.)
    """
    distances = (x - centers[labels]).square().sum(-1)
    return distances.mean() if reduction == "mean" else distances.sum()


def island_loss(centers: torch.Tensor) -> torch.Tensor:
    r"""Similarity of all ordered pairs of class centres, 0 where each pair is opposite.

    .. math:: L_I = \sum_j \sum_{k \ne j} \Big( \frac{c_j \cdot c_k}{\lVert c_j \rVert \lVert c_k \rVert} + 1 \Big)

    Args:
        centers: ``[K, d]``.

    References:
        Cai et al., "Island Loss for Learning Discriminative Features in Facial Expression Recognition", FG 2018,
        eq. (4).

    Examples:
        >>> island_loss(torch.eye(7))  # 42 pairs at right angles
        tensor(42.)
    """
    directions = functional.normalize(centers, dim=-1)
    cosines = (directions[:, None] * directions[None]).sum(-1)  # [K, K]; no matmul, which autocast would round
    others = ~torch.eye(len(centers), dtype=torch.bool, device=centers.device)
    return (cosines[others] + 1).sum()
