"""The downstream benchmarks of Table 11: VLMEvalKit's files, and each benchmark's rule for a right answer.

At full size VLMEvalKit runs them (`downstream.vlmevalkit`). The same files are read here, so that a machine
without the harness gets the same columns for all but the open questions, which a judge must score.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from r1reward.data.sources.base import RefusedRow
from r1reward.data.sources.pictures import Pictures
from r1reward.downstream.questions import LETTERS, Question, Style, with_options

# What stands for the picture of another row is its index, which is shorter than any picture.
SHORTEST_PICTURE = 64
ROTATIONS = 1_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a benchmark: the question, its options by letter, and all fields but the picture."""

    question: Question
    options: Mapping[str, str]
    fields: Mapping[str, str]


# Scores the answers to open questions of a benchmark, given by name; the scale is the benchmark's.
OpenJudge = Callable[[str, Sequence[Row], Sequence[str]], list[float]]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A file `<name>.tsv` and how its answers are scored.

    `points` is what an answer is worth, in 0..1. `units` names, for each column of Table 11 that a row
    counts in, the unit it belongs to: a unit is worth what its worst row is worth, a column the mean of
    its units. Benchmarks with `open` questions need a judge in place of `points`.
    """

    name: str
    units: Callable[[Mapping[str, str]], dict[str, str]]
    points: Callable[[Row, str], float] | None

    @property
    def open(self) -> bool:
        """Whether a judge must score the answers."""
        return self.points is None


def read_rows(path: Path, *, style: Style, cache: Path) -> Iterator[Row]:
    """The rows of a benchmark in VLMEvalKit's form: tab-separated, pictures in base64.

    A row may give the index of another row in place of its picture. Raises ValueError for a faulty row,
    with file and row.
    """
    csv.field_size_limit(sys.maxsize)
    pictures: dict[str, str] = {}
    with path.open(encoding="utf-8", newline="") as stream, Pictures(path.parent, cache=cache) as store:
        for number, fields in enumerate(csv.DictReader(stream, delimiter="\t"), start=1):
            origin = f"{path}, row {number}"
            missing = [name for name in ("index", "image", "question") if not fields.get(name)]
            if missing:
                raise RefusedRow(origin, f"field '{missing[0]}' is missing")
            image = fields.pop("image")
            if len(image) >= SHORTEST_PICTURE:
                pictures[fields["index"]] = store.picture(f"data:;base64,{image}", origin)
            found = pictures.get(fields["index"]) or pictures.get(image)
            if found is None:
                raise RefusedRow(origin, "no picture", f"image {image!r} is no row before this one")
            options = {letter: fields[letter] for letter in LETTERS if fields.get(letter)}
            text = with_options(fields["question"], options, style=style) if options else fields["question"]
            question = Question(text, (found,), fields.get("answer", ""), path.stem, origin)
            yield Row(question, options, {name: value or "" for name, value in fields.items() if name})


def read_yes_or_no(text: str) -> str:
    """ "Yes" or "No" if exactly one of them is said, else "" (VLMEvalKit's `YOrN_Extraction`)."""
    words = set(re.findall(r"\w+", text.lower()))
    said = [word for word in ("yes", "no") if word in words]
    return said[0].capitalize() if len(said) == 1 else ""


def read_option(text: str, options: Mapping[str, str]) -> str:
    """The letter that an answer names, else that of the only option it repeats, else "".

    As VLMEvalKit's `can_infer`, without its two guards: there a letter counts among the last five words
    only, and an answer much longer than the options never; whole sentences about one-word options
    would all be refused.
    """
    words = set(re.findall(r"\w+", text))
    letters = [letter for letter in options if letter in words]
    if len(letters) == 1:
        return letters[0]
    said = {word.lower() for word in words}
    repeated = [key for key, option in options.items() if set(option.lower().split()) <= said]
    return repeated[0] if len(repeated) == 1 else ""


def read_first_letter(text: str, options: Mapping[str, str]) -> str:
    """The first capital letter A to E, as in MME-RealWorld's own script, else the option that is repeated."""
    found = re.search(f"[{LETTERS}]", text)
    return found[0] if found else read_option(text, options)


def _yes_or_no(row: Row, answer: str) -> float:
    return float(read_yes_or_no(answer) == row.fields["answer"])


def _option(row: Row, answer: str) -> float:
    return float(read_option(answer, row.options) == row.fields["answer"])


def _first_letter(row: Row, answer: str) -> float:
    return float(read_first_letter(answer, row.options) == row.fields["answer"])


def _hallusion_units(fields: Mapping[str, str]) -> dict[str, str]:
    """The index ends with set, figure and question."""
    parts = fields["index"].split("_")
    if len(parts) < 6:
        raise ValueError(f"index {fields['index']!r} of HallusionBench does not name set, figure, question")
    group = f"{fields['l2-category']} {parts[3]}"
    return {
        "hallucination_bench_aacc": fields["index"],
        "hallucination_bench_facc": f"{group} {parts[4]}",
        "hallucination_bench_qacc": f"{group} {parts[5]}",
    }


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


BENCHMARKS = {
    one.name: one
    for one in (
        Benchmark("HallusionBench", _hallusion_units, _yes_or_no),
        Benchmark("MMBench_DEV_EN_V11", _rotated, _option),
        Benchmark("MME-RealWorld-Lite", _real_world, _first_letter),
        Benchmark("MMStar", _each("mmstar"), _option),
        Benchmark("VStarBench", _each("v_star"), _option),
        Benchmark("LLaVABench", _each("llava_wild"), None),
        Benchmark("WildVision", _each("wildvision"), None),
    )
}
