"""Votes of a pool of answers: what k of them come to, exactly or over random orders of the pool.

S seeds, N pairs, 2 orders, K answers for each. Answers without a verdict abstain; a tie is a coin (0.5), and
a vote in which all abstain is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import comb, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHUFFLES = 32
SHUFFLE_SEED = 20250502
REPEATS = 3  # "the same answer three consecutive times" (C.10)
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Answers of one model: `right` and `wrong` (S, N, 2, K) say what each named, neither if unparsed.

    `rows` (N,) numbers the pairs in their benchmark, `probability` is that of the answer's digit, `tokens`
    (S, N, 2) the length of all K together; `groups` and `questions` are (N,), the latter empty where pairs do
    not share questions.
    """

    seeds: tuple[int, ...]
    rows: NDArray[np.int64]
    groups: NDArray[np.str_]
    questions: NDArray[np.str_]
    right: NDArray[np.bool_]
    wrong: NDArray[np.bool_]
    probability: Values
    tokens: NDArray[np.int64]

    @property
    def size(self) -> int:
        """Answers for each pair and order, K."""
        return self.right.shape[-1]


def read_pool(lines: Mapping[int, list[dict[str, Any]]], *, origin: str) -> Pool | None:
    """The pool of a model from its records by seed; ValueError where seeds judged other pairs."""
    if not lines:
        return None
    runs = [sorted(run, key=lambda line: line["row"]) for run in lines.values()]
    asked = [[(line["row"], line["group"], line["preferred"]) for line in run] for run in runs]
    if any(one != asked[0] for one in asked):
        raise ValueError(f"{origin} are about different pairs")
    texts = np.array([[line["verdicts"] for line in run] for run in runs])
    marks = texts[..., None].view("U1")
    answers = np.array([[line["preferred"], 3 - line["preferred"]] for line in runs[0]])[None, :, :, None]
    return Pool(
        tuple(lines),
        np.array([line["row"] for line in runs[0]]),
        np.array([line["group"] for line in runs[0]]),
        np.array([line.get("question", "") for line in runs[0]]),
        marks == answers.astype(str),
        marks == (3 - answers).astype(str),
        np.array([[line["probabilities"] for line in run] for run in runs]) / 1000,
        np.array([[line["tokens"] for line in run] for run in runs]),
    )


def majority(pool: Pool, k: int) -> Values:
    """Vote@k (paper C.5, Table 12): expected accuracy (S, N, 2) of the majority of k answers.

    Over all ways to draw them from the pool; a coin decides a tie.
    """
    right, wrong, counts = pool.right.sum(-1), pool.wrong.sum(-1), range(pool.size + 1)
    table = np.array([[_vote(r, w, pool.size, k) for w in counts] for r in counts])
    return table[right, wrong]


def swapped_majority(pool: Pool, k: int) -> Values:
    """The same (S, N) for k answers, half of which were given with the responses exchanged; k is even."""
    right, wrong = pool.right.sum(-1), pool.wrong.sum(-1)
    values = np.empty(right.shape[:2])
    for place in np.ndindex(values.shape):
        sides = list(zip(right[place], wrong[place], strict=True))
        given, exchanged = (_margins(r, w, pool.size, k // 2) for r, w in sides)
        silent = prod(_all_abstain(r + w, pool.size, k // 2) for r, w in sides)
        values[place] = _decided(np.convolve(given, exchanged), silent)
    return values


def any_right(pool: Pool, k: int) -> Values:
    """Expected share (S, N, 2) of draws of k answers with at least one right ("Any" of Figure 3)."""
    table = np.array([1 - comb(pool.size - r, k) / comb(pool.size, k) for r in range(pool.size + 1)])
    return table[pool.right.sum(-1)]


def weighted_majority(pool: Pool) -> Values:
    """Accuracy (S, N, 2) of all votes of the pool, each weighing as much as its answer's probability."""
    named = _named(pool)
    return _outcome((pool.probability * named).sum(-1), named)


def early_stopping(pool: Pool) -> tuple[Values, Values]:
    """Accuracy and number of answers drawn, both (S, N, 2), if three equal verdicts in a row end it.

    Without that all of the pool vote (C.10). Means over random orders of the pool.
    """
    accuracy, drawn = (np.zeros(pool.right.shape[:3]) for _ in range(2))
    rng = np.random.default_rng(SHUFFLE_SEED)
    for _ in range(SHUFFLES):
        named = _named(pool)[..., rng.permutation(pool.size)]
        runs = np.lib.stride_tricks.sliding_window_view(named, REPEATS, axis=-1)
        same = np.abs(runs.sum(-1)) == REPEATS
        stops, first = same.any(-1), same.argmax(-1)
        said = np.take_along_axis(named, first[..., None], axis=-1)[..., 0]
        accuracy += np.where(stops, said > 0, _outcome(named.sum(-1), named))
        drawn += np.where(stops, first + REPEATS, pool.size)
    return accuracy / SHUFFLES, drawn / SHUFFLES


def _named(pool: Pool) -> NDArray[np.int64]:
    """1 for an answer that names the right response, -1 for the wrong one, 0 for one without a verdict."""
    return pool.right.astype(int) - pool.wrong


def _outcome(margin: NDArray[Any], named: NDArray[np.int64]) -> Values:
    """1 where the margin is for the right response, 0.5 at a tie, 0 where no answer has a verdict."""
    return np.where(named.any(-1), (np.sign(np.round(margin, 9)) + 1) / 2, 0.0)


def _vote(right: int, wrong: int, size: int, k: int) -> float:
    if right + wrong > size:
        return 0.0
    return _decided(_margins(right, wrong, size, k), _all_abstain(right + wrong, size, k))


def _decided(margins: NDArray[Any], silent: float) -> float:
    """Chance that a margin is above 0, with half of that of 0 but for draws in which all abstain."""
    middle = len(margins) // 2
    return float(margins[middle + 1 :].sum() + (margins[middle] - silent) / 2)


def _all_abstain(named: int, size: int, k: int) -> float:
    """Chance that no answer with a verdict is among k of a pool that has `named` of them."""
    return comb(size - named, k) / comb(size, k)


@cache
def _margins(right: int, wrong: int, size: int, k: int) -> Values:
    """Distribution of right minus wrong, from -k to k, in a draw of k from a pool without replacement."""
    chances = np.zeros(2 * k + 1)
    for r in range(min(right, k) + 1):
        for w in range(min(wrong, k - r) + 1):
            chances[k + r - w] += comb(right, r) * comb(wrong, w) * comb(size - right - wrong, k - r - w)
    return chances / comb(size, k)
