"""The RL loop's task of a policy that answers questions and is rewarded by a judge alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from statistics import fmean
from typing import Any
from zlib import crc32

from r1reward.downstream.questions import Question
from r1reward.downstream.tournament import Pairing, tournament_scores
from r1reward.judge.r1_reward import R1Reward
from r1reward.types import Completion, Request, Trajectory


class TournamentTask:
    """Answers to a prompt are compared with each other by R1-Reward; an answer's reward is its mean win.

    All of them, or those that `pairing` and `rounds` of a cheaper tournament bring together.
    Items are questions, whose reference answers no reward looks at. Rewards are Score / (n - 1), between 0
    and 1: GRPO measures them against the others of the prompt, so the scale only changes what is drawn.
    """

    def __init__(self, judge: R1Reward, pairing: Pairing = "all", rounds: int = 1) -> None:
        self._judge = judge
        self._how: dict[str, Any] = {} if pairing == "all" else {"pairing": pairing, "rounds": rounds}

    @property
    def fingerprint(self) -> str:
        """Who judges, by which engine, and how a cheaper tournament is held."""
        return " ".join([self._judge.name, *map(str, self._how.values())])

    def used(self) -> dict[str, Any]:
        """The judge and the tournament."""
        return {"judge": self.fingerprint}

    def request(self, item: Question) -> Request:
        """The question as it is, with its pictures."""
        return item.request()

    def score(
        self, items: Sequence[Question], completions: Sequence[tuple[Completion, ...]]
    ) -> list[Trajectory]:
        """All comparisons of a step, or of a round of it, in one call; greedy verdicts."""
        questions = [
            (item, [one.text for one in samples]) for item, samples in zip(items, completions, strict=True)
        ]
        drawn_by = crc32(" ".join(item.label for item in items).encode())
        compare = partial(self._judge.compare_all, votes=1)
        scores = tournament_scores(questions, compare, **self._how, seed=drawn_by)
        return [
            Trajectory(item, one, float(score) / (len(samples) - 1))
            for item, samples, found in zip(items, completions, scores, strict=True)
            for one, score in zip(samples, found, strict=True)
        ]

    def metrics(self, trajectories: Sequence[Trajectory]) -> dict[str, float]:
        """What the rewards rest on; the reference answers are looked at here alone.

        `distinct_share`: how often answers of a prompt differ, without which there is nothing to learn.
        `reference_share`: how often an answer is the reference's, word for word. `reference_above_share`: of
        the pairs of such an answer and another one to the same prompt, how often it has the higher reward;
        equal rewards count half, and a rollout without such a pair has none.
        """
        groups: dict[str, list[Trajectory]] = {}
        for one in trajectories:
            groups.setdefault(one.item.label, []).append(one)
        distinct = sum(len({one.completion.text for one in group}) for group in groups.values())
        gaps = [
            good.reward - other.reward
            for group in groups.values()
            for good in filter(_is_reference, group)
            for other in group
            if not _is_reference(other)
        ]
        shares = {
            "distinct_share": distinct / len(trajectories),
            "reference_share": sum(map(_is_reference, trajectories)) / len(trajectories),
        }
        above = [1.0 if gap > 0 else 0.5 if gap == 0 else 0.0 for gap in gaps]
        return shares | ({"reference_above_share": fmean(above)} if above else {})


def _is_reference(trajectory: Trajectory) -> bool:
    return trajectory.item.is_reference(trajectory.completion.text)
