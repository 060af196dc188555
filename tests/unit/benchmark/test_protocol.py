"""Folds of clips: who and what stands in which group."""

from collections import Counter
from dataclasses import replace

import pytest

from snnfer.benchmark.config import ProtocolConfig
from snnfer.benchmark.protocol import (
    ClipFold,
    SplitConfig,
    check_subjects,
    clip_folds,
    describe_split,
    subjects_of,
)
from snnfer.datasets import ManifestDataset, leave_one_subject_out
from snnfer.errors import ProtocolError

PROTOCOLS = ("loso", "subject_folds", "sample_folds", "random", "legacy")


@pytest.fixture(scope="module")
def data(module_toy_manifest):
    """3 subjects x 3 classes x 2 clips."""
    return ManifestDataset.read(module_toy_manifest)


@pytest.mark.parametrize("n_validation", [0, 1])
@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_clip_stands_in_one_group_and_model_selection_is_by_subject(data, name, n_validation):
    folds = clip_folds(SplitConfig(name, n_folds=3), data, n_validation=n_validation)
    for fold in folds:
        assert sorted([*fold.train, *fold.validation, *fold.test]) == list(range(18))
        people = subjects_of(data, fold.validation)
        assert len(people) == n_validation
        assert not set(people) & set(subjects_of(data, fold.train))
    if name in ("random", "legacy"):
        (fold,) = folds
        tested = Counter(data.labels[i] for i in fold.test)  # of 6 clips of each class: 30 % and 20 %
        assert tested == dict.fromkeys(range(3), {"random": 2, "legacy": 1}[name])
    else:
        assert sorted(i for fold in folds for i in fold.test) == list(range(18))


@pytest.mark.parametrize("name", ["sample_folds", "random", "legacy"])
def test_what_lets_people_stand_on_both_sides_is_not_comparable(data, name):
    config = SplitConfig(name, n_folds=2)
    folds = clip_folds(config, data)
    with pytest.raises(ProtocolError, match="would train on its test subject"):
        check_subjects(folds[0], data)
    described = describe_split(config, folds, selection="")
    assert not described["comparable"]
    assert "not comparable" in described["text"]


def test_model_selection_on_a_tested_subject_is_a_leak_too(data):
    by_subject = {s: tuple(i for i, clip in enumerate(data.clips) if clip.subject == s) for s in data.subjects}
    check_subjects(ClipFold("x", by_subject["anna"], by_subject["ben"], by_subject["cleo"]), data)
    with pytest.raises(ProtocolError, match="fold 'x' would train on its test subject 'ben'"):
        check_subjects(ClipFold("x", by_subject["anna"], by_subject["ben"][:3], by_subject["ben"][3:]), data)


def test_loso_is_that_of_the_subjects(data):
    expected = leave_one_subject_out(data.subjects, n_validation_subjects=1)
    for fold, of_subjects in zip(clip_folds(ProtocolConfig(), data, n_validation=1), expected, strict=True):
        assert fold.name == of_subjects.name
        groups = [subjects_of(data, clips) for clips in (fold.train, fold.validation, fold.test)]
        assert groups == [of_subjects.train, of_subjects.validation, of_subjects.test]


@pytest.mark.parametrize(
    ("config", "n_validation", "message"),
    [
        (SplitConfig("subject_folds", n_folds=4), 0, "4 folds of 3 subjects; expected from 2 to 3 folds"),
        (SplitConfig("sample_folds", n_folds=19), 0, "19 folds of 18 clips; expected from 2 to 18 folds"),
        (SplitConfig("random", test_fraction=1.5), 0, "a test share of 1.5"),
        (SplitConfig("random"), 3, "fold 'random' has 3 subjects to train on; expected more than the 3"),
        (SplitConfig("subject_folds", n_folds=2), 1, "has 1 subject to train on; expected more than the 1"),
    ],
)
def test_impossible_divisions_are_one_sentence(data, config, n_validation, message):
    with pytest.raises(ProtocolError, match=message):
        clip_folds(config, data, n_validation=n_validation)


@pytest.mark.parametrize("name", ["sample_folds", "random", "legacy"])
def test_a_class_with_one_clip_cannot_be_divided(data, name):
    clips = (*data.clips[:-1], replace(data.clips[-1], au=4))
    lonely = replace(data, clips=clips, class_names=("AU2", "AU4", "AU12", "AU45"))
    with pytest.raises(ProtocolError, match="class 'AU4' has a single clip; expected at least one to train and one"):
        clip_folds(SplitConfig(name), lonely)


def test_a_fold_with_a_clip_in_two_groups_or_none_to_test_is_refused():
    with pytest.raises(ProtocolError, match="clip 1 stands in two groups of fold 'x'"):
        ClipFold("x", (0, 1), (1, 2))
    with pytest.raises(ProtocolError, match="fold 'x' has no test clip"):
        ClipFold("x", (0, 1), ())
