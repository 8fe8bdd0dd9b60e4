"""People compare the reasoning of two judges, blind (paper C.7, Table 9); which outputs are shown.

Raters see a pair and two reasonings about it in an order that says nothing, in a form in JupyterLab. A rater
that is a script exercises the path where no people are; its table says `scripted`.

Which outputs are shown (Figures 5 and 6) follows from a rule. The paper shows a "self-reflective thought
process". A text corrects itself if it says so, or if it gives one subject two different values. Shown are the
first outputs, by row, of the trained judge that correct themselves and are right; where there are too few,
the first that are right in both orders about pairs that the judge it started from got wrong in both, the
longest pair of responses first.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import ipywidgets as widgets
import numpy as np

from r1reward.files import append_jsonl, read_jsonl
from r1reward.judge.consistency_judges import ScriptedConsistencyJudge
from r1reward.judge.widget import CELL_STYLE, picture_html
from r1reward.parsing import corrects_itself, extract_reasoning, parse_verdict
from r1reward.pictures import encode_png, read_picture
from r1reward.texts import html_text
from r1reward.types import PreferencePair

Choice = Literal["a", "b", "tie"]
Outcome = Literal["win", "loss", "tie"]
CHOICES: tuple[Choice, ...] = ("a", "b", "tie")
# Share of a scripted rater's choices that are random.
SLIP = 0.2


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


PICTURE_PIXELS = 900
_LABELS: dict[Choice, str] = {"a": "A is better", "tie": "Tie", "b": "B is better"}


class RatingWidget(widgets.VBox):
    """Shows the first item without a choice; every choice is saved at once, and later goes on from there."""

    def __init__(self, items: Sequence[RatingItem], ratings: Ratings) -> None:
        self.items, self.ratings = list(items), ratings
        self.place = self._first_open()
        self.shown = widgets.HTML()
        self.progress = widgets.Label()
        self.buttons: dict[Choice, widgets.Button] = {}
        for choice, label in _LABELS.items():
            button = widgets.Button(description=label, button_style="primary" if choice != "tie" else "")
            button.on_click(partial(self._pressed, choice))
            self.buttons[choice] = button
        self.back = widgets.Button(description="Back", icon="arrow-left")
        self.back.on_click(lambda _: self._show(self.place - 1))
        row = widgets.HBox([*self.buttons.values(), self.back, self.progress])
        super().__init__([self.shown, row])
        self._show(self.place)

    def _pressed(self, choice: Choice, _: widgets.Button) -> None:
        self.choose(choice)

    def choose(self, choice: Choice) -> None:
        """Save the choice about the item that is shown and go on to the next one."""
        if self.place < len(self.items):
            self.ratings.add(self.items[self.place], choice)
            self._show(self.place + 1)

    def _first_open(self) -> int:
        rated = [item.item_id in self.ratings.choices for item in self.items]
        return rated.index(False) if False in rated else len(self.items)

    def _show(self, place: int) -> None:
        self.place = min(max(place, 0), len(self.items))
        done = sum(item.item_id in self.ratings.choices for item in self.items)
        self.progress.value = f"{done} of {len(self.items)} rated, saved in {self.ratings.path.name}"
        finished = self.place == len(self.items)
        self.shown.value = (
            "<p>All items are rated. Thank you.</p>" if finished else item_html(self.items[self.place])
        )
        for button in self.buttons.values():
            button.disabled = finished


def item_html(item: RatingItem) -> str:
    """What a rater sees of an item; nothing in it names a judge, and all text is escaped."""
    pictures = "".join(
        picture_html(path, pixels=PICTURE_PIXELS) for path in (*item.pair.images, *item.pair.frames)
    )
    responses = [
        f"<p><b>Response {number}</b>: {html_text(text)}</p>"
        for number, text in enumerate(item.pair.responses, start=1)
    ]
    reasonings = [
        f'<div style="{CELL_STYLE}"><b>{name}</b><br>{html_text(text)}</div>'
        for name, text in zip("AB", item.reasonings, strict=True)
    ]
    return (
        f'<div style="font-family:sans-serif;max-width:900px"><div>{pictures}</div>'
        f"<p><b>{html_text(item.pair.question)}</b></p>{''.join(responses)}"
        "<p>Whose reasoning about the two responses is more accurate, more coherent and clearer?</p>"
        f'<div style="display:grid;grid-template-columns:1fr 1fr;gap:8px">{"".join(reasonings)}</div></div>'
    )


def rate_by_script(
    items: Sequence[RatingItem],
    ratings: Ratings,
    ours: Mapping[int, str],
    baseline: Mapping[int, str],
    *,
    seed: int,
) -> None:
    """Rate what is not rated yet, where no people are; `ours` and `baseline` are as for `make_items`.

    Preferred is reasoning that ends at the better response, then reasoning that supports its own end. One
    choice in five is random, so that raters with different seeds do not always agree.
    """
    for number, item in enumerate(items):
        if item.item_id in ratings.choices:
            continue
        rng = np.random.default_rng([seed, number])
        if rng.random() < SLIP:
            ratings.add(item, CHOICES[rng.integers(len(CHOICES))])
            continue
        row = int(item.item_id.partition("-")[0])
        mine, theirs = _quality(item, ours[row]), _quality(item, baseline[row])
        other: Choice = "b" if item.ours == "a" else "a"
        ratings.add(item, "tie" if mine == theirs else item.ours if mine > theirs else other)


def _quality(item: RatingItem, text: str) -> tuple[bool, bool]:
    verdict = parse_verdict(text)
    (consistent,) = ScriptedConsistencyJudge().judge([extract_reasoning(text)], [verdict])
    return verdict.agrees_with(item.pair.preferred), bool(consistent)


THUMBNAIL_PIXELS = 400
CORRECTED = "corrects itself"
LEARNT = "right in both orders where its cold start was wrong in both"
Lines = dict[tuple[int, str], str]


def read_outputs(path: Path) -> Lines:
    """All texts that a benchmark run keeps, by row and order."""
    return {(line["row"], line["order"]): line["text"] for line in read_jsonl(path)}


def count_corrections(runs: Sequence[Lines]) -> dict[str, int]:
    """How many outputs of all seeds correct themselves."""
    texts = [text for run in runs for text in run.values()]
    return {"outputs": len(texts), "corrected": sum(map(corrects_itself, texts))}


def choose_examples(
    pairs: Sequence[PreferencePair], ours: Lines, before: Lines, *, count: int = 2
) -> list[dict[str, Any]]:
    """`count` outputs by the rule above, with their pictures, for the record."""
    rows = {int(pair.meta.get("row", index)): pair for index, pair in enumerate(pairs)}
    right = {row: _rights(ours, row, pair) for row, pair in rows.items()}
    wrong_before = {row: not any(_rights(before, row, pair)) for row, pair in rows.items()}
    corrected = [row for row in rows if right[row][0] and corrects_itself(ours[row, "given"])]
    learnt = [row for row in rows if all(right[row]) and wrong_before[row]]
    learnt.sort(key=lambda row: -sum(map(len, rows[row].responses)))
    chosen = [(row, CORRECTED) for row in corrected] + [(row, LEARNT) for row in learnt]
    return [_example(rows[row], ours[row, "given"], why) for row, why in chosen[:count]]


def _rights(lines: Mapping[tuple[int, str], str], row: int, pair: PreferencePair) -> tuple[bool, bool]:
    given, swapped = (parse_verdict(lines[row, order]) for order in ("given", "swapped"))
    return given.agrees_with(pair.preferred), swapped.swapped().agrees_with(pair.preferred)


def _example(pair: PreferencePair, text: str, why: str) -> dict[str, Any]:
    picture = read_picture((pair.images or pair.frames)[0])
    picture.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    return {
        "question": pair.question,
        "responses": list(pair.responses),
        "preferred": pair.preferred,
        "text": text,
        "chosen": why,
        "picture": base64.b64encode(encode_png(picture)).decode(),
    }
