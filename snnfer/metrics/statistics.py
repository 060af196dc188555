"""Statistics of a benchmark with a few subjects: the subject, not the clip, is the independent unit.

Clips of one subject resemble each other (same face, same way to act), so an interval or a test that counts clips as
independent is too sure of itself. Here subjects are resampled or swapped as a whole.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from snnfer.errors import ShapeError, SnnferError

MAX_EXACT = 2**16
"""Sign patterns up to which a permutation test is enumerated in full (16 subjects)."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its bootstrap interval.

    Args:
        estimate: The statistic on the clips as they are.
        low, high: Ends of the interval.
        level: Its nominal coverage, such as 0.95.
        n_subjects: Subjects that were resampled.
    """

    estimate: float
    low: float
    high: float
    level: float
    n_subjects: int


@dataclass(frozen=True)
class PairedTest:
    """Result of `paired_permutation_test`.

    Args:
        difference: Mean of a minus mean of b over all clips.
        p_value: Two-sided.
        smallest_p: The smallest p-value that this number of subjects (or of resamples) can give.
        n_subjects: Subjects compared.
        n_better, n_worse: Subjects for which a is above, or below, b; the rest are ties.
        exact: Whether all sign patterns were enumerated.
    """

    difference: float
    p_value: float
    smallest_p: float
    n_subjects: int
    n_better: int
    n_worse: int
    exact: bool


def subject_bootstrap(
    values: np.ndarray,
    subjects: Sequence | np.ndarray,
    statistic: Callable[[np.ndarray], float] = np.mean,
    *,
    n_resamples: int = 10_000,
    level: float = 0.95,
    rng: int | np.random.Generator = 0,
) -> Interval:
    """Percentile interval of a statistic, resampling subjects with replacement and pooling their clips.

    With few subjects such an interval is too narrow: for 7 subjects of 21 clips a nominal 95 % interval of an accuracy
    held the true value in 86 to 90 % of simulated studies; for 20 subjects, in 94 %.

    Args:
        values: One entry per clip, ``[n, ...]``, such as 1.0 for a hit and 0.0 for a miss.
        subjects: Subject of each clip, ``[n]``.
        statistic: Maps the pooled entries ``[m, ...]`` to a number; it must not depend on their order.
        n_resamples: Number of resamples.
        level: Nominal coverage, between 0 and 1.
        rng: Seed or generator.

    Raises:
        ShapeError: `values` and `subjects` differ in length.
        SnnferError: fewer than two subjects, or a level or number of resamples that makes no sense.

    References:
        Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentile interval); Field and
        Welsh, "Bootstrapping clustered data", J. R. Stat. Soc. B 69, 2007 (resampling of whole clusters).

    Examples:
        >>> hits = np.array([1, 1, 0, 1, 0, 0, 1, 1, 1])
        >>> interval = subject_bootstrap(hits, ["s1"] * 3 + ["s2"] * 3 + ["s3"] * 3)
        >>> [round(x, 2) for x in (interval.low, interval.estimate, interval.high)]
        [0.33, 0.67, 1.0]
    """
    values = np.asarray(values)
    clips_of = _clips_by_subject(values, subjects)
    if len(clips_of) < 2:
        raise SnnferError("there is one subject", expected="two or more", fix="hold out more subjects")
    if not 0 < level < 1 or n_resamples < 1:
        raise SnnferError(f"level = {level}, n_resamples = {n_resamples}", expected="0 < level < 1 and 1 or more")
    draws = np.random.default_rng(rng).integers(len(clips_of), size=(n_resamples, len(clips_of)))
    # The order of a draw does not matter, and few subjects give few distinct draws: each is computed once.
    distinct, counts = np.unique(np.sort(draws, axis=1), axis=0, return_counts=True)
    pooled = [statistic(values[np.concatenate([clips_of[i] for i in draw])]) for draw in distinct]
    low, high = np.quantile(np.repeat(pooled, counts), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(statistic(values)), float(low), float(high), level, len(clips_of))


def paired_permutation_test(
    correct_a: np.ndarray,
    correct_b: np.ndarray,
    subjects: Sequence | np.ndarray,
    *,
    n_resamples: int = 99_999,
    rng: int | np.random.Generator = 0,
) -> PairedTest:
    """Two-sided test of no difference between two networks on the same clips, by swapping them subject by subject.

    If the networks are equally good, the sign of each subject's difference is a coin toss. The p-value is the share of
    sign patterns whose pooled difference is at least as large as the one seen. All patterns are enumerated up to
    `MAX_EXACT`; beyond that, `n_resamples` random ones are drawn and the pattern seen counts as one of them.

    Args:
        correct_a, correct_b: Score of each clip under either network, ``[n]``: 1 for a hit, 0 for a miss, or the mean
            over seeds.
        subjects: Subject of each clip, ``[n]``.
        n_resamples: Random sign patterns when there are too many subjects to enumerate.
        rng: Seed or generator for those.

    Raises:
        ShapeError: the three differ in length.
        SnnferError: there are no clips.

    References:
        Phipson and Smyth, "Permutation p-values should never be zero", Stat. Appl. Genet. Mol. Biol. 9, 2010.

    Examples:
        >>> a, b = np.ones(7), np.zeros(7)
        >>> test = paired_permutation_test(a, b, list("abcdefg"))
        >>> test.p_value == test.smallest_p == 2 / 2**7
        True
    """
    a, b = np.asarray(correct_a, dtype=float), np.asarray(correct_b, dtype=float)
    if a.shape != b.shape or a.ndim != 1:
        raise ShapeError(f"scores of shapes {list(a.shape)} and {list(b.shape)}", expected="both [n], the same clips")
    sums = np.array([(a[clips] - b[clips]).sum() for clips in _clips_by_subject(a, subjects)])
    sums[np.abs(sums) < 1e-9] = 0.0
    exact = 2 ** len(sums) <= MAX_EXACT
    if exact:
        signs = np.array(list(itertools.product([1.0, -1.0], repeat=len(sums))))
    else:
        signs = np.random.default_rng(rng).choice([1.0, -1.0], size=(n_resamples, len(sums)))
    as_large = np.abs(signs @ sums) >= abs(sums.sum()) - 1e-9 * np.abs(sums).sum()
    p_value = as_large.mean() if exact else (as_large.sum() + 1) / (n_resamples + 1)
    return PairedTest(
        difference=float(a.mean() - b.mean()),
        p_value=float(p_value),
        smallest_p=min(1.0, 2 / 2 ** len(sums)) if exact else 1 / (n_resamples + 1),
        n_subjects=len(sums),
        n_better=int((sums > 0).sum()),
        n_worse=int((sums < 0).sum()),
        exact=exact,
    )


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Holm's step-down correction: p-values that hold the chance of any false finding among all of them.

    Args:
        p_values: Uncorrected, ``[m]``.

    Returns:
        Corrected, in the same order, ``[m]``.

    References:
        Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Stat. 6, 1979.

    Examples:
        >>> holm([0.01, 0.04, 0.03]).round(2)
        array([0.03, 0.06, 0.06])
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return corrected


def _clips_by_subject(values: np.ndarray, subjects: Sequence | np.ndarray) -> list[np.ndarray]:
    """Indices of the clips of each subject, subjects in sorted order."""
    names = np.asarray(subjects)
    if names.ndim != 1 or values.shape[:1] != names.shape:
        raise ShapeError(f"{len(values)} clips with subjects of shape {list(names.shape)}", expected="one per clip")
    if not len(names):
        raise SnnferError("there are no clips to compare", expected="at least one")
    return [np.flatnonzero(names == name) for name in np.unique(names)]
