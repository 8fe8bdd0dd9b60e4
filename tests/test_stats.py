import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from r1reward import stats
from r1reward.stats import BOOTSTRAP_SEED, NUM_RESAMPLES, Interval, bootstrap, paired_interval, share_interval


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def wilson(successes: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    return share_interval(successes, total, method="wilson", confidence=confidence)


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
    assert wilson(successes, total) == pytest.approx((low, high), abs=5e-5)


def test_wilson_interval_at_the_ends() -> None:
    assert wilson(0, 10)[0] == 0.0
    assert wilson(10, 10)[1] == 1.0
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(10, 10)[0] == pytest.approx(1 - wilson(0, 10)[1])


@given(st.integers(1, 2000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_wilson_interval_holds_the_share_and_grows_with_confidence(case: tuple[int, int]) -> None:
    successes, total = case
    low, high = wilson(successes, total)
    wide_low, wide_high = wilson(successes, total, confidence=0.99)
    assert 0 <= wide_low <= low <= successes / total <= high <= wide_high <= 1


def test_wilson_interval_refuses_impossible_counts() -> None:
    for successes, total in ((-1, 5), (6, 5), (1, 0)):
        with pytest.raises(ValueError, match="successes"):
            wilson(successes, total)
    with pytest.raises(ValueError, match="confidence"):
        wilson(1, 2, confidence=1.1)


def test_bootstrap_of_equal_values_has_no_width() -> None:
    assert bootstrap(np.full((3, 7), 0.25)) == Interval(0.25, 0.25, 0.25)


def test_bootstrap_of_one_seed_matches_the_normal_interval() -> None:
    values = rng(1).normal(size=(1, 4000))
    interval = bootstrap(values)
    half_width = 1.96 * values.std() / math.sqrt(4000)
    assert interval.estimate == pytest.approx(values.mean())
    assert interval.high - interval.low == pytest.approx(2 * half_width, rel=0.1)
    assert interval.low < interval.estimate < interval.high


def one_by_one(*arrays: NDArray[np.float64]) -> list[list[float]]:
    """The means of all resamples of each array: seeds drawn first, then items, the same for all."""
    draws, (num_seeds, num_items) = rng(BOOTSTRAP_SEED), arrays[0].shape[:2]
    seeds = draws.integers(num_seeds, size=(NUM_RESAMPLES, num_seeds))
    items = draws.integers(num_items, size=(NUM_RESAMPLES, num_items))
    return [
        [float(array[np.ix_(*both)].mean()) for both in zip(seeds, items, strict=True)] for array in arrays
    ]


def test_resamples_draw_seeds_and_then_the_same_items_for_all() -> None:
    values, others = rng(6).random((2, 3, 20, 2))
    drawn, of_others = map(np.array, one_by_one(values, others))
    one, paired = bootstrap(values), paired_interval(values, others)
    assert (one.low, one.high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]))
    assert (paired.low, paired.high) == pytest.approx(np.quantile(of_others - drawn, [0.025, 0.975]))
    assert (one.estimate, paired.estimate) == pytest.approx((values.mean(), others.mean() - values.mean()))
    wider = paired_interval(values, others, confidence=0.99)
    assert (wider.low, wider.high) == pytest.approx(np.quantile(of_others - drawn, [0.005, 0.995]))


def test_bootstrap_keeps_further_axes_with_their_item() -> None:
    values = np.stack([np.zeros((2, 30)), np.ones((2, 30))], axis=2)
    assert bootstrap(values) == Interval(0.5, 0.5, 0.5)


def test_bootstrap_depends_on_nothing_but_the_values() -> None:
    values = rng(3).random((3, 50))
    np.random.seed(0)
    first = bootstrap(values)
    np.random.seed(1)
    stats._counts.cache_clear()
    assert bootstrap(values) == first != bootstrap(values[:, ::-1])


def test_bootstrap_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    intervals = [bootstrap(rng(seed).normal(size=(1, 60))) for seed in range(200)]
    assert 0.88 <= sum(one.low <= 0 <= one.high for one in intervals) / 200 <= 0.99


def test_paired_difference_of_a_shift_is_exact() -> None:
    """b is a + 1/2 everywhere: with one draw for both, the difference never varies."""
    values = rng(0).integers(0, 8, size=(3, 40)) / 8
    interval = paired_interval(values, values + 0.5)
    assert (interval.estimate, interval.low, interval.high) == pytest.approx((0.5, 0.5, 0.5))


def test_paired_difference_turns_its_sign_with_the_order() -> None:
    a, b = rng(1).random((3, 80)), rng(2).random((3, 80))
    forward, backward = paired_interval(a, b), paired_interval(b, a)
    assert (forward.low, forward.high) == pytest.approx((-backward.high, -backward.low))


def test_bootstrap_refuses_arrays_it_cannot_use() -> None:
    for values in (np.ones(3), np.ones((0, 3)), np.ones((3, 0))):
        with pytest.raises(ValueError, match="shape"):
            bootstrap(values)
    with pytest.raises(ValueError, match="finite"):
        bootstrap(np.array([[1.0, math.nan]]))
    with pytest.raises(ValueError, match="one shape"):
        paired_interval(np.ones((2, 3)), np.ones((3, 3)))


def exact(successes: int, total: int) -> tuple[float, float]:
    return share_interval(successes, total, method="exact")


def test_exact_interval_of_a_few_trials() -> None:
    # R: binom.test(3, 5)$conf.int and binom.test(0, 5)$conf.int
    assert exact(3, 5) == pytest.approx((0.1466328, 0.9472551), abs=1e-6)
    assert exact(0, 5) == pytest.approx((0.0, 0.5218238), abs=1e-6)
    assert exact(5, 5) == pytest.approx((1 - 0.5218238, 1.0), abs=1e-6)
    assert exact(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="successes"):
        exact(6, 5)
