"""The downstream benchmarks of Table 11: VLMEvalKit's files, and each benchmark's rule for a right answer.

At full size VLMEvalKit runs them (`downstream.vlmevalkit`). The same files are read here, so that a machine
without the harness gets the same columns for all but the open questions, which a judge must score.

Answers are read as the benchmarks' own scorers read them. Multiple choice and yes or no follow VLMEvalKit at
commit e8e78f0 (`can_infer`, `YOrN_Extraction`), MME-RealWorld its class there (`extract_characters_regex`),
oddities included: a score is the official one only with them. The style "mini" is another: its answers are
whole sentences about one-word options. An answer that names nothing, or that is a refusal, is "".
"""

from __future__ import annotations

import ast
import csv
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from r1reward.data.rows import Sifted, sift
from r1reward.data.sources.pictures import Pictures
from r1reward.downstream.questions import LETTERS, Question, Style, with_options
from r1reward.files import RefusedRow
from r1reward.files import Row as FileRow
from r1reward.texts import is_unicode

# What stands for the picture of another row is its index, which is shorter than any picture.
SHORTEST_PICTURE = 64
ROTATIONS = 1_000_000
# The field of MME-RealWorld-Lite that holds all options.
LISTED = "multi-choice options"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a benchmark: the question, its options by letter, and all fields but the picture.

    `style` is how options were written out, and with it how strictly an answer is read.
    """

    question: Question
    options: Mapping[str, str]
    fields: Mapping[str, str]
    style: Style


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A file `<name>.tsv` and how its answers are scored.

    `points` is what an answer is worth, in 0..1. `units` names, for each column of Table 11 that a row
    counts in, the unit it belongs to: a unit is worth what its worst row is worth, a column the mean of
    its units. `group` names rows that depend on each other, for intervals. Benchmarks with `open`
    questions need a judge in place of `points`.
    """

    name: str
    units: Callable[[Mapping[str, str]], dict[str, str]]
    points: Callable[[Row, str], float] | None
    group: Callable[[Mapping[str, str]], dict[str, str]] = lambda fields: {}

    @property
    def open(self) -> bool:
        """Whether a judge must score the answers."""
        return self.points is None


def read_rows(path: Path, *, style: Style, cache: Path) -> Sifted[Row]:
    """The rows of a benchmark in VLMEvalKit's form: tab-separated, pictures in base64.

    A row may give the index of another row in place of its picture. Faulty rows are left out, see `sift`; so
    is one that names no unit of its benchmark, by which the file is called.
    """
    units = BENCHMARKS[path.stem].units
    pictures: dict[str, str] = {}
    with Pictures(path.parent, cache=cache) as store:

        def parse(_: int, fields: dict[str, Any], origin: str) -> Row:
            picture = _picture(fields, pictures, store, origin)
            row = _row(fields, picture, path.stem, style=style, origin=origin)
            try:
                units(row.fields)
            except KeyError as error:
                raise RefusedRow(origin, f"field {error} is missing") from error
            return row

        return sift(_scan(path), parse)


def _scan(path: Path) -> Iterator[FileRow]:
    """The rows of a file by the names of its columns; one with bytes that are not UTF-8 is refused."""
    csv.field_size_limit(sys.maxsize)
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        for number, fields in enumerate(csv.DictReader(stream, delimiter="\t"), start=1):
            origin = f"{path}, row {number}"
            values = {name: value or "" for name, value in fields.items() if name}
            if all(map(is_unicode, values.values())):
                yield origin, values
            else:
                yield origin, RefusedRow(origin, "not UTF-8")


def _picture(fields: Mapping[str, str], known: dict[str, str], store: Pictures, origin: str) -> str:
    """Path of a row's picture, which later rows may name by the row's index."""
    missing = [name for name in ("index", "image", "question") if not fields.get(name)]
    if missing:
        raise RefusedRow(origin, f"field '{missing[0]}' is missing")
    image = fields["image"]
    if len(image) >= SHORTEST_PICTURE:
        known[fields["index"]] = store.picture(f"data:;base64,{image}", origin)
    found = known.get(fields["index"]) or known.get(image)
    if found is None:
        raise RefusedRow(origin, "no picture", f"image {image!r} is no row before this one")
    return found


