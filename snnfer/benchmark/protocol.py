"""Which clips train and which are tested, for benchmarks whose samples are windows of clips."""

from dataclasses import dataclass
from typing import Any, Literal

from snnfer._files import hash_value
from snnfer.datasets import (
    Fold,
    ManifestDataset,
    leave_one_subject_out,
    legacy_sequence_split,
    subject_folds,
)
from snnfer.errors import ConfigError, ProtocolError


@dataclass(frozen=True)
class SplitConfig:
    """How clips are divided.

    Args:
        name: ``loso`` leaves one subject out, ``subject_folds`` tests groups of subjects in turn; ``legacy`` divides
            the clips of each class at random, whoever is seen in them, as the published figures were made.
        n_folds: Groups of ``subject_folds``.
        folds: Names of the folds to run; empty for all.
        test_share: Share of the clips that ``legacy`` tests.
        seed: Of the draw of groups or clips.
    """

    name: Literal["loso", "subject_folds", "legacy"] = "loso"
    n_folds: int = 3
    folds: tuple[str, ...] = ()
    test_share: float = 0.2
    seed: int = 0


@dataclass(frozen=True)
class ClipFold:
    """Positions of the clips that train and that are tested."""

    name: str
    train: tuple[int, ...]
    test: tuple[int, ...]


def clip_folds(config: SplitConfig, data: ManifestDataset) -> tuple[ClipFold, ...]:
    """The folds of a data set.

    Raises:
        ProtocolError: the data cannot be divided so, or a subject would stand on both sides without ``legacy``.
        ConfigError: `config` names an unknown fold.
    """
    if config.name == "legacy":
        train, test = legacy_sequence_split(data.labels, test_share=config.test_share, seed=config.seed)
        return (ClipFold("legacy", tuple(train), tuple(test)),)
    by_subject = (
        leave_one_subject_out(data.subjects)
        if config.name == "loso"
        else subject_folds(data.subjects, config.n_folds, seed=config.seed)
    )
    unknown = set(config.folds) - {fold.name for fold in by_subject}
    if unknown:
        expected = "some of " + ", ".join(fold.name for fold in by_subject)
        raise ConfigError(f"protocol.folds names the unknown fold '{min(unknown)}'", expected=expected)
    folds = tuple(_of_clips(fold, data) for fold in by_subject if not config.folds or fold.name in config.folds)
    for fold in folds:
        check_subjects(fold, data)
    return folds


def check_subjects(fold: ClipFold, data: ManifestDataset) -> None:
    """Raise `ProtocolError` if a subject is seen in training and tested."""
    train, test = ({data.clips[i].subject for i in clips} for clips in (fold.train, fold.test))
    if train & test:
        raise ProtocolError(f"fold '{fold.name}' would train on its test subject '{min(train & test)}'")


def describe_split(config: SplitConfig, folds: tuple[ClipFold, ...], epochs: int) -> dict[str, Any]:
    """What the manifest says about the protocol."""
    fixed = f"the networks after {epochs} epochs, fixed beforehand"
    if config.name == "legacy":
        name = "legacy sequence split"
        text = (
            f"{config.test_share:.0%} of the clips of each class, drawn at random, are tested. The same people are "
            "seen in training and in test: the figures are not comparable with those of a split by subjects."
        )
    else:
        name = "leave-one-subject-out" if config.name == "loso" else f"{len(folds)} folds of subjects"
        text = (
            "Each subject is tested by networks that never saw that subject: neither in the training of the "
            "reconstruction, nor of the classifier. All windows of the tested subjects are pooled."
        )
    held_out = [fold.name for fold in folds]
    return {
        "name": name,
        "held_out": held_out,
        "selection": fixed,
        "comparable": config.name != "legacy",
        "text": text,
    }


def clip_split_hash(folds: tuple[ClipFold, ...]) -> str:
    """Hash of which clips are trained on and tested in each fold."""
    return hash_value([[fold.name, list(fold.train), list(fold.test)] for fold in folds])


def _of_clips(fold: Fold, data: ManifestDataset) -> ClipFold:
    train, test = (
        tuple(i for i, clip in enumerate(data.clips) if clip.subject in group) for group in (fold.train, fold.test)
    )
    return ClipFold(fold.name, train, test)
