"""Subject-level statistics against enumeration, scipy and simulation."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnfer.errors import ShapeError, SnnferError
from snnfer.metrics import holm, paired_permutation_test, subject_bootstrap, uf1

stats = pytest.importorskip("scipy.stats", reason="scipy is the oracle here; it comes with snnfer[bench]")

SUBJECTS = np.repeat(np.arange(7), 21)


def clips(seed, p=0.5):
    """Hits of 7 subjects of 21 clips, with subjects of different difficulty."""
    rng = np.random.default_rng(seed)
    ability = np.clip(rng.normal(p, 0.15, size=7), 0.02, 0.98)
    return (rng.random(147) < ability[SUBJECTS]).astype(float)


def test_bootstrap_quantiles_equal_full_enumeration_for_four_subjects():
    values, subjects = clips(0)[:84], SUBJECTS[:84]
    means = values.reshape(4, 21).mean(1)
    every = [means[list(draw)].mean() for draw in itertools.product(range(4), repeat=4)]
    interval = subject_bootstrap(values, subjects, n_resamples=100_000)
    assert interval.low == pytest.approx(np.quantile(every, 0.025), abs=0.012)  # one step of the distribution
    assert interval.high == pytest.approx(np.quantile(every, 0.975), abs=0.012)
    assert interval.estimate == pytest.approx(values.mean())


def test_bootstrap_agrees_with_scipy_on_subject_means():
    values = clips(1)
    means = values.reshape(7, 21).mean(1)
    ours = subject_bootstrap(values, SUBJECTS, n_resamples=50_000)
    theirs = stats.bootstrap((means,), np.mean, n_resamples=50_000, method="percentile", random_state=2)
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.01)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.01)


def test_bootstrap_pools_clips_of_subjects_of_different_size():
    """Brute force: the same draws, one resample at a time."""
    rng = np.random.default_rng(3)
    subjects = np.repeat(["a", "b", "c"], [2, 5, 9])
    labels = np.stack([rng.integers(3, size=16), rng.integers(3, size=16)], axis=1)

    def score(rows):
        return uf1(rows[:, 0], rows[:, 1])

    draws = np.random.default_rng(7).integers(3, size=(500, 3))
    pooled = [score(np.concatenate([labels[subjects == "abc"[i]] for i in draw])) for draw in draws]
    interval = subject_bootstrap(labels, subjects, score, n_resamples=500, level=0.8, rng=7)
    assert interval.low == pytest.approx(np.quantile(pooled, 0.1), abs=1e-12)
    assert interval.high == pytest.approx(np.quantile(pooled, 0.9), abs=1e-12)


def test_clips_of_a_subject_are_not_independent():
    """Subjects that are all right or all wrong: the interval must see 6 units, not 126."""
    values = np.repeat([1.0, 0, 1, 0, 1, 0], 21)
    interval = subject_bootstrap(values, np.repeat(np.arange(6), 21))
    assert interval.high - interval.low > 0.6


def test_bootstrap_coverage_with_seven_subjects_is_below_nominal_as_documented():
    rng, hits, studies = np.random.default_rng(1), 0, 200
    for study in range(studies):
        ability = rng.beta(12, 12, size=7)  # mean 0.5, standard deviation 0.1
        values = (rng.random((7, 21)) < ability[:, None]).astype(float).ravel()
        interval = subject_bootstrap(values, SUBJECTS, n_resamples=500, rng=study)
        hits += interval.low <= 0.5 <= interval.high
    assert 0.80 <= hits / studies <= 0.94


def test_the_same_seed_gives_the_same_interval_and_subject_order_does_not_matter():
    values = clips(4)
    order = np.random.default_rng(0).permutation(147)
    assert subject_bootstrap(values, SUBJECTS, rng=5) == subject_bootstrap(values[order], SUBJECTS[order], rng=5)
    assert subject_bootstrap(values, SUBJECTS, rng=5) != subject_bootstrap(values, SUBJECTS, rng=6)


def brute_force_p(a, b, subjects):
    """Swap the two networks' scores for every subset of subjects and count."""
    names = np.unique(subjects)
    seen, count = abs((a - b).mean()), 0
    for swapped in itertools.product([False, True], repeat=len(names)):
        swap = np.isin(subjects, names[list(swapped)])
        x, y = np.where(swap, b, a), np.where(swap, a, b)
        count += abs(x.mean() - y.mean()) >= seen - 1e-12
    return count / 2 ** len(names)


