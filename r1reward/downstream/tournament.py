"""Scores of several answers to one question from comparisons by a judge (paper C.9).

w_ij is 1 if answer i, shown first, beats answer j; s_ij = (w_ij + 1 - w_ji) / 2; Score(i) is the sum of s_ij
over all j but i. The scores of n answers sum to n (n - 1) / 2, 28 for eight. Beyond the paper, not everybody
has to meet everybody: opponents are drawn, or found among those who stand equal (a Swiss tournament); then
the sum may differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from r1reward.downstream.questions import Question
from r1reward.types import Comparison, Judgment, Verdict

# A judge without a verdict, and equal answers, share the point.
POINTS = {Verdict.FIRST: 1.0, Verdict.SECOND: 0.0, Verdict.UNPARSED: 0.5}
Compare = Callable[[list[Comparison]], Sequence[Judgment]]
Pairing = Literal["all", "random", "swiss"]


def tournament_scores(
    questions: Sequence[tuple[Question, Sequence[str]]],
    compare: Compare,
    *,
    pairing: Pairing = "all",
    rounds: int = 1,
    seed: int = 0,
) -> list[NDArray[np.float64]]:
    """Score(i) of each answer to each question; who meets is judged in both orders.

    Each question comes with its answers. `compare` is asked once a round for everything, and once only about
    the same texts in the same order. With pairing "all" everybody meets in one round. Else each different
    answer meets at most one other in each of `rounds`, never the same again: a random one, or one that has
    won about as much. Its mean s stands for those it did not meet.
    """
    tables = [_Table(item, answers) for item, answers in questions]
    rng = np.random.default_rng(seed)
    for _ in range(1 if pairing == "all" else rounds):
        games = [(table, game) for table in tables for game in table.games(pairing, rng)]
        if games:
            judged = compare([table.comparison(*game) for table, game in games])
            for (table, game), judgment in zip(games, judged, strict=True):
                table.won[game] = POINTS[judgment.verdict]
    return [table.scores()[table.players] for table in tables]


class _Table:
    """The different answers to a question and what is known of them.

    `players` (n,) says which of the D different texts each answer is; `won` (D, D) is w, NaN where two have
    not met.
    """

    def __init__(self, item: Question, answers: Sequence[str]) -> None:
        self.item = item
        self.texts = list(dict.fromkeys(answers))
        self.players = np.array([self.texts.index(answer) for answer in answers])
        self.won = np.full((len(self.texts), len(self.texts)), np.nan)

    def comparison(self, first: int, second: int) -> Comparison:
        """The question with two of the texts."""
        texts = (self.texts[first], self.texts[second])
        return Comparison(self.item.text, texts, self.item.images, label=self.item.label)

    def games(self, pairing: Pairing, rng: np.random.Generator) -> list[tuple[int, int]]:
        """Who meets in the next round: the first and the second text of each comparison."""
        if pairing == "all":
            return list(permutations(range(len(self.texts)), 2))
        waiting = rng.permutation(len(self.texts))
        if pairing == "swiss":
            waiting = waiting[np.argsort(-self._mean_share()[waiting], kind="stable")]
        waiting, games = waiting.tolist(), []
        while waiting:
            one = waiting.pop(0)
            other = next((other for other in waiting if np.isnan(self.won[one, other])), None)
            if other is not None:
                waiting.remove(other)
                games += [(one, other), (other, one)]
        return games

    def scores(self) -> NDArray[np.float64]:
        """Score (D,) of each text: half a point for each of its twins, s for all others."""
        counts = np.bincount(self.players, minlength=len(self.texts))
        return (counts - 1) / 2 + (counts.sum() - counts) * self._mean_share()

    def _mean_share(self) -> NDArray[np.float64]:
        """Mean s (D,) of each text against those it met, by how many answers they are; one half before."""
        counts = np.bincount(self.players, minlength=len(self.texts))
        shared = (self.won + 1 - self.won.T) / 2
        met = ~np.isnan(shared) @ counts
        points = np.where(np.isnan(shared), 0.0, shared) @ counts
        return np.where(met > 0, points / np.maximum(met, 1), 0.5)
