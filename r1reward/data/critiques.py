"""Critiques of single responses, taken from an annotator's reasoning about the pair.

MM-RLHF-Reward needs "an evaluation for each response" (paper §4.2). The paper asks GPT-4o for them anew;
the annotations here already hold them, side by side. A critique is what the reasoning says about one
response, without the comparison: whoever reads it sees one response and cannot know the verdict.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from r1reward.parsing import extract_reasoning

_SENTENCE_END = re.compile(r"(?<=[.!?])[*\"')]*\s+|\n+")
_NAME = re.compile(r"\b(r)esponse\s*#?\s*([12])\b", re.IGNORECASE)
_COMPARISON = re.compile(
    r"\b(better|best|worse|worst|prefer\w*|superior|inferior|more|less|fewer|than|compar\w+|both|while|whereas"
    r"|neither|either|unlike|on the other hand)\b",
    re.IGNORECASE,
)
# A row of the mini world: "circle red : 1 red right , 2 blue wrong ."
_ROW = re.compile(r"([^:]+ :) 1 ([^,]+) , 2 ([^,]+) \.")


@dataclass(frozen=True, slots=True)
class Critiques:
    """A critique of each response; `split` is false if both are the whole reasoning."""

    texts: tuple[str, str]
    split: bool


def split_critiques(completion: str) -> Critiques:
    """Critiques of Response 1 and Response 2 from `<think>…</think><answer>k</answer>`.

    A sentence is about the response it names, and so are those after it up to the next name; sentences
    before the first name describe the picture and go to both. Comparisons, and sentences that name both
    responses, go to neither, for they would tell the label. "Response 1" becomes "the response". If
    nothing is left about one of the two, both get the whole reasoning, which favours neither.
    """
    reasoning = extract_reasoning(completion)
    about: tuple[list[str], list[str]] = ([], [])
    own = [False, False]
    owners = {1, 2}
    for sentence in filter(None, _SENTENCE_END.split(reasoning)):
        if row := _ROW.fullmatch(sentence):
            about[0].append(f"{row[1]} {row[2]} .")
            about[1].append(f"{row[1]} {row[3]} .")
            own, owners = [True, True], {1, 2}
            continue
        named = {int(match[2]) for match in _NAME.finditer(sentence)}
        if named:
            owners = named if len(named) == 1 else set()
        if _COMPARISON.search(sentence):
            continue
        for position in owners:
            about[position - 1].append(_NAME.sub(_anonymous, sentence).strip())
            own[position - 1] |= len(owners) == 1
    if not all(own):
        return Critiques((reasoning, reasoning), split=False)
    return Critiques((" ".join(about[0]), " ".join(about[1])), split=True)


def _anonymous(name: re.Match[str]) -> str:
    return "The response" if name[1].isupper() else "the response"
