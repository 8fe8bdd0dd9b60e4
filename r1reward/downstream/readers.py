"""What an answer to a benchmark question says, read as the benchmarks' own scorers read it.

Multiple choice and yes or no follow VLMEvalKit at commit e8e78f0 (`can_infer`, `YOrN_Extraction`),
MME-RealWorld its class there (`extract_characters_regex`), oddities included: a score is the official one
only with them. The style "mini" is another: its answers are whole sentences about one-word options. An
answer that names nothing, or that is a refusal, is "".
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from r1reward.downstream.questions import LETTERS, Style

# Where one of these stands, nothing else of the answer is looked at.
_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
_SERVER_FAILED = "Failed to obtain answer via API"
_SAID_IN_A_SENTENCE = re.compile(r"(?:correct\s+)?answer\s+is\s+\**([ABCD])\**", re.IGNORECASE)
# A letter before the last four words is part of a sentence.
_LAST_WORDS = 5
_MME_PREFIXES = (
    "The best answer is",
    "The correct answer is",
    "The answer is",
    "The answer",
    "The best option is",
    "The correct option is",
    "Best answer:",
    "Best option:",
)
_MME_WORDS = 10
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_THOUSANDS = re.compile(r"\d,\d")
_FULL_STOP = re.compile(r"(?<!\d)\.(?!\d)")


def read_yes_or_no(text: str) -> str:
    """ "Yes" or "No" if exactly one is a word of the answer; asterisks and colons are parts of words."""
    words = _without_punctuation(text.lower()).split()
    said = [word for word in ("yes", "no") if word in words]
    return said[0].capitalize() if len(said) == 1 else ""


def _without_punctuation(text: str) -> str:
    """A sign beside a space, or any in a text with "1,000", is left out; other signs become spaces."""
    plain = text
    for sign in _PUNCTUATION:
        beside_a_space = f"{sign} " in text or f" {sign}" in text
        plain = plain.replace(sign, "" if beside_a_space or _THOUSANDS.search(text) else " ")
    # The scorer hands its flags over as the number of full stops to leave out.
    return _FULL_STOP.sub("", plain, count=int(re.UNICODE))


def read_option(text: str, options: Mapping[str, str], *, style: Style = "vlmevalkit") -> str:
    """The letter that an answer names, else that of the only option it repeats."""
    if style == "mini":
        return _read_sentence(text, options)
    letter = _read_letter(text, options)
    return _read_repeated(text, options) if letter is None else letter


def _read_letter(text: str, options: Mapping[str, str]) -> str | None:
    """The letter that is named, "" for a refusal, None where neither is said."""
    if _SERVER_FAILED in text:
        return None
    if any(refusal in text for refusal in _REFUSALS):
        return ""
    words = _words(text)
    letters = [letter for letter in options if letter in words]
    if len(letters) == 1 and words.index(letters[0]) > len(words) - _LAST_WORDS:
        return letters[0]
    if not letters and "Z" in words:
        return ""
    said = _SAID_IN_A_SENTENCE.search(text)
    return said[1].upper() if said and said[1].upper() in options else None


def _words(text: str) -> list[str]:
    return re.sub(r"[.()\[\],:;!*#{}]", " ", text).split()


def _read_repeated(text: str, options: Mapping[str, str]) -> str:
    """The only option whose text stands in an answer that is not much longer than all options."""
    lower = text.lower()
    if len(lower) > 2 * sum(map(len, options.values())):
        return ""
    repeated = [letter for letter, option in options.items() if option.lower() in lower]
    return repeated[0] if len(repeated) == 1 else ""


def _read_sentence(text: str, options: Mapping[str, str]) -> str:
    """The only letter among the words of a sentence, else the only option all of whose words are there."""
    words = _words(text)
    letters = [letter for letter in options if letter in words]
    if len(letters) == 1:
        return letters[0]
    repeated = [letter for letter, option in options.items() if set(option.split()) <= set(text.split())]
    return repeated[0] if len(repeated) == 1 else ""


def read_first_letter(text: str, options: Mapping[str, str], *, style: Style = "vlmevalkit") -> str:
    """The first capital A to E of what stands between answer tags, or of the whole (MME-RealWorld).

    Without a capital a short answer names the first option whose "(A)" holds it, as "b" or "(c)" do, and
    so does an empty one. In style "mini" any first capital counts, or a repeated option.
    """
    if style == "mini":
        found = re.search(f"[{LETTERS}]", text)
        return found[0] if found else _read_sentence(text, options)
    tagged = _ANSWER.search(text)
    answer = tagged[1].strip().upper() if tagged else text
    answer = answer.strip()
    for prefix in _MME_PREFIXES:
        answer = answer.replace(prefix, "")
    found = re.search(f"[{LETTERS}]", answer)
    if found:
        return found[0]
    if len(answer.split()) > _MME_WORDS:
        return ""
    return next((letter for letter in LETTERS if answer.lower() in f"({letter.lower()})"), "")
