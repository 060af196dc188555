"""Splits never share a subject between groups."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnfer.datasets import Fold, leave_one_subject_out, legacy_sequence_split, sample_folds, split_hash, subject_folds
from snnfer.errors import ProtocolError

SUBJECTS = st.lists(st.text("abcdef", min_size=1, max_size=3), min_size=4, max_size=12, unique=True)


@given(SUBJECTS, st.integers(0, 2), st.integers(0, 5))
def test_every_subject_is_tested_once_and_never_seen_in_its_own_fold(subjects, n_validation, seed):
    folds = leave_one_subject_out(subjects, n_validation_subjects=n_validation, seed=seed)
    assert sorted(s for fold in folds for s in fold.test) == sorted(subjects)
    for fold in folds:
        assert set(fold.train) | set(fold.validation) == set(subjects) - set(fold.test)
        assert not set(fold.train) & set(fold.validation)
        assert len(fold.validation) == n_validation


@given(SUBJECTS)
def test_folds_depend_on_the_subjects_alone_not_on_their_order_or_multiplicity(subjects):
    assert leave_one_subject_out(subjects) == leave_one_subject_out([*reversed(subjects), subjects[0]])


def test_a_fold_that_shares_a_subject_is_refused():
    with pytest.raises(ProtocolError, match="'s1' is in the training and the test group"):
        Fold("x", train=("s0", "s1"), test=("s1",))


def test_too_few_subjects_are_refused_with_the_way_out():
    with pytest.raises(ProtocolError, match="at least 3 subjects.*selection=last_epoch"):
        leave_one_subject_out(["a", "b"], n_validation_subjects=1)


def test_the_split_hash_changes_with_any_membership():
    folds = leave_one_subject_out(["a", "b", "c"])
    assert split_hash(folds) == split_hash(leave_one_subject_out(["c", "b", "a"]))
    assert split_hash(folds) != split_hash(leave_one_subject_out(["a", "b", "c"], n_validation_subjects=1))


@given(SUBJECTS, st.integers(2, 4), st.integers(0, 5))
def test_folds_of_subjects_test_everyone_once(subjects, n_folds, seed):
    folds = subject_folds(subjects, n_folds, seed=seed)
    assert len(folds) == n_folds
    assert sorted(s for fold in folds for s in fold.test) == sorted(subjects)
    sizes = [len(fold.test) for fold in folds]
    assert max(sizes) - min(sizes) <= 1
    for fold in folds:
        assert set(fold.train) == set(subjects) - set(fold.test)
    assert subject_folds([*reversed(subjects), subjects[0]], n_folds, seed=seed) == folds


@given(SUBJECTS, st.integers(2, 3), st.integers(0, 2), st.integers(0, 5))
def test_folds_of_subjects_can_set_some_aside(subjects, n_folds, n_validation, seed):
    needed = max(len(fold.test) for fold in subject_folds(subjects, n_folds, seed=seed)) + n_validation
    if len(subjects) <= needed:
        with pytest.raises(ProtocolError, match=r"subjects? to train on; expected more than the .*last_epoch"):
            subject_folds(subjects, n_folds, n_validation_subjects=n_validation, seed=seed)
        return
    for fold in subject_folds(subjects, n_folds, n_validation_subjects=n_validation, seed=seed):
        groups = [set(fold.train), set(fold.validation), set(fold.test)]
        assert len(groups[1]) == n_validation
        assert set.union(*groups) == set(subjects)
        assert sum(map(len, groups)) == len(subjects)


@given(st.integers(2, 40), st.integers(2, 12), st.integers(0, 5))
def test_folds_of_samples_test_each_once(n_samples, n_folds, seed):
    if n_folds > n_samples:
        with pytest.raises(ProtocolError, match=f"{n_folds} folds of {n_samples} clips; expected from 2"):
            sample_folds(n_samples, n_folds, seed=seed)
        return
    folds = sample_folds(n_samples, n_folds, seed=seed)
    assert sorted(i for fold in folds for i in fold) == list(range(n_samples))
    assert len(folds) == n_folds
    assert max(map(len, folds)) - min(map(len, folds)) <= 1


@pytest.mark.parametrize("n_folds", [1, 4])
def test_too_many_or_too_few_folds_are_refused(n_folds):
    with pytest.raises(ProtocolError, match=f"{n_folds} folds of 3 subjects; expected from 2 to 3 folds"):
        subject_folds(["a", "b", "c"], n_folds)


@given(st.lists(st.integers(0, 3), min_size=0, max_size=40).map(lambda rest: [0, 0, 1, 1, 2, 2, 3, 3, *rest]))
def test_the_legacy_split_divides_each_class(labels):
    train, test = legacy_sequence_split(labels, test_share=0.2)
    assert sorted(train + test) == list(range(len(labels)))
    for label in range(4):
        members = labels.count(label)
        assert sum(labels[i] == label for i in test) == max(1, round(0.2 * members))


def test_the_legacy_split_needs_two_clips_of_a_class():
    with pytest.raises(ProtocolError, match="class 1 has a single clip"):
        legacy_sequence_split([0, 0, 1])
    with pytest.raises(ProtocolError, match="a test share of 1"):
        legacy_sequence_split([0, 0], test_share=1)
