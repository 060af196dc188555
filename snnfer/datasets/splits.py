"""Splits of a data set, always functions of the subject ids alone."""

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
        drawn = random.Random(f"{seed}/{held_out}").sample(others, n_validation_subjects)
        train = tuple(name for name in others if name not in drawn)
        folds.append(Fold(name=held_out, train=train, test=(held_out,), validation=tuple(sorted(drawn))))
    return tuple(folds)


def split_hash(folds: Sequence[Fold]) -> str:
    """Hash of who is trained on, validated on and tested in each fold."""
    return hash_value([[fold.name, list(fold.train), list(fold.validation), list(fold.test)] for fold in folds])