@given(st.integers(1, 6), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_permutation_p_equals_brute_force(n_subjects, seed):
    rng = np.random.default_rng(seed)
    subjects = np.repeat(np.arange(n_subjects), rng.integers(1, 6, size=n_subjects))
    a, b = (rng.integers(0, 4, size=len(subjects)) / 3 for _ in range(2))  # means over three seeds
    test = paired_permutation_test(a, b, subjects)
    assert test.exact
    assert test.p_value == pytest.approx(brute_force_p(a, b, subjects))
    assert test.smallest_p <= test.p_value <= 1
    swapped = paired_permutation_test(b, a, subjects)
    assert swapped.p_value == test.p_value
    assert swapped.difference == pytest.approx(-test.difference)
    assert (swapped.n_better, swapped.n_worse) == (test.n_worse, test.n_better)


def test_permutation_agrees_with_scipy():
    a, b = clips(5, 0.6), clips(6, 0.4)
    sums = [(x.reshape(7, 21)).sum(1) for x in (a, b)]
    theirs = stats.permutation_test(
        sums, lambda x, y, axis: (x - y).mean(axis), permutation_type="samples", vectorized=True, n_resamples=np.inf
    )
    assert paired_permutation_test(a, b, SUBJECTS).p_value == pytest.approx(theirs.pvalue)


def test_random_signs_beyond_sixteen_subjects_come_close_to_the_exact_value():
    rng = np.random.default_rng(8)
    difference = rng.normal(0.3, 1.0, size=17)
    exact = stats.permutation_test(
        (difference, np.zeros(17)),
        lambda x, y, axis: (x - y).mean(axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
        batch=10_000,
    ).pvalue
    test = paired_permutation_test(difference, np.zeros(17), np.arange(17), n_resamples=20_000)
    assert not test.exact
    assert test.p_value == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 20_000))
    assert test.smallest_p == 1 / 20_001
    assert test == paired_permutation_test(difference, np.zeros(17), np.arange(17), n_resamples=20_000)


def test_equal_networks_give_p_of_one_and_few_subjects_bound_it_below():
    a = clips(9)
    same = paired_permutation_test(a, a, SUBJECTS)
    assert (same.p_value, same.difference, same.n_better, same.n_worse) == (1.0, 0.0, 0, 0)
    best = paired_permutation_test(np.ones(147), np.zeros(147), SUBJECTS)
    assert best.p_value == best.smallest_p == 2 / 128
    assert paired_permutation_test(np.ones(3), np.zeros(3), [0, 0, 0]).p_value == 1.0


def holm_rejects(p, alpha):
    """The procedure as Holm states it: step down from the smallest p until one is too large."""
    rejected = np.zeros(len(p), dtype=bool)
    for step, i in enumerate(np.argsort(p, kind="stable")):
        if p[i] > alpha / (len(p) - step):
            break
        rejected[i] = True
    return rejected


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.999))
def test_holm_decides_like_the_step_down_procedure(p, alpha):
    p = np.array(p)
    corrected = holm(p)
    clear = np.abs(corrected - alpha) > 1e-9  # away from rounding
    np.testing.assert_array_equal((corrected <= alpha)[clear], holm_rejects(p, alpha)[clear])
    assert (corrected >= p).all()
    assert (corrected <= 1).all()


def test_holm_of_nothing_is_nothing():
    assert holm([]).shape == (0,)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: subject_bootstrap(np.ones(3), ["a"] * 3), SnnferError, "one subject"),
        (lambda: subject_bootstrap(np.ones(3), ["a"]), ShapeError, "one per clip"),
        (lambda: subject_bootstrap(np.ones(2), ["a", "b"], level=95), SnnferError, "level = 95"),
        (lambda: paired_permutation_test(np.ones(3), np.ones(2), [0, 1, 2]), ShapeError, "the same clips"),
        (lambda: paired_permutation_test(np.ones(0), np.ones(0), []), SnnferError, "no clips"),
    ],
)
def test_bad_input_is_named(call, error, match):
    with pytest.raises(error, match=match):
        call()
