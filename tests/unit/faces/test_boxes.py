"""Boxes: overlap against counting pixels, suppression against its definition."""

import numpy as np
import pytest

from snnfer.faces import overlap, square_box, suppress


def pixels(box, side=40):
    x, y, w, h = box
    mask = np.zeros((side, side), dtype=bool)
    mask[y : y + h, x : x + w] = True
    return mask


def random_boxes(n, rng):
    return np.concatenate([rng.integers(0, 20, (n, 2)), rng.integers(1, 20, (n, 2))], axis=1)


def test_overlap_equals_the_share_of_common_pixels():
    rng = np.random.default_rng(0)
    boxes = random_boxes(30, rng)
    expected = [(pixels(boxes[0]) & pixels(b)).sum() / (pixels(boxes[0]) | pixels(b)).sum() for b in boxes]
    np.testing.assert_allclose(overlap(boxes[0], boxes), expected, rtol=1e-12)


def test_overlap_of_empty_boxes_is_zero():
    assert overlap((3, 3, 0, 0), [(3, 3, 0, 0), (0, 0, 9, 9)]).tolist() == [0, 0]
    assert overlap((0, 0, 1, 1), []).shape == (0,)


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.7])
def test_suppressed_boxes_overlap_a_better_kept_one_and_kept_ones_do_not(threshold):
    rng = np.random.default_rng(1)
    boxes, scores = random_boxes(60, rng), rng.random(60)
    keep = suppress(boxes, scores, threshold=threshold)
    assert (np.diff(scores[keep]) <= 0).all()
    for i, index in enumerate(keep):
        assert (overlap(boxes[index], boxes[keep[:i]]) < threshold).all()
    for index in set(range(60)) - set(keep.tolist()):
        better = [k for k in keep if scores[k] >= scores[index]]
        assert overlap(boxes[index], boxes[better]).max() >= threshold


def test_suppress_of_nothing_keeps_nothing():
    assert suppress([], [], threshold=0.5).tolist() == []


@pytest.mark.parametrize("box", [(10.2, 20.7, 31.0, 44.4), (-5.0, -9.0, 20.0, 11.0)])
def test_square_box_keeps_the_centre_and_the_longer_side(box):
    x, y, w, h = square_box(box, margin=0.2)
    assert w == h == round(max(box[2:]) * 1.2)
    assert abs(x + w / 2 - box[0] - box[2] / 2) <= 0.5
    assert abs(y + h / 2 - box[1] - box[3] / 2) <= 0.5
