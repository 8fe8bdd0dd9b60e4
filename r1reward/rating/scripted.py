"""A rater that is a script: it exercises the path where no people are, and its table says `scripted`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from r1reward.judge.consistency import ScriptedConsistencyJudge
from r1reward.parsing import extract_reasoning, parse_verdict
from r1reward.rating.items import CHOICES, Choice, RatingItem, Ratings


class ScriptedRater:
    """Prefers reasoning that ends at the better response, then reasoning that supports its own end.

    With probability `slip` it chooses at random, so that raters with different seeds do not always agree.
    """

    def __init__(self, ours: Mapping[int, str], baseline: Mapping[int, str], *, seed: int, slip: float = 0.2):
        self._ours, self._baseline = ours, baseline
        self._seed, self._slip = seed, slip

    def rate(self, items: Sequence[RatingItem], ratings: Ratings) -> None:
        """Rate what is not rated yet."""
        for number, item in enumerate(items):
            if item.item_id not in ratings.choices:
                ratings.add(item, self._choose(item, number))

    def _choose(self, item: RatingItem, number: int) -> Choice:
        rng = np.random.default_rng([self._seed, number])
        if rng.random() < self._slip:
            return CHOICES[rng.integers(len(CHOICES))]
        row = int(item.item_id.partition("-")[0])
        ours, baseline = self._score(item, self._ours[row]), self._score(item, self._baseline[row])
        if ours == baseline:
            return "tie"
        other: Choice = "b" if item.ours == "a" else "a"
        return item.ours if ours > baseline else other

    def _score(self, item: RatingItem, text: str) -> tuple[bool, bool]:
        verdict = parse_verdict(text)
        (consistent,) = ScriptedConsistencyJudge().judge([extract_reasoning(text)], [verdict])
        return verdict.agrees_with(item.pair.preferred), bool(consistent)
