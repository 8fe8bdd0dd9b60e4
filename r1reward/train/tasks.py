"""What the RL loop trains for: how an item is asked about, and what answers to it are worth.

`JudgeTask` is the paper's reward model (§3.2): pairs, verdicts, and the three parts of the reward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from r1reward.algo import final_reward
from r1reward.judge.consistency import ConsistencyJudge
from r1reward.judge.reward_model import judge_request, read_vote
from r1reward.judge.server import ServerConsistencyJudge
from r1reward.parsing import follows_format
from r1reward.prompts import PromptName
from r1reward.settings import RLSettings
from r1reward.train.formulas import OWN, Answers, checked
from r1reward.train.metrics import judge_metrics
from r1reward.types import Completion, JudgeTrajectory, PreferencePair, Request, Trajectory, Vote

RewardFormula = Callable[[Answers], Tensor]


class Task(Protocol):
    """Items are whatever is asked about; `fingerprint` changes with the rewards of the same answers."""

    @property
    def fingerprint(self) -> str: ...

    def used(self) -> dict[str, Any]:
        """What rewards follow from, for the record of a run."""
        ...

    def request(self, item: Any) -> Request:
        """How the policy is asked."""
        ...

    def score(
        self, items: Sequence[Any], completions: Sequence[tuple[Completion, ...]]
    ) -> Sequence[Trajectory]:
        """Rewards of all answers, item by item."""
        ...

    def metrics(self, trajectories: Sequence[Any]) -> dict[str, float]:
        """What a row of metrics has beside what every rollout has."""
        ...


class JudgeTask:
    """A judge learns to name the better response, and to reason accordingly."""

    def __init__(
        self,
        judge: ConsistencyJudge,
        *,
        settings: RLSettings,
        prompt: PromptName,
        reward: RewardFormula | None = None,
    ) -> None:
        self._judge, self._settings, self._reward = judge, settings, reward
        self._prompt: PromptName = prompt

    @property
    def fingerprint(self) -> str:
        """That of the consistency judge."""
        return self._judge.fingerprint

    def used(self) -> dict[str, Any]:
        """The consistency judge, the weight and place of its reward, and what its server was asked."""
        settings, judge = self._settings, self._judge
        asked = {"judge_record": judge.record()} if isinstance(judge, ServerConsistencyJudge) else {}
        return {
            "consistency_judge": self.fingerprint,
            "consistency_weight": OWN if self._reward else settings.consistency_weight,
            "external_consistency": settings.external_consistency,
            "prompt": self._prompt,
            **asked,
        }

    def request(self, item: PreferencePair) -> Request:
        """The judge prompt."""
        return judge_request(item, prompt=self._prompt)

    def score(
        self, items: Sequence[PreferencePair], completions: Sequence[tuple[Completion, ...]]
    ) -> list[JudgeTrajectory]:
        """See `score_votes`."""
        votes = [tuple(read_vote(completion) for completion in samples) for samples in completions]
        return score_votes(items, votes, judge=self._judge, settings=self._settings, reward=self._reward)

    def metrics(self, trajectories: Sequence[JudgeTrajectory]) -> dict[str, float]:
        """See `judge_metrics`."""
        return judge_metrics(trajectories)


def score_votes(
    pairs: Sequence[PreferencePair],
    votes: Sequence[tuple[Vote, ...]],
    *,
    judge: ConsistencyJudge,
    settings: RLSettings,
    reward: RewardFormula | None = None,
) -> list[JudgeTrajectory]:
    """Rewards of all samples, pair by pair (paper §3.2).

    The consistency judge is asked where the formula needs it: about right answers when consistency is
    gated, about every answer when it is external. `reward` takes the place of the paper's formula; ValueError
    where it does not return a finite reward for each answer.
    """
    flat = [(pair, vote) for pair, samples in zip(pairs, votes, strict=True) for vote in samples]
    right = [vote.verdict.agrees_with(pair.preferred) for pair, vote in flat]
    asked = [index for index in range(len(flat)) if right[index] or settings.external_consistency]
    opinions = judge.judge(
        [flat[index][1].reasoning for index in asked], [flat[index][1].verdict for index in asked]
    )
    consistency: list[float | None] = [0.0] * len(flat)
    paid = list(consistency)
    for index, opinion in zip(asked, opinions, strict=True):
        consistency[index] = None if opinion is None else float(opinion)
        paid[index] = settings.contradicted_reward if consistency[index] == 0 else consistency[index]
    formatting = [float(follows_format(vote.completion.text)) for _, vote in flat]
    answers = Answers(
        result=torch.tensor([float(value) for value in right]),
        consistency=torch.tensor([value or 0.0 for value in paid]),
        formatting=torch.tensor(formatting),
        length=torch.tensor([float(len(vote.completion.token_ids)) for _, vote in flat]),
    )
    if reward is not None:
        rewards = checked("reward", reward(answers), like=answers.result)
    else:
        rewards = final_reward(
            answers.result,
            answers.consistency,
            formatting=answers.formatting,
            weight=settings.consistency_weight,
            external=settings.external_consistency,
        )
    return [
        JudgeTrajectory(
            pair, vote.completion, earned, vote.verdict, float(right[i]), formatting[i], consistency[i]
        )
        for i, ((pair, vote), earned) in enumerate(zip(flat, rewards.tolist(), strict=True))
    ]
