"""Which pairs a step takes, in which batches, and its learning rate."""

import pytest
import torch
from helpers import RL, World, new_learner

from r1reward.data.storage import read_pairs
from r1reward.engines.inputs import encode
from r1reward.train.learner import choose_prompts, learning_rate, make_chunk, split_rollout
from r1reward.types import Completion, Trajectory

ANSWER = Completion("word", (1,), (0.0,), "stop", ())


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


def test_samples_of_a_prompt_stay_together_and_like_lengths_with_them(world: World) -> None:
    """Eight prompts of two samples in two mini-batches; micro-batches of four go from short to long."""
    changes = {"samples_per_prompt": 2, "train_batch_size": 8, "micro_batch_size": 4}
    learner = new_learner(world, RL.model_copy(update=changes))
    pairs = read_pairs(world.pairs)[:8]
    answers = [Completion("word " * (20 * (7 * place % 8)), (1,), (0.0,), "stop", ()) for place in range(8)]
    trajectories = [Trajectory(pairs[row // 2], answers[row // 2], 0.0) for row in range(16)]
    orders = [split_rollout(learner, trajectories, step) for step in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(row for batch in orders[0] for micro in batch for row in micro) == list(range(16))
    for batch in orders[0]:
        assert [len(micro) for micro in batch] == [4, 4]
        rows = [row for micro in batch for row in micro]
        assert rows[1::2] == [row + 1 for row in rows[::2]] and not any(row % 2 for row in rows[::2])
        lengths = [len(answers[row // 2].text) for row in rows]
        assert lengths == sorted(lengths)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_a_chunk_has_each_prompt_once_where_attention_takes_a_mask(world: World, implementation: str) -> None:
    learner = new_learner(world, RL.model_copy(update={"samples_per_prompt": 2}))
    learner.model.config._attn_implementation = implementation
    pairs = read_pairs(world.pairs)[:3]
    trajectories = [Trajectory(pairs[row // 2], ANSWER, 0.0) for row in range(6)]
    chunk = make_chunk(learner, trajectories, [4, 5, 0, 1])
    once = implementation == "sdpa"
    assert chunk.prompts.tolist() == ([0, 0, 1, 1] if once else [0, 1, 2, 3])
    own = encode(learner.processor, [learner.task.request(pairs[place]) for place in (2, 2, 0, 0)])
    ids = chunk.batch["input_ids"][chunk.prompts]
    assert torch.equal(ids, own["input_ids"]) and len(chunk.batch["input_ids"]) == (2 if once else 4)
