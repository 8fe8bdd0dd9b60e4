import math

import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st

from r1reward.algo import filter_advantages, group_advantages, standardize_advantages

finite32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
finite64 = st.floats(allow_nan=False, allow_infinity=False)
scores = st.floats(-100, 100)


def one_wrong(number: int) -> torch.Tensor:
    rewards = torch.ones(number)
    rewards[0] = 0.0
    return rewards


def test_paper_example_of_one_wrong_answer_among_256() -> None:
    """Paper §2.1: 255 rewards of 1 and one of 0 (it prints -15.96; the exact value is -sqrt(255))."""
    z = standardize_advantages(one_wrong(256))
    assert float(z[0]) == pytest.approx(-math.sqrt(255), rel=1e-6)
    torch.testing.assert_close(z[1:], torch.full((255,), 1 / math.sqrt(255)))
    filtered = filter_advantages(z)
    assert filtered[0] == 0
    assert torch.equal(filtered[1:], z[1:])


def test_standardised_by_hand_with_mask() -> None:
    """Counted are 1, 3, 5, 7: mean 4, population variance (9 + 1 + 1 + 9) / 4 = 5."""
    values = torch.tensor([[1.0, 3.0, 99.0], [5.0, 7.0, math.nan]])
    mask = torch.tensor([[True, True, False], [True, True, False]])
    root = math.sqrt(5)
    expected = torch.tensor([[-3 / root, -1 / root, 0.0], [1 / root, 3 / root, 0.0]])
    torch.testing.assert_close(standardize_advantages(values, mask), expected)


@given(finite32, st.integers(1, 300))
def test_constant_float32_batch_gives_exactly_zero(value: float, number: int) -> None:
    assert standardize_advantages(torch.full((number,), value)).count_nonzero() == 0


@given(finite64, st.integers(1, 300))
def test_constant_float64_batch_gives_exactly_zero(value: float, number: int) -> None:
    z = standardize_advantages(torch.full((number,), value, dtype=torch.float64))
    assert z.count_nonzero() == 0 and not z.isnan().any()


def test_256_rewards_of_1_6_give_exactly_zero() -> None:
    """A plain float32 z-score gives values near 1 here, from rounding alone."""
    assert standardize_advantages(torch.full((16, 16), 1.6)).count_nonzero() == 0


@given(st.lists(scores, min_size=2, max_size=50))
def test_standardised_values_have_mean_zero_and_deviation_one(values: list[float]) -> None:
    tensor = torch.tensor(values, dtype=torch.float64)
    assume(float(tensor.std(correction=0)) > 1e-3)
    z = standardize_advantages(tensor)
    assert float(z.mean()) == pytest.approx(0, abs=1e-6)
    assert float(z.std(correction=0)) == pytest.approx(1, abs=1e-4)
    assert (z[tensor.argsort()].diff() >= 0).all()


@given(st.lists(st.tuples(scores, st.booleans()), min_size=1, max_size=40), st.floats())
def test_masked_entries_neither_count_nor_come_out(pairs: list[tuple[float, bool]], garbage: float) -> None:
    mask = torch.tensor([counted for _, counted in pairs])
    values = torch.tensor([value for value, _ in pairs], dtype=torch.float64)
    z = standardize_advantages(torch.where(mask, values, garbage), mask)
    assert z[~mask].count_nonzero() == 0
    assert torch.equal(z[mask], standardize_advantages(values[mask]))


def test_integers_and_an_empty_mask() -> None:
    assert standardize_advantages(torch.tensor([0, 1])).tolist() == pytest.approx([-1, 1])
    assert standardize_advantages(torch.ones(3), torch.zeros(3)).tolist() == [0, 0, 0]


def test_values_that_cannot_be_standardised_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        standardize_advantages(torch.tensor([1.0, math.nan]))
    with pytest.raises(ValueError, match="shape"):
        standardize_advantages(torch.ones(2, 3), torch.ones(3, 2))


