"""What a judge's text says: its verdict, its reasoning, and whether it keeps the demanded format.

No function here raises on any string: text that cannot be used is `Verdict.UNPARSED`, which is
counted and reported. Digits outside the tags are never taken for an answer.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from r1reward.types import Verdict

TAGS = ("<think>", "</think>", "<answer>", "</answer>")
_STRICT = re.compile(r"<think>.*</think><answer>[12]</answer>", re.DOTALL)
_SAID = re.compile(
    r"\b(wait|actually|hold on|let me (re)?check|on second thought|i was wrong|correction)\b|, no ,", re.I
)
_LINE = re.compile(r"(\w[\w ]*?) (\w+) : 1 ")
_VERDICTS = {"1": Verdict.FIRST, "2": Verdict.SECOND}


def parse_verdict(text: str) -> Verdict:
    """The answer given after the reasoning: FIRST, SECOND or UNPARSED.

    Looks behind the last `</think>`, or at the whole text where there is none. Every closed
    `<answer>` block there must hold 1 or 2 (spaces around it are allowed) and all must agree;
    anything else, "2.0" and "1/2" among it, is UNPARSED.
    """
    conclusion = text.rpartition("</think>")[2]
    blocks = conclusion.split("</answer>")[:-1]
    answers = {block.rpartition("<answer>")[2].strip() for block in blocks if "<answer>" in block}
    if len(answers) != 1:
        return Verdict.UNPARSED
    return _VERDICTS.get(answers.pop(), Verdict.UNPARSED)


def find_answer_token(tokens: Sequence[str]) -> int | None:
    """Index of the token with the digit of the last closed `<answer>` behind the reasoning; None without."""
    text = "".join(tokens)
    closing = text.rfind("</answer>")
    opening = text.rfind("<answer>", max(text.rfind("</think>"), 0), max(closing, 0))
    if opening < 0 or not (digit := re.search(r"[12]", text[opening:closing])):
        return None
    return bisect_right(list(accumulate(map(len, tokens))), opening + digit.start())


def extract_reasoning(text: str) -> str:
    """The text inside the first `<think>` block, stripped.

    A block that is never closed ends at `<answer>` or with the text; without `<think>` it starts with
    the text.
    """
    before, opening, after = text.partition("<think>")
    body, closing, _ = (after if opening else before).partition("</think>")
    if not closing:
        body = body.partition("<answer>")[0]
    return body.strip()


def follows_format(text: str) -> bool:
    """The formatting reward (paper §3.2): exactly `<think>…</think><answer>1</answer>`, or 2.

    Each tag occurs once and nothing stands between the blocks or inside the answer but the digit;
    only white space around the whole text is forgiven. The paper asks for no minimum of reasoning, so
    an empty think block passes.
    """
    stripped = text.strip()
    return all(stripped.count(tag) == 1 for tag in TAGS) and _STRICT.fullmatch(stripped) is not None


def corrects_itself(text: str) -> bool:
    """Whether a reasoning takes something back: it says so, or gives one subject two different values."""
    reasoning = extract_reasoning(text)
    if _SAID.search(reasoning):
        return True
    values: dict[str, set[str]] = {}
    for subject, value in _LINE.findall(reasoning):
        values.setdefault(subject.strip(), set()).add(value)
    return any(len(found) > 1 for found in values.values())
