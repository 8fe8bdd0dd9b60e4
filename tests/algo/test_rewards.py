import itertools
import math
from typing import Any

import pytest
import torch

from r1reward.algo import final_reward

BITS = (0.0, 1.0)


def reward_of(result: float, consistency: float, formatting: float, **how: Any) -> float:
    parts = [torch.tensor(float(part)) for part in (result, consistency, formatting)]
    return float(final_reward(parts[0], parts[1], formatting=parts[2], **how))


def test_every_combination_by_hand() -> None:
    """Paper §3.2: wrong answers get only the format's half, right ones 1 or 1.5 besides."""
    expected = {
        (0, 0, 0): 0.0,
        (0, 0, 1): 0.5,
        (0, 1, 0): 0.0,
        (0, 1, 1): 0.5,
        (1, 0, 0): 1.0,
        (1, 0, 1): 1.5,
        (1, 1, 0): 1.5,
        (1, 1, 1): 2.0,
    }
    for (result, consistency, formatting), reward in expected.items():
        assert reward_of(result, consistency, formatting) == reward


def test_external_pays_consistency_of_wrong_answers() -> None:
    """A wrong, consistent and well formatted answer: 1.0 by Equation 1, 0.5 behind the gate."""
    assert reward_of(0.0, 1.0, 1.0, external=True) == 1.0
    assert reward_of(0.0, 1.0, 1.0) == 0.5


def test_external_and_gated_agree_on_right_answers() -> None:
    for consistency, formatting in itertools.product(BITS, BITS):
        gated = reward_of(1.0, consistency, formatting)
        assert gated == reward_of(1.0, consistency, formatting, external=True)


@pytest.mark.parametrize("external", [False, True])
def test_an_unknown_consistency_counts_as_zero(external: bool) -> None:
    known = torch.tensor([1.0, math.nan, 0.0])
    mixed = final_reward(torch.ones(3), known, formatting=torch.ones(3), external=external)
    assert mixed.tolist() == [2.0, 1.5, 1.5]


def test_parts_broadcast() -> None:
    reward = final_reward(
        torch.tensor([[0], [1]]), torch.tensor([0.0, 1.0]), formatting=torch.tensor(1.0), weight=0.25
    )
    assert reward.tolist() == [[0.5, 0.5], [1.5, 1.75]]


def test_weight_zero_ignores_the_judge() -> None:
    for consistency in (*BITS, math.nan):
        assert reward_of(1.0, consistency, 0.0, weight=0.0) == 1.0
