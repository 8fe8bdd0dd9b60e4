import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from r1reward.algo import policy_ratio

LOG_BOUND = math.log(1e3)


def test_ratio_is_exponential_of_difference_inside_the_bounds() -> None:
    ratio = policy_ratio(torch.tensor([-1.0, -2.0, -0.5]), torch.tensor([-2.0, -1.0, -0.5]))
    torch.testing.assert_close(ratio, torch.tensor([math.e, 1 / math.e, 1.0]))


def test_ratio_stops_at_the_bounds_on_both_sides() -> None:
    log_probs = torch.tensor([0.0, -1e4, 0.0, -7.5], dtype=torch.float64)
    old_log_probs = torch.tensor([-1e4, 0.0, -7.5, 0.0], dtype=torch.float64)
    expected = torch.tensor([1e3, 1e-3, 1e3, 1e-3], dtype=torch.float64)
    torch.testing.assert_close(policy_ratio(log_probs, old_log_probs), expected)


def test_another_bound_is_used_as_given() -> None:
    ratio = policy_ratio(torch.tensor([0.0, -9.0]), torch.tensor([-9.0, 0.0]), pre_clip=10.0)
    torch.testing.assert_close(ratio, torch.tensor([10.0, 0.1]))


def test_none_switches_pre_clip_off() -> None:
    ratio = policy_ratio(torch.tensor([0.0, -0.1]), torch.tensor([-1e4, -10.0]), pre_clip=None)
    assert ratio[0] == math.inf
    torch.testing.assert_close(ratio[1], torch.tensor(math.exp(9.9)))


@given(st.floats(-1e4, 1e4))
def test_gradient_is_the_ratio_inside_and_zero_outside(log_ratio: float) -> None:
    log_probs = torch.tensor(log_ratio, dtype=torch.float64, requires_grad=True)
    ratio = policy_ratio(log_probs, torch.tensor(0.0, dtype=torch.float64))
    ratio.backward()
    assert log_probs.grad is not None
    expected = math.exp(log_ratio) if abs(log_ratio) <= LOG_BOUND else 0.0
    assert float(log_probs.grad) == pytest.approx(expected)
    assert 1e-3 * (1 - 1e-9) <= ratio.item() <= 1e3 * (1 + 1e-9)


@pytest.mark.parametrize("bound", [1.0, 0.5, 0.0, -3.0, math.nan])
def test_a_bound_that_is_not_above_one_is_refused(bound: float) -> None:
    with pytest.raises(ValueError, match="larger than 1"):
        policy_ratio(torch.zeros(1), torch.zeros(1), pre_clip=bound)
