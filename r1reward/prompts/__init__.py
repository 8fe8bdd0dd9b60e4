"""Judge prompts, kept as text files and filled by literal replacement.

`judge_paper.txt` is the paper's Table 1 with the white space of the authors' release, double spaces at
line ends included. The authors' training data has the text before the picture, their inference the
picture first; here it always comes first. `judge_mini.txt` asks
for the same tags in at most 40 tokens; `judge_reworded.txt` says it in other words (paper C.8).
`consistency_released.txt` has the words of the authors' consistency judge (the paper prints none; its
line breaks are not known for certain), `consistency_mini.txt` asks the same in few tokens.
`score_*.txt` shows one response to the reward models of Table 5. The newline
that ends a file is not part of the prompt.

`*_fenced.txt` are the remedy for responses that speak to the judge: each stands between two marks that no
text of the pair contains (`fence`), so that a response cannot end itself.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import count
from typing import Literal, get_args

from r1reward.types import Comparison, PreferencePair, Verdict

PlainPromptName = Literal["mini", "paper", "reworded"]
PromptName = Literal[PlainPromptName, "mini_fenced", "paper_fenced"]
ConsistencyPromptName = Literal["mini", "released"]
# What the released judge is shown as the model's answer.
ANSWERS = {
    Verdict.FIRST: "response 1 is better",
    Verdict.SECOND: "response 2 is better",
    Verdict.UNPARSED: "two response are the same",
}
_FIELD = re.compile(r"\{(question|response_1|response_2|response|fence)\}")
_MARK = re.compile(r"\[#([0-9]+)\]")
_FENCED = "_fenced"


def judge_template(name: PromptName) -> str:
    """The prompt with its fields `{question}`, `{response_1}` and `{response_2}` still open.

    Raises ValueError for a name that is not a prompt.
    """
    return _template("judge", name)


def score_template(name: PromptName) -> str:
    """The prompt about one response with its fields `{question}` and `{response}` still open.

    Raises ValueError for a name that is not a prompt.
    """
    return _template("score", name)


def _template(kind: str, name: PromptName) -> str:
    if name not in get_args(PromptName):
        raise ValueError(f"no {kind} prompt is called {name!r}; there are {', '.join(get_args(PromptName))}")
    return _read(f"{kind}_{name}.txt")


@cache
def _read(file: str) -> str:
    return files("r1reward.prompts").joinpath(file).read_text(encoding="utf-8").removesuffix("\n")


def judge_prompt(pair: Comparison | PreferencePair, *, name: PromptName = "mini") -> str:
    """The prompt that asks which response of the pair is better.

    Fields are filled in one pass, so braces and field names inside a question or response stay as
    they are. Raises ValueError for an unknown name.
    """
    first, second = pair.responses
    values = {"question": pair.question, "response_1": first, "response_2": second}
    return _fill(judge_template(name), values)


def score_prompt(question: str, response: str, *, name: PromptName = "mini") -> str:
    """The prompt that shows one response to be evaluated; filled like `judge_prompt`."""
    return _fill(score_template(name), {"question": question, "response": response})


def _fill(template: str, values: Mapping[str, str]) -> str:
    if "{fence}" in template:
        values = {**values, "fence": fence(values.values())}
    return _FIELD.sub(lambda match: values[match.group(1)], template)


def fence(texts: Iterable[str]) -> str:
    """The mark around the responses of a fenced prompt: `[#0]`, or the first such number that no text has.

    As a code fence of Markdown, it gives way to what it encloses and changes none of it. White space,
    invisible characters and compatibility forms of Unicode do not make another mark.
    """
    taken = {number.lstrip("0") or "0" for text in texts for number in _MARK.findall(_visible(text))}
    return next(f"[#{number}]" for number in count() if str(number) not in taken)


def _visible(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text)
    return "".join(letter for letter in plain if letter.isprintable() and not letter.isspace())


def fenced_name(name: PromptName) -> PromptName:
    """The prompt that asks the same with fenced responses. Raises ValueError where there is none."""
    wanted = name if name.endswith(_FENCED) else f"{name}{_FENCED}"
    for known in get_args(PromptName):
        if known == wanted:
            return known
    raise ValueError(f"the prompt {name!r} has no fenced form")


def consistency_prompt(reasoning: str, verdict: Verdict, *, name: ConsistencyPromptName = "mini") -> str:
    """The prompt that asks whether a reasoning supports its verdict.

    Only the last three lines of the reasoning are shown, joined by ";", as in the release.
    """
    response = ";".join(reasoning.strip().split("\n")[-3:])
    before, _, rest = _read(f"consistency_{name}.txt").partition("{response}")
    between, _, after = rest.partition("{answer}")
    return f"{before}{response}{between}{ANSWERS[verdict]}{after}"


def parse_judge_prompt(text: str, *, name: PlainPromptName = "paper") -> tuple[str, str, str] | None:
    """(question, response 1, response 2) of a filled prompt, without the white space around them.

    None unless the prompt's own text stands around each field, once and in order; how many spaces and
    line breaks it has there does not matter.
    """
    marks = [part.strip().splitlines()[-1 if index == 0 else 0] for index, part in enumerate(_around(name))]
    places = [text.find(mark) for mark in marks]
    if min(places) < 0 or places != sorted(places) or any(text.count(mark) != 1 for mark in marks):
        return None
    starts = [place + len(mark) for place, mark in zip(places, marks, strict=True)]
    question, first, second = (text[starts[i] : places[i + 1]].strip() for i in range(3))
    return question, first, second


def _around(name: PlainPromptName) -> list[str]:
    """The prompt's text before the question, between the fields and after the second response."""
    return _FIELD.split(judge_template(name))[::2]


def with_history(turns: Sequence[tuple[str, str]], question: str) -> str:
    """A question with the (role, text) turns that came before it in the same conversation."""
    if not turns:
        return question
    return "\n".join(f"{role}: {text}" for role, text in (*turns, ("user", question)))


def prompt_hash(name: PromptName) -> str:
    """SHA-256 of the open prompt in UTF-8, for manifests."""
    return hashlib.sha256(judge_template(name).encode()).hexdigest()
