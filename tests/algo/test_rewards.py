import itertools
import math

import pytest
import torch

from r1reward.algo import final_reward

BITS = (0.0, 1.0)


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
        assert float(final_reward(result, consistency, formatting=formatting)) == reward


def test_external_pays_consistency_of_wrong_answers() -> None:
    """A wrong, consistent and well formatted answer: 1.0 by Equation 1, 0.5 behind the gate."""
    assert float(final_reward(0.0, 1.0, formatting=1.0, external=True)) == 1.0
    assert float(final_reward(0.0, 1.0, formatting=1.0)) == 0.5


def test_external_and_gated_agree_on_right_answers() -> None:
    for consistency, formatting in itertools.product(BITS, BITS):
        gated = final_reward(1.0, consistency, formatting=formatting)
        assert gated == final_reward(1.0, consistency, formatting=formatting, external=True)


@pytest.mark.parametrize("external", [False, True])
def test_an_unknown_consistency_counts_as_zero(external: bool) -> None:
    for unknown in (None, math.nan, torch.tensor(math.nan)):
        assert float(final_reward(1.0, unknown, formatting=1.0, external=external)) == 1.5
    mixed = final_reward(torch.ones(3), [True, None, False], formatting=torch.ones(3), external=external)
    assert mixed.tolist() == [2.0, 1.5, 1.5]


def test_tensors_and_numbers_broadcast() -> None:
    reward = final_reward(torch.tensor([[0], [1]]), torch.tensor([0.0, 1.0]), formatting=1.0, weight=0.25)
    assert reward.tolist() == [[0.5, 0.5], [1.5, 1.75]]


def test_weight_zero_ignores_the_judge() -> None:
    for consistency in (*BITS, None):
        assert float(final_reward(1.0, consistency, formatting=0.0, weight=0.0)) == 1.0


def test_unknown_results_and_formats_are_refused() -> None:
    with pytest.raises(ValueError, match="result"):
        final_reward(None, 1.0, formatting=1.0)
    with pytest.raises(ValueError, match="formatting"):
        final_reward(1.0, 1.0, formatting=[1.0, None])
