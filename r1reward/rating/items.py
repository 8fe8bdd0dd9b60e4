"""What raters see: one pair and the reasoning of two judges about it, in an order that says nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np

from r1reward.files import append_jsonl, read_jsonl
from r1reward.parsing import extract_reasoning
from r1reward.types import PreferencePair

Choice = Literal["a", "b", "tie"]
Outcome = Literal["win", "loss", "tie"]
CHOICES: tuple[Choice, ...] = ("a", "b", "tie")


@dataclass(frozen=True, slots=True)
class RatingItem:
    """A pair with two reasonings about it, A and B. `ours` says which is R1-Reward's: never shown."""

    item_id: str
    pair: PreferencePair
    reasonings: tuple[str, str]
    ours: Choice


def make_items(
    pairs: Sequence[PreferencePair],
    ours: Mapping[int, str],
    baseline: Mapping[int, str],
    *,
    count: int,
    seed: int,
    rater: str,
) -> list[RatingItem]:
    """`count` random pairs, the same for all raters, in an order and with sides of the rater's own.

    `ours` and `baseline` are the judges' texts by the pair's row. The verdict is cut off: raters judge the
    reasoning "without knowing the final answer" (paper C.7). An item's id follows from the texts.
    """
    chosen = np.random.default_rng([seed, len(pairs)]).permutation(len(pairs))[:count]
    rng = np.random.default_rng([seed, *rater.encode()])
    items = []
    for index in rng.permutation(chosen):
        pair = pairs[index]
        row = int(pair.meta.get("row", index))
        two = (extract_reasoning(ours[row]), extract_reasoning(baseline[row]))
        digest = sha256(json.dumps([pair.question, pair.responses, two]).encode()).hexdigest()
        item_id = f"{row}-{digest[:12]}"
        if rng.integers(2):
            items.append(RatingItem(item_id, pair, two, "a"))
        else:
            items.append(RatingItem(item_id, pair, (two[1], two[0]), "b"))
    return items


def read_texts(path: Path) -> dict[int, str]:
    """A judge's texts about the pairs in the file's order, by row, from what a benchmark run keeps."""
    return {line["row"]: line["text"] for line in read_jsonl(path) if line["order"] == "given"}


class Ratings:
    """One rater's choices in a file: every choice is on disk at once, a later one replaces an earlier."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        lines = read_jsonl(self.path, drop_partial=True) if self.path.is_file() else []
        self.choices: dict[str, Choice] = {line["item"]: line["choice"] for line in lines}

    def add(self, item: RatingItem, choice: Choice) -> None:
        """Put down a choice. Anything but a, b and tie is a ValueError."""
        if choice not in CHOICES:
            raise ValueError(f"a choice is one of {', '.join(CHOICES)}, not {choice!r}")
        append_jsonl(self.path, {"item": item.item_id, "choice": choice})
        self.choices[item.item_id] = choice

    def outcome(self, item: RatingItem) -> Outcome | None:
        """What the choice means for R1-Reward, None where there is none."""
        choice = self.choices.get(item.item_id)
        if choice is None or choice == "tie":
            return choice
        return "win" if choice == item.ours else "loss"


def outcome_lines(items: Sequence[RatingItem], ratings: Ratings, *, rater: str) -> list[dict[str, str]]:
    """A rater's outcomes as lines {"item", "rater", "outcome"}; `items` are the rater's own."""
    found = ((item.item_id, ratings.outcome(item)) for item in items)
    return [{"item": name, "rater": rater, "outcome": outcome} for name, outcome in sorted(found) if outcome]
