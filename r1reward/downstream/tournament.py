"""Tournaments of answers to a question, which a judge compares: the policy's reward (paper C.9).

w_ij is 1 if answer i, shown first, beats answer j; s_ij = (w_ij + 1 - w_ji) / 2; Score(i) is the sum of s_ij
over all j but i. The scores of n answers sum to n (n - 1) / 2, 28 for eight. Beyond the paper, not everybody
has to meet everybody: opponents are drawn, or found among those who stand equal (a Swiss tournament); then
the sum may differ. `hold_tournaments` says how well cheaper ones agree with the one in which everybody meets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import permutations, product
from statistics import fmean
from typing import Any, Literal
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from r1reward.downstream.questions import Question
from r1reward.judge.generative import R1Reward
from r1reward.types import Comparison, Completion, Judgment, Request, Trajectory, Verdict

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


# Pairings and their rounds; the first is what the others are held against.
TOURNAMENTS: tuple[tuple[Pairing, int], ...] = (
    ("all", 1),
    *(("random", rounds) for rounds in (1, 2, 3, 4)),
    *(("swiss", rounds) for rounds in (2, 3, 4)),
)


def hold_tournaments(
    answered: Sequence[tuple[Question, Sequence[str]]], compare: Compare
) -> list[dict[str, Any]]:
    """A line for each question and tournament: its pairing and rounds, comparisons asked, scores.

    `compare` is asked for the full tournament only; the others are held with its verdicts. Questions whose
    answers are all the same are left out: there nothing is compared.
    """
    answered = [(item, texts) for item, texts in answered if len(set(texts)) > 1]
    judge = _Remembering(compare)
    tournament_scores(answered, judge)
    lines = []
    for (pairing, rounds), (number, one) in product(TOURNAMENTS, enumerate(answered)):
        judge.asked = 0
        (scores,) = tournament_scores([one], judge, pairing=pairing, rounds=rounds, seed=number)
        line = {"question": number, "pairing": pairing, "rounds": rounds, "comparisons": judge.asked}
        lines.append({**line, "scores": np.round(scores, 4).tolist()})
    return lines


class _Remembering:
    """Asks a judge about nothing twice, and counts what it is asked itself."""

    def __init__(self, compare: Compare) -> None:
        self.asked = 0
        self._compare = compare
        self._known: dict[Comparison, Judgment] = {}

    def __call__(self, comparisons: list[Comparison]) -> list[Judgment]:
        self.asked += len(comparisons)
        new = [one for one in comparisons if one not in self._known]
        if new:
            self._known.update(zip(new, self._compare(new), strict=True))
        return [self._known[one] for one in comparisons]
