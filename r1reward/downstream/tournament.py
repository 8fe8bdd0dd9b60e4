"""Scores of several answers to one question from comparisons by a judge (paper C.9).

w_ij is 1 if answer i, shown first, beats answer j; s_ij = (w_ij + 1 - w_ji) / 2; Score(i) is the sum of s_ij
over all j but i. The scores of n answers sum to n (n - 1) / 2, 28 for eight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from r1reward.downstream.questions import Question
from r1reward.types import Comparison, Judgment, Verdict

# A judge without a verdict, and equal answers, share the point.
POINTS = {Verdict.FIRST: 1.0, Verdict.SECOND: 0.0, Verdict.UNPARSED: 0.5}
Compare = Callable[[list[Comparison]], Sequence[Judgment]]


def tournament_scores(
    questions: Sequence[tuple[Question, Sequence[str]]], compare: Compare
) -> list[NDArray[np.float64]]:
    """Score(i) of each answer to each question, all against all in both orders.

    Each question comes with its answers. `compare` is asked once for everything, and once only about the same
    texts in the same order.
    """
    asked: dict[tuple[int, str, str], Comparison] = {}
    for number, (item, answers) in enumerate(questions):
        for first, second in permutations(dict.fromkeys(answers), 2):
            asked[number, first, second] = Comparison(
                item.text, (first, second), item.images, label=item.label
            )
    judged = compare(list(asked.values())) if asked else []
    points = {key: POINTS[judgment.verdict] for key, judgment in zip(asked, judged, strict=True)}
    return [_scores(number, answers, points) for number, (_, answers) in enumerate(questions)]


def _scores(
    number: int, answers: Sequence[str], points: dict[tuple[int, str, str], float]
) -> NDArray[np.float64]:
    won = np.array([[points.get((number, first, second), 0.5) for second in answers] for first in answers])
    shared = (won + 1 - won.T) / 2
    np.fill_diagonal(shared, 0.0)
    return shared.sum(axis=1)
