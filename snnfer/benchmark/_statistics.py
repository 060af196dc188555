"""Intervals and paired tests as every report has them: subjects are resampled or swapped, tests corrected together."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from snnfer.metrics import holm, paired_permutation_test, subject_bootstrap

N_RESAMPLES = 10_000
LEVEL = 0.95
ALPHA = 0.05

Score = dict[str, float | None]


def interval_settings(seed: int) -> dict[str, Any]:
    """How the intervals of a report were made, for its ``metrics.json``."""
    return {"level": LEVEL, "n_resamples": N_RESAMPLES, "unit": "subject", "seed": seed}


def with_bootstrap(
    values: np.ndarray, subjects: np.ndarray, statistic: Callable[[np.ndarray], float] = np.mean, *, seed: int
) -> Score:
    """An estimate with its interval; a single subject has none.

    Examples:
        >>> with_bootstrap(np.array([0.0, 1.0]), np.array(["a", "a"]), seed=0)
        {'estimate': 0.5, 'low': None, 'high': None}
    """
    if len(np.unique(subjects)) < 2:
        return {"estimate": float(statistic(values)), "low": None, "high": None}
    found = subject_bootstrap(values, subjects, statistic, n_resamples=N_RESAMPLES, level=LEVEL, rng=seed)
    return {"estimate": found.estimate, "low": found.low, "high": found.high}


def paired_test(of_a: np.ndarray, of_b: np.ndarray, subjects: np.ndarray, *, seed: int) -> dict[str, Any]:
    """The paired test of two networks on the same clips, with the interval of their difference."""
    interval = with_bootstrap(of_a - of_b, subjects, seed=seed)
    test = asdict(paired_permutation_test(of_a, of_b, subjects, rng=seed))
    return test | {"low": interval["low"], "high": interval["high"]}


def correct_together(tests: Sequence[dict[str, Any]]) -> None:
    """Add Holm's correction over all `tests` to each of them."""
    corrected = holm([test["p_value"] for test in tests])
    smallest = holm([test["smallest_p"] for test in tests])
    for test, p, bound in zip(tests, corrected, smallest, strict=True):
        test |= {"p_holm": float(p), "smallest_p_holm": float(bound), "significant": bool(p < ALPHA)}
