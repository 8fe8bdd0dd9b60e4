"""Which pairs a step takes, and its learning rate."""

import pytest
from helpers import RL, World, new_learner

from r1reward.data.storage import read_pairs
from r1reward.train.learner import choose_prompts, learning_rate


def test_every_pass_takes_every_pair_once(world: World) -> None:
    pairs = read_pairs(world.pairs)
    learner = new_learner(world, RL.model_copy(update={"rollout_batch_size": 6}))
    ids = [pair.pair_id for step in range(1, 9) for pair in choose_prompts(pairs, learner, step)]
    learner.seed = 2
    assert ids[:6] != [pair.pair_id for pair in choose_prompts(pairs, learner, 1)]
    everything = sorted(pair.pair_id for pair in pairs)
    assert [sorted(ids[start : start + 16]) for start in (0, 16, 32)] == [everything] * 3
    assert ids[:16] != ids[16:32]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4, 0.4]),
        # A quarter, half and three quarters of the way down the cosine from 0.4 to 0.04.
        ("cosine", [0.1, 0.2, 0.3, 0.4, 0.4, 0.22 + 0.18 * 2**-0.5, 0.22, 0.22 - 0.18 * 2**-0.5]),
    ],
)
def test_the_rate_warms_up_and_stays_or_falls(world: World, schedule: str, expected: list[float]) -> None:
    """Four steps of two updates, half of them warm-up."""
    changes = {"warmup_ratio": 0.5, "learning_rate": 0.4, "schedule": schedule}
    learner = new_learner(world, RL.model_copy(update=changes), steps=4)
    rates = []
    for learner.update_count in range(8):
        rates.append(learning_rate(learner))
    assert rates == pytest.approx(expected)
