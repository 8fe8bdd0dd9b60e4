import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1reward.stats import (
    Interval,
    cluster_bootstrap,
    exact_interval,
    mcnemar,
    paired_bootstrap,
    wilson_interval,
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),
    [
        # Newcombe (1998), Table I: the score method without continuity correction.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_of_published_cases(successes: int, total: int, low: float, high: float) -> None:
    assert wilson_interval(successes, total) == pytest.approx((low, high), abs=5e-5)


def test_wilson_interval_at_the_ends() -> None:
    assert wilson_interval(0, 10)[0] == 0.0
    assert wilson_interval(10, 10)[1] == 1.0
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert wilson_interval(10, 10)[0] == pytest.approx(1 - wilson_interval(0, 10)[1])


@given(st.integers(1, 2000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_wilson_interval_holds_the_share_and_grows_with_confidence(case: tuple[int, int]) -> None:
    successes, total = case
    low, high = wilson_interval(successes, total)
    wide_low, wide_high = wilson_interval(successes, total, confidence=0.99)
    assert 0 <= wide_low <= low <= successes / total <= high <= wide_high <= 1


def test_wilson_interval_refuses_impossible_counts() -> None:
    for successes, total in ((-1, 5), (6, 5), (1, 0)):
        with pytest.raises(ValueError, match="successes"):
            wilson_interval(successes, total)
    with pytest.raises(ValueError, match="confidence"):
        wilson_interval(1, 2, confidence=1.0)


def test_bootstrap_of_equal_values_has_no_width() -> None:
    assert cluster_bootstrap(np.full((3, 7), 0.25), rng=rng(), num_samples=100) == Interval(0.25, 0.25, 0.25)


def test_bootstrap_of_one_seed_matches_the_normal_interval() -> None:
    values = rng(1).normal(size=(1, 4000))
    interval = cluster_bootstrap(values, rng=rng(2))
    half_width = 1.96 * values.std() / math.sqrt(4000)
    assert interval.estimate == pytest.approx(values.mean())
    assert interval.high - interval.low == pytest.approx(2 * half_width, rel=0.1)
    assert interval.low < interval.estimate < interval.high


def test_bootstrap_resamples_seeds() -> None:
    """All items agree within a seed: only the draw of seeds moves the mean, over 0, 1/4, … 1."""
    values = np.repeat([[0.0], [0.0], [1.0], [1.0]], 50, axis=1)
    drawn = []

    def record(sample: np.ndarray) -> float:
        drawn.append(float(sample.mean()))
        return drawn[-1]

    cluster_bootstrap(values, record, rng=rng(), num_samples=400)
    assert set(drawn) == {0.0, 0.25, 0.5, 0.75, 1.0}


def test_bootstrap_draws_the_same_items_for_all_seeds() -> None:
    items = np.arange(20.0)
    values = np.stack([items, items + 100])

    def spread_between_seeds(sample: np.ndarray) -> float:
        first, second = sample
        assert set(np.unique(second - first)) <= {-100.0, 0.0, 100.0}
        return float(sample.mean())

    cluster_bootstrap(values, spread_between_seeds, rng=rng(), num_samples=100)


def test_bootstrap_keeps_further_axes_with_their_item() -> None:
    values = np.stack([np.zeros((2, 30)), np.ones((2, 30))], axis=2)
    interval = cluster_bootstrap(values, rng=rng(), num_samples=100)
    assert interval == Interval(0.5, 0.5, 0.5)


def test_the_mean_of_resamples_is_that_of_any_statistic() -> None:
    values, others = rng(6).random((2, 3, 20, 2))
    copied = {"statistic": lambda drawn: float(drawn.mean()), "num_samples": 50}
    one, other = (cluster_bootstrap(values, rng=rng(), **given) for given in (copied, {"num_samples": 50}))
    assert (one.estimate, one.low, one.high) == pytest.approx((other.estimate, other.low, other.high))
    one, other = (
        paired_bootstrap(values, others, rng=rng(), **given) for given in (copied, {"num_samples": 50})
    )
    assert (one.estimate, one.low, one.high) == pytest.approx((other.estimate, other.low, other.high))


def test_bootstrap_depends_on_its_generator_only() -> None:
    values = rng(3).random((3, 50))
    np.random.seed(0)
    first = cluster_bootstrap(values, rng=rng(4), num_samples=200)
    np.random.seed(1)
    assert cluster_bootstrap(values, rng=rng(4), num_samples=200) == first
    assert cluster_bootstrap(values, rng=rng(5), num_samples=200) != first


def test_bootstrap_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    hits = 0
    for seed in range(200):
        values = rng(seed).normal(size=(1, 60))
        interval = cluster_bootstrap(values, rng=rng(seed + 1000), num_samples=300)
        hits += interval.low <= 0 <= interval.high
    assert 0.88 <= hits / 200 <= 0.99


def test_paired_difference_of_a_shift_is_exact() -> None:
    """b is a + 1/2 everywhere: with one draw for both, the difference never varies."""
    values = rng(0).integers(0, 8, size=(3, 40)) / 8
    interval = paired_bootstrap(values, values + 0.5, rng=rng(), num_samples=200)
    assert (interval.estimate, interval.low, interval.high) == pytest.approx((0.5, 0.5, 0.5))


def test_paired_difference_turns_its_sign_with_the_order() -> None:
    a, b = rng(1).random((3, 80)), rng(2).random((3, 80))
    forward = paired_bootstrap(a, b, rng=rng(7), num_samples=300)
    backward = paired_bootstrap(b, a, rng=rng(7), num_samples=300)
    assert forward.estimate == pytest.approx(b.mean() - a.mean())
    assert (forward.low, forward.high) == pytest.approx((-backward.high, -backward.low))


def test_paired_bootstrap_takes_another_statistic() -> None:
    a, b = np.zeros((1, 5)), np.full((1, 5), 3.0)
    interval = paired_bootstrap(a, b, rng=rng(), statistic=lambda x: float(x.max()), num_samples=100)
    assert interval == Interval(3.0, 3.0, 3.0)


def test_bootstrap_refuses_arrays_it_cannot_use() -> None:
    for values in (np.ones(3), np.ones((0, 3)), np.ones((3, 0))):
        with pytest.raises(ValueError, match="shape"):
            cluster_bootstrap(values, rng=rng())
    with pytest.raises(ValueError, match="finite"):
        cluster_bootstrap(np.array([[1.0, math.nan]]), rng=rng())
    with pytest.raises(ValueError, match="one shape"):
        paired_bootstrap(np.ones((2, 3)), np.ones((3, 3)), rng=rng())


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [
        (0, 0, 1.0),
        (5, 5, 1.0),
        (0, 1, 1.0),
        (0, 5, 2 / 32),
        (1, 5, 2 * (1 + 6) / 64),
        (10, 2, 2 * (1 + 12 + 66) / 4096),
    ],
)
def test_mcnemar_by_hand(only_a: int, only_b: int, p: float) -> None:
    both = [True, False] * 4
    correct_a = [True] * only_a + [False] * only_b + both
    correct_b = [False] * only_a + [True] * only_b + both
    assert mcnemar(correct_a, correct_b) == pytest.approx(p)
    assert mcnemar(correct_b, correct_a) == pytest.approx(p)


def test_mcnemar_of_many_items_stays_a_probability() -> None:
    wrong, right = np.zeros(5000, dtype=bool), np.ones(5000, dtype=bool)
    assert mcnemar(wrong, right) == 0.0
    half = np.arange(5000) % 2 == 0
    assert mcnemar(half, ~half) == 1.0


def test_mcnemar_refuses_unequal_numbers_of_items() -> None:
    with pytest.raises(ValueError, match="one shape"):
        mcnemar([True], [True, False])


def test_exact_interval_of_a_few_trials() -> None:
    # R: binom.test(3, 5)$conf.int and binom.test(0, 5)$conf.int
    assert exact_interval(3, 5) == pytest.approx((0.1466328, 0.9472551), abs=1e-6)
    assert exact_interval(0, 5) == pytest.approx((0.0, 0.5218238), abs=1e-6)
    assert exact_interval(5, 5) == pytest.approx((1 - 0.5218238, 1.0), abs=1e-6)
    assert exact_interval(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="successes"):
        exact_interval(6, 5)
