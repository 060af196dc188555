"""Classification scores against scikit-learn and brute force."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snnfer.errors import ShapeError, SnnferError
from snnfer.metrics import confusion_matrix, per_class_f1, per_class_recall, top_k_accuracy, top_k_hits, uar, uf1

sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the oracle here; it comes with snnfer[bench]")

pairs = st.integers(2, 8).flatmap(
    lambda k: st.lists(st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)), min_size=1, max_size=60).map(
        lambda rows: (k, np.array(rows)[:, 0], np.array(rows)[:, 1])
    )
)


@given(pairs)
def test_scores_equal_scikit_learn_on_the_classes_that_occur(case):
    n_classes, predicted, y = case
    present = np.unique(y)
    np.testing.assert_array_equal(
        confusion_matrix(predicted, y, n_classes), sklearn.confusion_matrix(y, predicted, labels=range(n_classes))
    )
    f1 = sklearn.f1_score(y, predicted, labels=present, average="macro", zero_division=0)
    recall = sklearn.recall_score(y, predicted, labels=present, average="macro", zero_division=0)
    assert uf1(predicted, y) == pytest.approx(f1, abs=1e-12)
    assert uar(predicted, y) == pytest.approx(recall, abs=1e-12)
    matrix = confusion_matrix(predicted, y, n_classes)
    absent = np.setdiff1d(np.arange(n_classes), y)
    assert np.isnan(per_class_f1(matrix)[absent]).all()
    assert np.isnan(per_class_recall(matrix)[absent]).all()


def test_balanced_accuracy_is_the_uar():
    rng = np.random.default_rng(0)
    y, predicted = rng.integers(21, size=147), rng.integers(21, size=147)
    assert uar(predicted, y) == pytest.approx(sklearn.balanced_accuracy_score(y, predicted), abs=1e-12)


@given(pairs, st.randoms(use_true_random=False))
def test_scores_depend_neither_on_clip_order_nor_on_class_names(case, random):
    n_classes, predicted, y = case
    order = random.sample(range(len(y)), len(y))
    names = np.array(random.sample(range(n_classes), n_classes))
    for score in (uf1, uar):
        assert score(names[predicted[order]], names[y[order]]) == pytest.approx(score(predicted, y), abs=1e-12)
        assert 0 <= score(predicted, y) <= 1
        assert score(y, y) == 1


@pytest.mark.parametrize("k", [1, 3, 5])
def test_top_k_equals_scikit_learn_without_ties(k):
    rng = np.random.default_rng(k)
    scores, y = rng.permuted(np.tile(np.arange(21.0), (147, 1)), axis=1), rng.integers(21, size=147)
    expected = sklearn.top_k_accuracy_score(y, scores, k=k, labels=range(21))
    assert top_k_accuracy(scores, y, k) == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.lists(st.integers(0, 3), min_size=5, max_size=5), min_size=1, max_size=20), st.integers(1, 6))
@settings(max_examples=200)
def test_ties_rank_by_class_index(rows, k):
    scores, y = np.array(rows, dtype=float), np.arange(len(rows)) % 5
    ranked = [sorted(range(5), key=lambda c, row=row: (-row[c], c)) for row in rows]
    expected = [label in best[:k] for label, best in zip(y, ranked, strict=True)]
    np.testing.assert_array_equal(top_k_hits(scores, y, k), expected)
    np.testing.assert_array_equal(top_k_hits(scores, y, 1), scores.argmax(1) == y)


def test_torch_tensors_with_gradients_are_taken():
    scores, y = torch.tensor([[0.1, 0.9], [0.8, 0.2]], requires_grad=True), torch.tensor([1, 1])
    assert top_k_accuracy(scores, y) == 0.5
    assert uar(scores.argmax(1), y) == 0.5


def test_a_silent_network_is_right_only_where_class_0_is():
    assert top_k_accuracy(np.zeros((21, 21)), np.arange(21)) == pytest.approx(1 / 21)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: top_k_hits(np.zeros((3, 2)), [0, 1]), ShapeError, r"scores \[n, n_classes\]"),
        (lambda: top_k_hits(np.zeros((2, 2)), [0, 1], 0), SnnferError, "k = 0"),
        (lambda: top_k_hits([[np.nan, 0.0]], [0]), SnnferError, "NaN"),
        (lambda: top_k_hits(np.zeros((1, 2)), [2]), SnnferError, "classes 0 to 1"),
        (lambda: top_k_hits(np.zeros((0, 2)), np.zeros(0, int)), SnnferError, "no clips"),
        (lambda: confusion_matrix(np.zeros((2, 2), int), [0, 1], 2), ShapeError, "argmax"),
        (lambda: confusion_matrix([0, 5], [0, 1], 2), SnnferError, "predicted classes reach"),
        (lambda: uf1([0.5], [0]), SnnferError, "integers"),
        (lambda: uf1(np.zeros(0, int), np.zeros(0, int)), SnnferError, "no clips"),
    ],
)
def test_bad_input_is_named(call, error, match):
    with pytest.raises(error, match=match):
        call()