def _row(fields: Mapping[str, str], picture: str, name: str, *, style: Style, origin: str) -> Row:
    values = {key: value for key, value in fields.items() if key != "image"}
    options = _options(values)
    if options and not values.get("answer"):
        raise RefusedRow(origin, "field 'answer' is missing")
    question = Question(_text(values, options, style), (picture,), values.get("answer", ""), name, origin)
    return Row(question, options, values, style)


def _options(fields: Mapping[str, str]) -> dict[str, str]:
    """The options by letter: a column each, or one list of "(A) text" in the file of MME-RealWorld-Lite."""
    listed = fields.get(LISTED)
    if not listed:
        return {letter: fields[letter] for letter in LETTERS if fields.get(letter)}
    try:
        found = [
            re.fullmatch(r"\(([A-E])\) ?(.*)", one, re.DOTALL) for one in ast.literal_eval(listed.strip())
        ]
        return {one[1]: one[2] for one in found}  # type: ignore[index]
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"{LISTED} {listed!r:.80} are no list of '(A) …'") from error


def _text(fields: Mapping[str, str], options: Mapping[str, str], style: Style) -> str:
    if not options:
        return fields["question"]
    if style == "vlmevalkit" and fields.get(LISTED):
        return with_options(fields["question"], options, style="mme_realworld")
    hint = f"Hint: {fields['hint']}\n" if fields.get("hint") else ""
    return hint + with_options(fields["question"], options, style=style)


def _hallusion_units(fields: Mapping[str, str]) -> dict[str, str]:
    name, figure, question = _hallusion_place(fields)
    return {
        "hallucination_bench_aacc": fields["index"],
        "hallucination_bench_facc": f"{name} {figure}",
        "hallucination_bench_qacc": f"{name} {question}",
    }


def _hallusion_place(fields: Mapping[str, str]) -> tuple[str, str, str]:
    """Set, figure and question of a row, with which its index ends."""
    parts = fields["index"].split("_")
    if len(parts) < 6:
        raise ValueError(f"index {fields['index']!r} of HallusionBench does not name set, figure, question")
    return f"{fields['l2-category']} {parts[3]}", parts[4], parts[5]


def _rotated(fields: Mapping[str, str]) -> dict[str, str]:
    return {"mmbench_v1_1": str(int(fields["index"]) % ROTATIONS)}


def _real_world(fields: Mapping[str, str]) -> dict[str, str]:
    """Categories are like "Perception/OCR"."""
    part = fields["category"].partition("/")[0].lower()
    if part not in ("perception", "reasoning"):
        raise ValueError(f"category {fields['category']!r} of MME-RealWorld-Lite is neither part")
    return {f"mme_realworld_lite_{part}": fields["index"]}


def _each(column: str) -> Callable[[Mapping[str, str]], dict[str, str]]:
    return lambda fields: {column: fields["index"]}


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


def _yes_or_no(row: Row, answer: str) -> float:
    return float(read_yes_or_no(answer) == row.fields["answer"])


def _option(row: Row, answer: str, *, read: Callable[..., str] = read_option) -> float:
    return float(read(answer, row.options, style=row.style) == row.fields["answer"])


BENCHMARKS = {
    one.name: one
    for one in (
        Benchmark(
            "HallusionBench",
            _hallusion_units,
            _yes_or_no,
            lambda fields: {"group": f"set {_hallusion_place(fields)[0]}"},
        ),
        Benchmark("MMBench_DEV_EN_V11", _rotated, _option),
        Benchmark("MME-RealWorld-Lite", _real_world, partial(_option, read=read_first_letter)),
        Benchmark("MMStar", _each("mmstar"), _option),
        Benchmark("VStarBench", _each("v_star"), _option),
        Benchmark("LLaVABench", _each("llava_wild"), None),
        Benchmark("WildVision", _each("wildvision"), None),
    )
}