def test_group_advantages_by_hand() -> None:
    """Group 7 holds 0, 1, 1, 0 (mean and deviation 1/2), group 3 only 5, group 9 holds 1, 4 (2.5, 1.5)."""
    rewards = torch.tensor([0.0, 1.0, 5.0, 1.0, 1.0, 0.0, 4.0])
    groups = torch.tensor([7, 7, 3, 9, 7, 7, 9])
    expected = torch.tensor([-1.0, 1.0, 0.0, -1.0, 1.0, -1.0, 1.0])
    torch.testing.assert_close(group_advantages(rewards, groups), expected)
    centred = torch.tensor([-0.5, 0.5, 0.0, -1.5, 0.5, -0.5, 1.5])
    torch.testing.assert_close(group_advantages(rewards, groups.tolist(), normalize_std=False), centred)


@given(st.lists(st.tuples(finite64, st.integers(1, 12)), min_size=1, max_size=8), st.booleans())
def test_groups_of_equal_rewards_give_exactly_zero(groups: list[tuple[float, int]], normalize: bool) -> None:
    rewards = torch.tensor([value for value, size in groups for _ in range(size)], dtype=torch.float64)
    identifiers = [index for index, (_, size) in enumerate(groups) for _ in range(size)]
    assert group_advantages(rewards, identifiers, normalize_std=normalize).count_nonzero() == 0


@given(st.lists(st.tuples(scores, st.integers(0, 3)), min_size=1, max_size=30))
def test_groups_do_not_see_each_other(rows: list[tuple[float, int]]) -> None:
    rewards = torch.tensor([reward for reward, _ in rows], dtype=torch.float64)
    groups = torch.tensor([group for _, group in rows])
    together = group_advantages(rewards, groups)
    for group in groups.unique():
        chosen = rewards[groups == group]
        torch.testing.assert_close(together[groups == group], standardize_advantages(chosen))


def test_groups_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        group_advantages(torch.ones(3), [1, 2])
    with pytest.raises(ValueError, match="finite"):
        group_advantages(torch.tensor([1.0, math.inf]), [1, 2])


def test_filter_keeps_the_limit_itself_and_zeroes_beyond() -> None:
    z = torch.tensor([-15.97, -3.0001, -3.0, 0.0, 2.5, 3.0, 3.0001])
    assert filter_advantages(z).tolist() == [0.0, 0.0, -3.0, 0.0, 2.5, 3.0, 0.0]
    assert torch.equal(filter_advantages(z, limit=2.0).nonzero(), torch.zeros(0, 1, dtype=torch.long))
    assert torch.equal(filter_advantages(z, limit=math.inf), z)


def test_filter_does_not_hide_nan() -> None:
    assert filter_advantages(torch.tensor([math.nan])).isnan().all()


@given(st.lists(finite64, max_size=30), st.floats(0, 10))
def test_filtered_values_lie_within_the_limit_and_are_untouched_or_zero(
    values: list[float], limit: float
) -> None:
    z = torch.tensor(values, dtype=torch.float64)
    filtered = filter_advantages(z, limit=limit)
    assert (filtered.abs() <= limit).all()
    assert ((filtered == z) | (filtered == 0)).all()


@given(st.integers(1, 30), st.integers(1, 400))
@example(1, 9)
@example(1, 10)
@example(25, 225)
@example(25, 231)
@example(180, 20)
def test_wrong_answers_are_all_zeroed_once_fewer_than_a_tenth_are_wrong(wrong: int, right: int) -> None:
    """z of a wrong answer is -sqrt(right / wrong), so it passes 3 where fewer than 10 % are wrong."""
    rewards = torch.tensor([0.0] * wrong + [1.0] * right)
    filtered = filter_advantages(standardize_advantages(rewards))
    every_wrong_zeroed = bool((filtered[:wrong] == 0).all())
    assert every_wrong_zeroed == (wrong * 10 < wrong + right)
    # The other way round a rare right answer is what goes.
    assert bool((filtered[wrong:] == 0).all()) == (right * 10 < wrong + right)
