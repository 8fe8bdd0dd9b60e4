"""Judge prompts, kept as text files and filled by literal replacement.

`judge_paper.txt` is the paper's Table 1 with the white space of the authors' release, double spaces at
line ends included: the token sequence the released checkpoint was trained on. `judge_mini.txt` asks
for the same tags in at most 40 tokens. `score_*.txt` shows one response to the reward models of Table 5;
the paper prints no such prompt. The newline that ends a file is not part of the prompt.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import Literal, get_args

from r1reward.types import PreferencePair

PromptName = Literal["mini", "paper"]
_FIELD = re.compile(r"\{(question|response_1|response_2|response)\}")


@cache
def judge_template(name: PromptName) -> str:
    """The prompt with its fields `{question}`, `{response_1}` and `{response_2}` still open.

    Raises ValueError for a name that is not a prompt.
    """
    return _template("judge", name)


@cache
def score_template(name: PromptName) -> str:
    """The prompt about one response with its fields `{question}` and `{response}` still open.

    Raises ValueError for a name that is not a prompt.
    """
    return _template("score", name)


def _template(kind: str, name: PromptName) -> str:
    if name not in get_args(PromptName):
        raise ValueError(f"no {kind} prompt is called {name!r}; there are {', '.join(get_args(PromptName))}")
    text = files("r1reward.prompts").joinpath(f"{kind}_{name}.txt").read_text(encoding="utf-8")
    return text.removesuffix("\n")


def judge_prompt(pair: PreferencePair, *, name: PromptName = "mini") -> str:
    """The prompt that asks which response of the pair is better.

    Fields are filled in one pass, so braces and field names inside a question or response stay as
    they are. Raises ValueError for an unknown name.
    """
    first, second = pair.responses
    values = {"question": pair.question, "response_1": first, "response_2": second}
    return _FIELD.sub(lambda match: values[match.group(1)], judge_template(name))


def score_prompt(question: str, response: str, *, name: PromptName = "mini") -> str:
    """The prompt that shows one response to be evaluated; filled like `judge_prompt`."""
    values = {"question": question, "response": response}
    return _FIELD.sub(lambda match: values[match.group(1)], score_template(name))


def prompt_hash(name: PromptName) -> str:
    """SHA-256 of the open prompt in UTF-8, for manifests."""
    return hashlib.sha256(judge_template(name).encode()).hexdigest()
