"""The RL loop's task of a policy that answers questions and is rewarded by a judge alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from r1reward.downstream.questions import Question
from r1reward.downstream.tournament import tournament_scores
from r1reward.judge.r1_reward import R1Reward
from r1reward.types import Completion, Request, Trajectory


class TournamentTask:
    """Answers to a prompt are compared with each other by R1-Reward; an answer's reward is its mean win.

    Items are questions, whose reference answers are not looked at. Rewards are Score / (n - 1), between 0
    and 1: GRPO measures them against the others of the prompt, so the scale only changes what is drawn.
    """

    def __init__(self, judge: R1Reward) -> None:
        self._judge = judge

    @property
    def fingerprint(self) -> str:
        """Who judges, by which engine."""
        return self._judge.name

    def request(self, item: Question) -> Request:
        """The question as it is, with its pictures."""
        return item.request()

    def score(
        self, items: Sequence[Question], completions: Sequence[tuple[Completion, ...]]
    ) -> list[Trajectory]:
        """All comparisons of a step in one call; greedy verdicts."""
        questions = [
            (item, [one.text for one in samples]) for item, samples in zip(items, completions, strict=True)
        ]
        scores = tournament_scores(questions, partial(self._judge.compare_all, votes=1))
        return [
            Trajectory(item, one, float(score) / (len(samples) - 1))
            for item, samples, found in zip(items, completions, scores, strict=True)
            for one, score in zip(samples, found, strict=True)
        ]

    def metrics(self, trajectories: Sequence[Trajectory]) -> dict[str, float]:
        """How often answers of a prompt differ at all: without that there is nothing to learn."""
        texts: dict[str, list[str]] = {}
        for one in trajectories:
            texts.setdefault(one.item.label, []).append(one.completion.text)
        return {"distinct_share": sum(len(set(group)) for group in texts.values()) / len(trajectories)}
