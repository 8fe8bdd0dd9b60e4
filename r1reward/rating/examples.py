"""Which outputs of a judge are shown (paper Figures 5 and 6), by a rule that is written here.

The paper shows a "self-reflective thought process". A text corrects itself if it says so, or if it gives
one subject two different values. Shown are the first outputs, by row, of the trained judge that correct
themselves and are right; where there are too few, the first that are right in both orders about pairs
that the judge it started from got wrong in both, the longest pair of responses first.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from r1reward.files import read_jsonl
from r1reward.parsing import extract_reasoning, parse_verdict
from r1reward.pictures import encode_png, read_picture
from r1reward.types import PreferencePair

_SAID = re.compile(
    r"\b(wait|actually|hold on|let me (re)?check|on second thought|i was wrong|correction)\b", re.I
)
_LINE = re.compile(r"(\w[\w ]*?) (\w+) : 1 ")
THUMBNAIL_PIXELS = 400
CORRECTED = "corrects itself"
LEARNT = "right in both orders where its cold start was wrong in both"
Lines = dict[tuple[int, str], str]


def corrects_itself(text: str) -> bool:
    """Whether a reasoning takes something back."""
    reasoning = extract_reasoning(text)
    if _SAID.search(reasoning):
        return True
    values: dict[str, set[str]] = {}
    for subject, value in _LINE.findall(reasoning):
        values.setdefault(subject.strip(), set()).add(value)
    return any(len(found) > 1 for found in values.values())


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
