"""What RL rewards and learns from, in numbers computed by hand; no model is asked."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers import RL

from r1reward.algo import reduce_loss
from r1reward.engines.log_probs import PolicyOutput
from r1reward.judge.consistency_judges import ScriptedConsistencyJudge
from r1reward.settings import RLSettings
from r1reward.train import rl
from r1reward.train.learner import count_steps
from r1reward.train.tasks import PAPER
from r1reward.types import Completion, PreferencePair, Verdict


def test_a_loss_over_responses_weighs_short_ones_as_much_as_long_ones() -> None:
    """Responses of 1 and 3 tokens, advantages 1 and -2: over tokens (-1 + 6) / 4, over responses 1 / 2."""
    mask = torch.tensor([[1, 0, 0], [1, 1, 1]], dtype=torch.bool)
    per_token = torch.tensor([[-1.0, 9.0, 9.0], [2.0, 2.0, 2.0]])
    chunks: Any = [SimpleNamespace(mask=mask[:1]), SimpleNamespace(mask=mask[1:])]
    for reduction, expected in (("token", 5 / 4), ("response", 1 / 2)):
        number = rl._denominator(chunks, RL.model_copy(update={"loss_reduction": reduction}))
        parts = [
            reduce_loss(per_token[i : i + 1], mask[i : i + 1], how=reduction, denominator=number)  # type: ignore
            for i in range(2)
        ]
        assert float(sum(parts)) == pytest.approx(expected)


def answer(text: str, tokens: int = 3) -> Completion:
    return Completion(text, tuple(range(tokens)), (0.0,) * tokens, "stop")


RIGHT = "<think>response 1 is better .</think><answer>1</answer>"
RIGHT_ODD = "<think>response 2 is better .</think><answer>1</answer>"
RIGHT_SILENT = "<think>hm .</think><answer>1</answer>"
WRONG = "<think>response 2 is better .</think><answer>2</answer>"
BROKEN = "<answer>1</answer> <think>response 1 is better ."
UNPARSED = "no idea"
ANSWERS = [RIGHT, RIGHT_ODD, RIGHT_SILENT, WRONG, BROKEN, UNPARSED]


class CountingJudge(ScriptedConsistencyJudge):
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Verdict] = []

    def judge(self, reasonings: Sequence[str], verdicts: Sequence[Verdict]) -> list[bool | None]:
        self.asked += verdicts
        return super().judge(reasonings, verdicts)


@pytest.mark.parametrize(
    ("external", "contradicted", "rewards", "asked"),
    [
        (False, 0.0, [2.0, 1.5, 1.5, 0.5, 1.5, 0.0], 4),
        (True, 0.0, [2.0, 1.5, 1.5, 1.0, 1.5, 0.0], 6),
        (False, -1.0, [2.0, 1.0, 1.5, 0.5, 1.5, 0.0], 4),
    ],
)
def test_rewards_by_hand(external: bool, contradicted: float, rewards: list[float], asked: int) -> None:
    judge = CountingJudge()
    pair = PreferencePair("p", "test", "q", ("a", "b"), 1)
    answers = [(answer(text),) for text in ANSWERS]
    settings = RLSettings(external_consistency=external, contradicted_reward=contradicted)
    task = rl.JudgeTask(judge, settings=settings, prompt="mini")
    trajectories = task.score([pair] * len(ANSWERS), answers)
    assert [trajectory.reward for trajectory in trajectories] == rewards
    assert len(judge.asked) == asked
    # What the judge said, whatever was paid for it.
    unasked = [1.0, None] if external else [0.0, 0.0]
    said = [1.0, 0.0, None, unasked[0], 1.0, unasked[1]]
    assert [trajectory.consistency for trajectory in trajectories] == said


def chunk_of(rows: list[int], lengths: list[int], reference: torch.Tensor | None = None) -> rl.Chunk:
    mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    zeros = torch.zeros(mask.shape)
    old = PolicyOutput(zeros, zeros)
    return rl.Chunk(rows, {}, torch.arange(len(rows)), mask.long(), mask, old, reference)


def trajectories_of(rewards: list[float]) -> list[Any]:
    pair = PreferencePair("p", "test", "q", ("a", "b"), 1)
    return [rl.Trajectory(pair, answer(""), r) for r in rewards]


def test_advantages_are_standardised_over_the_tokens_of_the_rollout() -> None:
    """Reward 1 on three tokens and 0 on one: mean 3/4, deviation sqrt(3)/4."""
    chunks = [chunk_of([1], [1]), chunk_of([0], [3])]
    settings = RLSettings(algorithm="reinforce_pp")
    z = rl.advantages(chunks, trajectories_of([1.0, 0.0]), settings=settings)
    assert z.tolist() == pytest.approx([-(3**0.5), *[3**-0.5] * 3], rel=1e-6)
    assert chunks[0].advantages.tolist() == [[pytest.approx(-(3**0.5))]]
    assert chunks[1].advantages.tolist() == [pytest.approx([3**-0.5] * 3)]


@pytest.mark.parametrize(
    ("algorithm", "limit", "filtered"),
    [
        ("stable_reinforce", "default", True),
        ("reinforce_pp", "default", False),
        ("stable_reinforce", "off", False),
        ("reinforce_pp", 3.0, True),
    ],
)
def test_the_filter_zeroes_a_lone_failure(algorithm: Any, limit: Any, filtered: bool) -> None:
    """One wrong answer of 20: z = -sqrt(19) = -4.36."""
    chunks = [chunk_of(list(range(20)), [1] * 20)]
    settings = RLSettings(algorithm=algorithm, advantage_limit=limit)
    z = rl.advantages(chunks, trajectories_of([0.0] + [1.0] * 19), settings=settings)
    assert float(z.min()) == pytest.approx(-(19**0.5), rel=1e-5)
    assert float(chunks[0].advantages[0, 0]) == pytest.approx(0.0 if filtered else -(19**0.5), rel=1e-5)
    assert float(chunks[0].advantages[1, 0]) == pytest.approx(19**-0.5, rel=1e-5)


def test_grpo_compares_the_samples_of_a_prompt() -> None:
    chunks = [chunk_of([3, 0], [1, 2]), chunk_of([1, 2], [1, 1])]
    settings = RLSettings(algorithm="grpo", samples_per_prompt=2)
    rl.advantages(chunks, trajectories_of([1.0, 0.0, 1.0, 1.0]), settings=settings)
    assert chunks[0].advantages.tolist() == [[0.0, 0.0], [pytest.approx(1.0), pytest.approx(1.0)]]
    assert chunks[1].advantages.tolist() == [[pytest.approx(-1.0)], [0.0]]
    settings = settings.model_copy(update={"normalize_groups": False})
    rl.advantages(chunks, trajectories_of([1.0, 0.0, 1.0, 1.0]), settings=settings)
    assert chunks[0].advantages.tolist() == [[0.0, 0.0], [0.5, 0.5]]


def test_the_kl_penalty_is_a_reward_to_go() -> None:
    """KL 0.2, 0.0, 0.4 at coefficient 0.5 leaves rewards of 0.7, 0.8, 0.8 to standardise."""
    chunk = chunk_of([0], [3], reference=torch.tensor([[-0.2, 0.0, -0.4]]))
    settings = RLSettings(algorithm="reinforce_pp", kl_coef=0.5)
    z = rl.advantages([chunk], trajectories_of([1.0]), settings=settings)
    assert z.tolist() == pytest.approx([-(2**0.5), 2**-0.5, 2**-0.5], rel=1e-4)


def test_entropy_is_the_mean_over_the_tokens_that_were_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers of 1 and 3 tokens in one batch, 2 nats each: padding is no token."""
    chunk = chunk_of([0, 1], [1, 3])
    chunk.old = PolicyOutput(chunk.old.log_probs, 2.0 * chunk.mask)
    monkeypatch.setattr(rl, "rollout", lambda *_: [(answer("", 1),), (answer("", 3),)])
    monkeypatch.setattr(rl, "prepare", lambda *_: [[chunk]])
    monkeypatch.setattr(rl, "update", lambda *_: {"num_tokens": 4.0})
    task = SimpleNamespace(score=lambda *_: trajectories_of([1.0, 0.0]), metrics=lambda _: {})
    learner: Any = SimpleNamespace(task=task, settings=RL, formulas=PAPER)
    assert rl.take_step(learner, [], 1)["entropy"] == 2.0


@pytest.mark.parametrize(("epochs", "limit", "steps"), [(1, None, 2), (3, None, 7), (3, 4, 4), (1, 9, 2)])
def test_number_of_steps(epochs: int, limit: int | None, steps: int) -> None:
    settings = RL.model_copy(update={"epochs": epochs, "max_steps": limit})
    assert count_steps(settings, 20) == steps
    assert count_steps(settings, 3) == 1
