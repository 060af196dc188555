"""Which clips train and which are tested."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from snnfer._config import added
from snnfer._files import hash_value
from snnfer.datasets import (
    Fold,
    ManifestDataset,
    leave_one_subject_out,
    legacy_sequence_split,
    sample_folds,
    subject_folds,
)
from snnfer.datasets.splits import draw_validation
from snnfer.errors import ConfigError, ProtocolError

Protocol = Literal["loso", "subject_folds", "sample_folds", "random", "legacy"]
BY_SUBJECT = ("loso", "subject_folds")
SEEN_PEOPLE = (
    "The same people are seen in training and in test: the figures are not comparable with those of a split by "
    "subjects."
)


@dataclass(frozen=True)
class SplitConfig:
    """How clips are divided.

    Args:
        name: ``loso`` leaves one subject out, ``subject_folds`` tests groups of subjects in turn. The others look at
            clips, whoever is seen in them, as some published figures were made: ``sample_folds`` tests groups of clips
            in turn, ``random`` and ``legacy`` draw clips of each class.
        n_folds: Groups of ``subject_folds`` and ``sample_folds``.
        folds: Names of the folds to run; empty for all.
        test_share: Share of the clips that ``legacy`` tests (evTransFER).
        seed: Of the draw of groups or clips.
        test_fraction: Share of the clips that ``random`` tests (CS3D, inferred from its confusion matrices).
    """

    name: Protocol = "loso"
    n_folds: int = 3
    folds: tuple[str, ...] = ()
    test_share: float = 0.2
    seed: int = 0
    test_fraction: float = added(0.3)

    @property
    def comparable(self) -> bool:
        """Whether nobody is both seen in training and tested."""
        return self.name in BY_SUBJECT


@dataclass(frozen=True)
class ClipFold:
    """Positions of the clips that train, that are tested, and that select the epoch.

    Raises:
        ProtocolError: a clip stands in two groups, or one of training and test is empty.
    """

    name: str
    train: tuple[int, ...]
    test: tuple[int, ...]
    validation: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        clips = [*self.train, *self.validation, *self.test]
        if len(set(clips)) < len(clips):
            clip = next(clip for clip in clips if clips.count(clip) > 1)
            raise ProtocolError(f"clip {clip} stands in two groups of fold '{self.name}'", expected="every clip in one")
        if not self.train or not self.test:
            raise ProtocolError(f"fold '{self.name}' has no {'test' if self.train else 'training'} clip")

    @property
    def seen(self) -> list[int]:
        """Clips that are trained on or select the epoch, in the order of the data set."""
        return sorted([*self.train, *self.validation])


def clip_folds(config: SplitConfig, data: ManifestDataset, *, n_validation: int = 0) -> tuple[ClipFold, ...]:
    """The folds of a data set.

    Args:
        config: The protocol.
        data: The clips.
        n_validation: Training subjects, with all their training clips, that are set aside to select the epoch.

    Raises:
        ProtocolError: the data cannot be divided so, or a subject would stand on both sides where none may.
        ConfigError: `config` names an unknown fold.
    """
    folds = _all_folds(config, data, n_validation)
    unknown = set(config.folds) - {fold.name for fold in folds}
    if unknown:
        expected = "some of " + ", ".join(fold.name for fold in folds)
        raise ConfigError(f"protocol.folds names the unknown fold '{min(unknown)}'", expected=expected)
    folds = [fold for fold in folds if not config.folds or fold.name in config.folds]
    for fold in folds if config.comparable else ():
        check_subjects(fold, data)
    return tuple(folds)


def check_subjects(fold: ClipFold, data: ManifestDataset) -> None:
    """Raise `ProtocolError` if a subject is seen in training or model selection and tested."""
    shared = set(subjects_of(data, fold.seen)) & set(subjects_of(data, fold.test))
    if shared:
        raise ProtocolError(f"fold '{fold.name}' would train on its test subject '{min(shared)}'")


def subjects_of(data: ManifestDataset, clips: Sequence[int]) -> tuple[str, ...]:
    """Who is seen in the clips at these positions, sorted."""
    return tuple(sorted({data.clips[i].subject for i in clips}))


def fixed_epochs(epochs: int) -> str:
    """How the tested network is chosen where nothing is selected."""
    return f"the networks after {epochs} epochs, fixed beforehand"


def describe_split(config: SplitConfig, folds: Sequence[ClipFold], *, selection: str, text: str = "") -> dict[str, Any]:
    """What the manifest says about the protocol.

    Args:
        config: The protocol.
        folds: Those that are run.
        selection: How the tested network is chosen.
        text: What a split by subjects guarantees in this benchmark; default: for benchmarks of windows.
    """
    names = {
        "loso": "leave-one-subject-out",
        "subject_folds": f"{len(folds)} folds of subjects",
        "sample_folds": f"{config.n_folds} folds of clips",
        "random": "stratified random split",
        "legacy": "legacy sequence split",
    }
    return {
        "name": names[config.name],
        "held_out": [fold.name for fold in folds],
        "selection": selection,
        "comparable": config.comparable,
        "text": (text or _OF_WINDOWS) if config.comparable else f"{_of_clips_text(config)} {SEEN_PEOPLE}",
    }


def clip_split_hash(folds: Sequence[ClipFold]) -> str:
    """Hash of which clips are trained on, set aside and tested in each fold."""
    groups = [[fold.name, list(fold.train), *([list(fold.validation)] if fold.validation else []), list(fold.test)]
              for fold in folds]  # fmt: skip
    return hash_value(groups)


_OF_WINDOWS = (
    "Each subject is tested by networks that never saw that subject: neither in the training of the reconstruction, "
    "nor of the classifier. All windows of the tested subjects are pooled."
)


def _of_clips_text(config: SplitConfig) -> str:
    if config.name == "sample_folds":
        folds = f"{config.n_folds} folds, each tested by networks trained on the others"
        return f"The clips are divided at random into {folds}."
    share = config.test_share if config.name == "legacy" else config.test_fraction
    return f"{share:.0%} of the clips of each class, drawn at random, are tested."


def _all_folds(config: SplitConfig, data: ManifestDataset, n_validation: int) -> list[ClipFold]:
    if config.name == "loso":
        by_subject = leave_one_subject_out(data.subjects, n_validation_subjects=n_validation, seed=config.seed)
        return [_of_clips(fold, data) for fold in by_subject]
    if config.name == "subject_folds":
        by_subject = subject_folds(data.subjects, config.n_folds, n_validation_subjects=n_validation, seed=config.seed)
        return [_of_clips(fold, data) for fold in by_subject]
    _check_classes(data)
    n_clips = len(data.clips)
    if config.name == "sample_folds":
        tested = sample_folds(n_clips, config.n_folds, seed=config.seed)
        names = [f"fold{number:0{len(str(len(tested)))}d}" for number in range(1, len(tested) + 1)]
    else:
        share = config.test_share if config.name == "legacy" else config.test_fraction
        tested = [legacy_sequence_split(data.labels, test_share=share, seed=config.seed)[1]]
        names = [config.name]
    return [
        _with_validation(name, sorted(set(range(n_clips)) - set(test)), test, data, n_validation, config.seed)
        for name, test in zip(names, tested, strict=True)
    ]


def _with_validation(
    name: str, train: list[int], test: list[int], data: ManifestDataset, n_validation: int, seed: int
) -> ClipFold:
    """A fold of clips whose training clips of some subjects select the epoch."""
    drawn = draw_validation(subjects_of(data, train), n_validation, name=name, seed=seed)
    train, validation = ([i for i in train if (data.clips[i].subject in drawn) == wanted] for wanted in (False, True))
    return ClipFold(name, tuple(train), tuple(test), tuple(validation))


def _check_classes(data: ManifestDataset) -> None:
    name, count = min(Counter(clip.class_name for clip in data.clips).items(), key=lambda item: item[1])
    if count < 2:
        raise ProtocolError(
            f"class '{name}' has a single clip",
            expected="at least one to train and one to test",
            fix="add clips of it, leave it out, or divide by subjects",
        )


def _of_clips(fold: Fold, data: ManifestDataset) -> ClipFold:
    train, test, validation = (
        tuple(i for i, clip in enumerate(data.clips) if clip.subject in group)
        for group in (fold.train, fold.test, fold.validation)
    )
    return ClipFold(fold.name, train, test, validation)
