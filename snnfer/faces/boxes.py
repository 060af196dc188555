"""Boxes around faces: overlap, suppression of repeats, square crops.

A box is ``(x, y, width, height)`` in pixels, ``x, y`` its top left corner, y pointing down.
"""

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.floating]


def overlap(box: npt.ArrayLike, others: npt.ArrayLike) -> Boxes:
    """Intersection over union of one box with each of `others`.

    Args:
        box: ``(x, y, width, height)``.
        others: [K, 4], the same.

    Returns:
        [K] in [0, 1]; 0 where either box is empty.

    Examples:
        >>> overlap((0, 0, 10, 10), [(0, 0, 10, 10), (5, 0, 10, 10), (20, 20, 5, 5)]).round(3)
        array([1.   , 0.333, 0.   ])
    """
    x, y, w, h = np.asarray(box, dtype=float)
    others = np.asarray(others, dtype=float).reshape(-1, 4)
    width = np.minimum(x + w, others[:, 0] + others[:, 2]) - np.maximum(x, others[:, 0])
    height = np.minimum(y + h, others[:, 1] + others[:, 3]) - np.maximum(y, others[:, 1])
    shared = width.clip(0) * height.clip(0)
    union = w * h + others[:, 2] * others[:, 3] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def suppress(boxes: npt.ArrayLike, scores: npt.ArrayLike, *, threshold: float) -> npt.NDArray[np.intp]:
    """Greedy non-maximum suppression: indices to keep, best score first.

    Args:
        boxes: [K, 4].
        scores: [K].
        threshold: A box that overlaps a better one by at least this much is dropped.

    Examples:
        >>> suppress([(0, 0, 10, 10), (1, 0, 10, 10), (40, 0, 10, 10)], [0.8, 0.9, 0.5], threshold=0.3)
        array([1, 2])
    """
    boxes = np.asarray(boxes, dtype=float).reshape(-1, 4)
    left = np.argsort(-np.asarray(scores, dtype=float), kind="stable")
    keep: list[int] = []
    while left.size:
        best, left = left[0], left[1:]
        keep.append(int(best))
        left = left[overlap(boxes[best], boxes[left]) < threshold]
    return np.array(keep, dtype=np.intp)


def square_box(box: npt.ArrayLike, *, margin: float = 0.0) -> tuple[int, int, int, int]:
    """Smallest square of whole pixels around the centre of `box`, its longer side grown by `margin`.

    The square may reach outside the image: moving or shrinking it there would put the face off its centre.

    Args:
        box: ``(x, y, width, height)``.
        margin: Share of the longer side that is added to it, half at each end.

    Examples:
        >>> square_box((10.0, 20.0, 30.0, 40.0), margin=0.1)
        (3, 18, 44, 44)
    """
    x, y, w, h = (float(value) for value in np.asarray(box, dtype=float))
    side = round(max(w, h) * (1 + margin))
    return round(x + w / 2 - side / 2), round(y + h / 2 - side / 2), side, side
