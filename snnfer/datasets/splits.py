"""Splits of a data set: functions of the subject ids alone, and one legacy split that is not."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from snnfer._files import hash_value
from snnfer.errors import ProtocolError


@dataclass(frozen=True)
class Fold:
    """One division of the subjects: no subject stands in two of the three groups.

    Raises:
        ProtocolError: a subject stands in two groups, or one of training and test is empty.
    """

    name: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    validation: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        groups = {"training": self.train, "validation": self.validation, "test": self.test}
        seen: dict[str, str] = {}
        for group, subjects in groups.items():
            for subject in subjects:
                if subject in seen:
                    raise ProtocolError(
                        f"subject '{subject}' is in the {seen[subject]} and the {group} group of fold '{self.name}'",
                        expected="every subject in exactly one group",
                    )
                seen[subject] = group
        if not self.train or not self.test:
            raise ProtocolError(f"fold '{self.name}' has no {'test' if self.train else 'training'} subject")


def leave_one_subject_out(
    subjects: Sequence[str], *, n_validation_subjects: int = 0, seed: int = 0
) -> tuple[Fold, ...]:
    """One fold per subject: that subject is tested, the others train.

    Args:
        subjects: Subject ids, at least two (and one more per validation subject).
        n_validation_subjects: Training subjects set aside for model selection, drawn anew for each fold.
        seed: Of the draw of validation subjects.

    Raises:
        ProtocolError: too few subjects.

    Examples:
        >>> [fold.test for fold in leave_one_subject_out(["b", "a", "c"])]
        [('a',), ('b',), ('c',)]
        >>> leave_one_subject_out(["a", "b", "c"], n_validation_subjects=1)[0].validation
        ('b',)
    """
    names = sorted(set(subjects))
    needed = 2 + n_validation_subjects
    if len(names) < needed:
        raise ProtocolError(
            f"{len(names)} subject{'s' if len(names) != 1 else ''} ({', '.join(names)})",
            expected=f"at least {needed} subjects for leave-one-subject-out"
            + (f" with {n_validation_subjects} for validation" if n_validation_subjects else ""),
            fix="add subjects" + (" or set train.selection=last_epoch" if n_validation_subjects else ""),
        )
    folds = []
    for held_out in names:
        others = [name for name in names if name != held_out]
        drawn = draw_validation(others, n_validation_subjects, name=held_out, seed=seed)
        train = tuple(name for name in others if name not in drawn)
        folds.append(Fold(name=held_out, train=train, test=(held_out,), validation=drawn))
    return tuple(folds)


def subject_folds(
    subjects: Sequence[str], n_folds: int, *, n_validation_subjects: int = 0, seed: int = 0
) -> tuple[Fold, ...]:
    """Groups of subjects of about the same size, each tested once by networks trained on the others.

    Fewer trainings than leave-one-subject-out, and as safe.

    Args:
        subjects: Subject ids.
        n_folds: Number of groups, at least two and at most one per subject.
        n_validation_subjects: Training subjects set aside for model selection, drawn anew for each fold.
        seed: Of the draws.

    Raises:
        ProtocolError: more folds than subjects, fewer than two, or too few subjects to set some aside.

    Examples:
        >>> [fold.test for fold in subject_folds(["a", "b", "c", "d"], 2)]
        [('a', 'c'), ('b', 'd')]
    """
    names = sorted(set(subjects))
    if not 2 <= n_folds <= len(names):
        raise ProtocolError(f"{n_folds} folds of {len(names)} subjects", expected=f"from 2 to {len(names)} folds")
    order = random.Random(f"{seed}/{n_folds}").sample(names, len(names))
    groups = [tuple(sorted(order[i::n_folds])) for i in range(n_folds)]
    folds = []
    for group in sorted(groups):
        others, name = [n for n in names if n not in group], "+".join(group)
        drawn = draw_validation(others, n_validation_subjects, name=name, seed=seed)
        folds.append(Fold(name, tuple(n for n in others if n not in drawn), test=group, validation=drawn))
    return tuple(folds)


def draw_validation(subjects: Sequence[str], n: int, *, name: str, seed: int = 0) -> tuple[str, ...]:
    """`n` of the subjects of fold `name`, sorted; `ProtocolError` if none would be left to train on."""
    if n and len(subjects) <= n:
        raise ProtocolError(
            f"fold '{name}' has {len(subjects)} subject{'s' if len(subjects) != 1 else ''} to train on",
            expected=f"more than the {n} set aside for validation",
            fix="use fewer or smaller folds, or set train.selection=last_epoch",
        )
    return tuple(sorted(random.Random(f"{seed}/{name}").sample(list(subjects), n)))


def legacy_sequence_split(
    labels: Sequence[int], *, test_share: float = 0.2, seed: int = 0
) -> tuple[list[int], list[int]]:
    """Clips divided at random within each class, whoever is seen in them: a subject stands on both sides.

    Published figures were made this way; figures made this way say nothing about people the network has not seen.

    Args:
        labels: Class of each clip.
        test_share: Share of the clips of each class that is tested, at least one.
        seed: Of the draw.

    Returns:
        Positions of the training and of the tested clips.

    Raises:
        ProtocolError: a class has a single clip, or the share is not between 0 and 1.

    References:
        Bugueno-Cordova and Verschae, "evTransFER", section 5.1.1: 80 % and 20 % of the sequences of each class.

    Examples:
        >>> train, test = legacy_sequence_split([0] * 10 + [1] * 5)
        >>> len(train), len(test)
        (12, 3)
    """
    if not 0 < test_share < 1:
        raise ProtocolError(f"a test share of {test_share}", expected="a value between 0 and 1")
    test: list[int] = []
    for label in sorted(set(labels)):
        members = [i for i, value in enumerate(labels) if value == label]
        if len(members) < 2:
            raise ProtocolError(f"class {label} has a single clip", expected="at least one to train and one to test")
        n_test = min(max(1, round(test_share * len(members))), len(members) - 1)
        test += random.Random(f"{seed}/{label}").sample(members, n_test)
    return sorted(set(range(len(labels))) - set(test)), sorted(test)


def sample_folds(n_samples: int, n_folds: int, *, seed: int = 0) -> list[list[int]]:
    """Samples divided at random into folds of about the same size, whoever is seen in them: positions of each fold.

    As with `legacy_sequence_split`, a subject stands on both sides.

    Args:
        n_samples: Number of samples.
        n_folds: Number of folds, at least two and at most one per sample.
        seed: Of the draw.

    Raises:
        ProtocolError: more folds than samples, or fewer than two.

    References:
        The code of Raimondo et al. (RGB-D facial expressions) divides samples so, their paper speaks of subjects.

    Examples:
        >>> sample_folds(7, 3)
        [[4, 5, 6], [1, 3], [0, 2]]
    """
    if not 2 <= n_folds <= n_samples:
        raise ProtocolError(f"{n_folds} folds of {n_samples} clips", expected=f"from 2 to {n_samples} folds")
    order = random.Random(f"{seed}/{n_folds}").sample(range(n_samples), n_samples)
    return [sorted(order[i::n_folds]) for i in range(n_folds)]


def split_hash(folds: Sequence[Fold]) -> str:
    """Hash of who is trained on, validated on and tested in each fold."""
    return hash_value([[fold.name, list(fold.train), list(fold.validation), list(fold.test)] for fold in folds])
