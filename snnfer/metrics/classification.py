"""Top-k accuracy, confusion matrix, unweighted F1 and unweighted average recall.

All scores are *pooled*: the clips of all folds are put together first, then one score is computed. A mean over folds
would let a subject with few clips, or a fold that lacks a class, weigh as much as any other.

Absent classes: UF1 and UAR average over the classes that occur among the true labels. A class that never occurs there
has no recall, and what was predicted as it already counts as a miss of the class that was there.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch

from snnfer.errors import ShapeError, SnnferError

Array: TypeAlias = np.ndarray | torch.Tensor | Sequence


def top_k_hits(scores: Array, y: Array, k: int = 1) -> np.ndarray:
    """Whether the true class is among the k best scores, per clip.

    Equal scores rank by class index, lowest first, as in ``argmax``. So ``k=1`` is ``scores.argmax(1) == y``, and a
    network that says nothing (all scores equal) is not given the benefit of the doubt.

    Args:
        scores: ``[n, K]``, higher means more likely.
        y: True classes ``[n]``, 0 to K - 1.
        k: How many classes may be named, from 1.

    Returns:
        ``[n]``, bool.

    Raises:
        ShapeError: `scores` is not ``[n, K]`` or `y` is not ``[n]``.
        SnnferError: no clips, scores that are not finite, or a class outside 0 to K - 1.

    Examples:
        >>> top_k_hits([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]], [2, 0], k=2)
        array([ True,  True])
    """
    values, target = _to_numpy(scores), _to_numpy(y)
    if values.ndim != 2 or target.shape != values.shape[:1]:
        raise ShapeError(
            f"scores of shape {list(values.shape)} with labels of shape {list(target.shape)}",
            expected="scores [n, n_classes] with labels [n]",
        )
    if k < 1:
        raise SnnferError(f"k = {k}", expected="1 or more")
    if not np.isfinite(values).all():
        raise SnnferError("scores hold NaN or infinity", cause="training diverged", fix="lower the learning rate")
    _check_classes(target, values.shape[1], name="labels")
    own = np.take_along_axis(values, target[:, None], axis=1)
    earlier = np.arange(values.shape[1]) < target[:, None]
    rank = ((values > own) | ((values == own) & earlier)).sum(1)  # classes named before the true one
    return rank < k


def top_k_accuracy(scores: Array, y: Array, k: int = 1) -> float:
    """Share of clips whose true class is among the k best scores; arguments as in `top_k_hits`.

    Examples:
        >>> top_k_accuracy([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]], [2, 0])
        0.5
    """
    return float(top_k_hits(scores, y, k).mean())


def confusion_matrix(predicted: Array, y: Array, n_classes: int) -> np.ndarray:
    """Counts of clips, ``[true class, predicted class]``.

    Args:
        predicted: Predicted classes ``[n]``.
        y: True classes ``[n]``.
        n_classes: K.

    Returns:
        ``[K, K]``, int64.

    Raises:
        ShapeError: the two differ in shape or are not ``[n]``.
        SnnferError: no clips, or a class outside 0 to K - 1.

    Examples:
        >>> confusion_matrix([0, 1, 1], [0, 0, 1], 2)
        array([[1, 1],
               [0, 1]])
    """
    named, target = _to_numpy(predicted), _to_numpy(y)
    if named.shape != target.shape or target.ndim != 1:
        raise ShapeError(
            f"predicted classes of shape {list(named.shape)} with labels of shape {list(target.shape)}",
            expected="both [n]",
            cause="scores were passed in place of classes",
            fix="pass scores.argmax(1)",
        )
    _check_classes(target, n_classes, name="labels")
    _check_classes(named, n_classes, name="predicted classes")
    flat = np.bincount(target * n_classes + named, minlength=n_classes**2)
    return flat.reshape(n_classes, n_classes)


def per_class_recall(matrix: np.ndarray) -> np.ndarray:
    """Recall TP / (TP + FN) of each class from a confusion matrix; NaN for a class without clips.

    Examples:
        >>> per_class_recall(np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0]]))
        array([0.75, 1.  ,  nan])
    """
    n_true = matrix.sum(-1)
    return _divide_where_present(np.diagonal(matrix), n_true, n_true)


def per_class_f1(matrix: np.ndarray) -> np.ndarray:
    """F1 = 2 TP / (2 TP + FP + FN) of each class from a confusion matrix; NaN for a class without clips.

    Examples:
        >>> per_class_f1(np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0]])).round(3)
        array([0.857, 0.8  ,   nan])
    """
    n_true, n_predicted = matrix.sum(-1), matrix.sum(-2)
    return _divide_where_present(2 * np.diagonal(matrix), n_true + n_predicted, n_true)


def uf1(predicted: Array, y: Array) -> float:
    """Unweighted F1 (UF1, macro F1): the mean of `per_class_f1` over the classes that occur in `y`.

    Args:
        predicted: Predicted classes ``[n]``, pooled over all folds.
        y: True classes ``[n]``.

    References:
        See et al., "MEGC 2019 - the second facial micro-expressions grand challenge", FG 2019.

    Examples:
        >>> round(uf1([0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 1, 1]), 3)
        0.829
    """
    return float(np.nanmean(per_class_f1(_square(predicted, y))))


def uar(predicted: Array, y: Array) -> float:
    """Unweighted average recall (UAR, balanced accuracy): the mean recall over the classes that occur in `y`.

    Args:
        predicted: Predicted classes ``[n]``, pooled over all folds.
        y: True classes ``[n]``.

    References:
        See et al., "MEGC 2019 - the second facial micro-expressions grand challenge", FG 2019.

    Examples:
        >>> uar([0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 1, 1])
        0.875
    """
    return float(np.nanmean(per_class_recall(_square(predicted, y))))


def _square(predicted: Array, y: Array) -> np.ndarray:
    named, target = _to_numpy(predicted), _to_numpy(y)
    highest = [int(values.max()) for values in (named, target) if values.size]
    return confusion_matrix(named, target, max(highest, default=0) + 1)


def _divide_where_present(numerator: np.ndarray, denominator: np.ndarray, n_true: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.full(n_true.shape, np.nan), where=n_true > 0)


def _to_numpy(values: Array) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def _check_classes(classes: np.ndarray, n_classes: int, *, name: str) -> None:
    if not classes.size:
        raise SnnferError("there are no clips to score", expected="at least one")
    if not np.issubdtype(classes.dtype, np.integer):
        raise SnnferError(f"{name} are of type {classes.dtype}", expected="class indices (integers)")
    if classes.min() < 0 or classes.max() >= n_classes:
        raise SnnferError(
            f"{name} reach from {classes.min()} to {classes.max()}", expected=f"classes 0 to {n_classes - 1}"
        )
