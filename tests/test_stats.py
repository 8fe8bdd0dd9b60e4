import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from r1reward import stats
from r1reward.stats import Interval, mean_interval, paired_interval, share_interval


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


def bounds(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high


def test_two_seeds_and_three_items_by_hand() -> None:
    """Mean squares 0.135, 0.065, 0.015: equal seeds have less than 1.125 * 0.015 in 60 %, so seeds count.

    Student's quantiles of 1 and 2 degrees of freedom: 12.7062, 4.30265 (97.5 %), 1.37638, 1.06066 (80 %).
    """
    values = [[0.1, 0.2, 0.3], [0.3, 0.4, 0.8]]
    assert [float(part) for part in stats._mean_squares(np.array(values))] == pytest.approx(
        [0.135, 0.065, 0.015]
    )
    half = math.sqrt((12.7062**2 * 0.135 + 4.30265**2 * 0.05) / 6)
    lower = math.sqrt((1.37638**2 * 0.135 + 1.06066**2 * 0.05) / 6)
    found = mean_interval(values, within=None)
    assert (found.estimate, *bounds(found)) == pytest.approx((0.35, 0.35 - half, 0.35 + half), abs=1e-5)
    assert found.detectable == pytest.approx(half + lower, abs=1e-5)
    assert bounds(mean_interval(values)) == (0.0, 1.0)


def test_seeds_that_differ_no_more_than_their_residual_are_left_out() -> None:
    """Mean squares 0, 0.135 and 0.01: Student over items, of the sums over seeds."""
    found = mean_interval([[0.1, 0.2, 0.6], [0.2, 0.1, 0.6]])
    half = 4.30265 * math.sqrt(0.135 / 6)
    assert bounds(found) == pytest.approx((max(0, 0.3 - half), 0.3 + half), abs=1e-5)


def test_one_seed_equal_seeds_and_one_item_give_students_interval() -> None:
    scores = rng(1).random(40)
    student = ttest_1samp(scores, 0).confidence_interval(0.95)
    for values in (scores[None], np.tile(scores, (4, 1)), scores[:, None], np.stack([scores, scores], 1)):
        assert bounds(mean_interval(values)) == pytest.approx((student.low, student.high), rel=1e-9)
    wide = ttest_1samp(scores, 0).confidence_interval(0.99)
    assert bounds(mean_interval(scores[None], confidence=0.99)) == pytest.approx((wide.low, wide.high))


def test_further_axes_stay_with_their_item() -> None:
    values = rng(2).random((3, 30, 2))
    assert mean_interval(values) == mean_interval(values.mean(axis=2))


def test_equal_values_bound_the_share_of_items_that_may_differ() -> None:
    """Of 0 in N the exact interval of a share, of 0.5 half of it on both sides; the seeds may all agree."""
    assert bounds(mean_interval(np.zeros((3, 40)))) == pytest.approx(exact(0, 40))
    assert bounds(mean_interval(np.ones((3, 40)))) == pytest.approx(exact(40, 40))
    rest = exact(0, 40)[1] / 2
    found = mean_interval(np.full((3, 40), 0.5))
    assert (*bounds(found), found.detectable) == (pytest.approx(0.5 - rest), pytest.approx(0.5 + rest), None)
    assert bounds(paired_interval(np.ones((1, 40)), np.ones((1, 40)))) == pytest.approx((-2 * rest, 2 * rest))
    assert mean_interval(np.full((3, 1), 7.0), within=None) == Interval(7.0, 7.0, 7.0)


def test_items_whose_means_are_equal_leave_the_residual() -> None:
    values = np.array([[0.0, 1.0], [1.0, 0.0]])
    half = 12.7062 * math.sqrt(1 / 4)
    assert bounds(mean_interval(values, within=None)) == pytest.approx((0.5 - half, 0.5 + half), abs=1e-4)


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 30))
def test_the_order_of_seeds_and_items_says_nothing(seed: int, num_seeds: int, num_items: int) -> None:
    values = rng(seed).integers(0, 3, size=(num_seeds, num_items)) / 2
    shuffled = values[rng(seed).permutation(num_seeds)][:, rng(seed).permutation(num_items)]
    one, other = mean_interval(values), mean_interval(shuffled)
    assert (one.estimate, *bounds(one)) == pytest.approx((other.estimate, *bounds(other)), abs=1e-9)
    assert 0 <= one.low <= one.estimate + 1e-12 and one.estimate - 1e-12 <= one.high <= 1


DRAWS, ITEMS, CHUNK = 4000, 300, 250
SKILLS = (0.0, 0.005, 0.016, 0.032)  # standard deviations of the seeds; those published are up to 0.035


def accuracies(draw: np.random.Generator, num_seeds: int) -> list[Any]:
    """Right or wrong, minus the true share; items are of two difficulties. One table for each of SKILLS."""
    level = np.where(draw.random((CHUNK, 1, ITEMS)) < 0.25, 0.6, 0.88) - draw.random(
        (CHUNK, num_seeds, ITEMS)
    )
    seeds = draw.standard_normal((CHUNK, num_seeds, 1))
    return [np.float32(level + skill * seeds > 0) - np.float32(0.81) for skill in SKILLS]


def gains(draw: np.random.Generator, num_seeds: int) -> list[Any]:
    """Differences between two judges, minus the true one; residual and items vary as in published ones."""
    noise = 0.17 * draw.standard_normal((CHUNK, num_seeds, ITEMS)) + 0.08 * draw.standard_normal(
        (CHUNK, 1, ITEMS)
    )
    seeds = draw.standard_normal((CHUNK, num_seeds, 1))
    return [np.float32(noise + skill * seeds) for skill in SKILLS]


@pytest.mark.parametrize("num_seeds", [3, 5, 8])
@pytest.mark.parametrize("kind", [accuracies, gains])
def test_intervals_cover_the_truth_as_often_as_they_say(kind, num_seeds: int) -> None:
    """93 to 97 %, however much the seeds differ, give or take two standard errors of the simulation."""
    draw, covered = rng(20), np.zeros(len(SKILLS))
    for _ in range(DRAWS // CHUNK):
        for place, tables in enumerate(kind(draw, num_seeds)):
            reached = np.abs(tables.mean(axis=(1, 2))) <= stats._half_widths(tables, 0.975)
            covered[place] += reached.sum() / DRAWS
    error = 2 * math.sqrt(0.95 * 0.05 / DRAWS)
    assert [share for share in covered if not 0.93 - error <= share <= 0.97 + error] == [], covered


def test_a_detectable_difference_is_found_four_times_in_five() -> None:
    tables = np.stack([gains(rng(seed), 5)[2] for seed in range(8)]).reshape(-1, 5, ITEMS)
    halves = stats._half_widths(tables, 0.975)
    detectable = float(np.mean(halves + stats._half_widths(tables, 0.8)))
    found = (tables.mean(axis=(1, 2)) + detectable > halves).mean()
    assert 0.76 < found < 0.84


def test_paired_difference_of_a_shift_is_exact() -> None:
    """b is a + 1/2 everywhere: the difference never varies, however much the scores do."""
    values = rng(0).integers(0, 4, size=(3, 400)) / 8
    interval = paired_interval(values, values + 0.5)
    assert interval.estimate == 0.5 and 0.48 < interval.low < interval.high < 0.51
    assert mean_interval(values).high - mean_interval(values).low > 0.03


def test_paired_difference_turns_its_sign_with_the_order() -> None:
    a, b = rng(1).random((3, 80)), rng(2).random((3, 80))
    forward, backward = paired_interval(a, b), paired_interval(b, a)
    assert (forward.low, forward.high) == pytest.approx((-backward.high, -backward.low))


def test_arrays_that_cannot_be_used_are_refused() -> None:
    for values in (np.ones(3), np.ones((0, 3)), np.ones((3, 0))):
        with pytest.raises(ValueError, match="shape"):
            mean_interval(values)
    with pytest.raises(ValueError, match="finite"):
        mean_interval([[1.0, math.nan]])
    with pytest.raises(ValueError, match="one shape"):
        paired_interval(np.ones((2, 3)), np.ones((3, 3)))
    with pytest.raises(ValueError, match="a mean of 50 does not lie within"):
        mean_interval([[40.0, 60.0]])
    with pytest.raises(ValueError, match="one value"):
        mean_interval([[1.0]], within=None)


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
