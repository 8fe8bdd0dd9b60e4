"""Questions about pictures that a policy answers, and the sets of prompts it learns from (paper C.9).

The sets are V*, arXivQA and ThinkLite-VL in their original schemas. No reward sees a reference answer;
`downstream.right_answers` may choose prompts by them. The paper does not say which files its 50,000 prompts
came from. The closest public match is DeepEyes-Datasets-47k, whose rows have one form for all three sets; it
is read too. None of the real files could be opened to check these schemas, which are from data cards and from
code that reads them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from r1reward.data.catalogue import PROMPT_SETS
from r1reward.data.rows import (
    Quarantine,
    find_files,
    mapping,
    parse_each,
    records,
    scan_json_list,
    scan_parquet,
    text_field,
)
from r1reward.data.sources.base import SourceSpec, strip_image_tag
from r1reward.data.sources.pictures import Pictures
from r1reward.data.storage import near_origin, write_rows
from r1reward.files import RefusedRow, Row, iterate_jsonl, scan_jsonl
from r1reward.prompts import PromptName
from r1reward.types import Request

LETTERS = "ABCDE"
Style = Literal["mini", "vlmevalkit"]
Layout = Literal[Style, "mme_realworld"]
# How a multiple-choice question is written out, for the tiny model and as two classes of VLMEvalKit do, white
# space included: the whole, an option, what stands between options.
_LAYOUTS: dict[Layout, tuple[str, str, str]] = {
    "mini": ("{question} {options} .", "{letter} : {text}", " , "),
    "vlmevalkit": (
        "Question: {question}\nOptions:\n{options}\n"
        "Please select the correct answer from the options above. \n",
        "{letter}. {text}",
        "\n",
    ),
    "mme_realworld": (
        "{question} The choices are listed below:\n{options}\nSelect the best answer to the above "
        "multiple-choice question based on the image. Respond with only the letter (A, B, C, D, or E) of the "
        "correct option. \nThe best answer is:",
        "({letter}) {text}",
        "\n",
    ),
}


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its pictures (paths); `answer` is the reference's, "" where there is none.

    `source` is the data set, `label` names file and row for messages.
    """

    text: str
    images: tuple[str, ...]
    answer: str = ""
    source: str = ""
    label: str = ""

    @property
    def completion(self) -> str:
        """What supervised training teaches: the reference answer."""
        return self.answer

    def is_reference(self, text: str) -> bool:
        """Whether a text is the reference's answer, word for word."""
        return text.strip() == self.answer.strip() != ""

    def request(self, prompt: PromptName | None = None) -> Request:
        """The question as it is; no prompt is laid around it."""
        return Request(self.text, self.images, origin=self.label)


def with_options(question: str, options: Mapping[str, str], *, style: Layout) -> str:
    """A multiple-choice question in one text; `options` are the texts by letter."""
    whole, option, separator = _LAYOUTS[style]
    listed = [option.format(letter=letter, text=text) for letter, text in options.items()]
    return whole.format(question=question, options=separator.join(listed))


def write_questions(path: Path, questions: Iterable[Question]) -> Path:
    """Write questions as JSON lines, atomically; picture paths and labels are relative to the file."""
    write_rows(
        path,
        (
            {
                "text": one.text,
                "images": [os.path.relpath(image, path.parent) for image in one.images],
                "answer": one.answer,
                "source": one.source,
                "label": near_origin(one.label, path.parent),
            }
            for one in questions
        ),
    )
    return path


def read_questions(path: str | Path) -> list[Question]:
    """All questions written by `write_questions`; a fault names file and row (ValueError)."""
    path, questions = Path(path), []
    for number, row in enumerate(iterate_jsonl(path), start=1):
        try:
            images = tuple(os.path.normpath(path.parent / image) for image in row["images"])
            questions.append(Question(row["text"], images, row["answer"], row["source"], row["label"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path}, row {number}: not a question: {error}") from error
    return questions


# Question, picture (bytes, data URI or name) and reference answer of a row.
Parsed = tuple[str, Any, str]


@dataclass(frozen=True, slots=True)
class PromptSet:
    """A set of prompts as published: what it is, how its files are read and what a row means."""

    spec: SourceSpec
    scan: Callable[[Path], Iterator[Row]]
    parse: Callable[[Mapping[str, Any], str, Style], Parsed]


def read_prompts(
    root: Path, *, style: Style, cache: Path, quarantine: Quarantine | None = None
) -> list[Question]:
    """The prompts of all sets that have a folder below `root`; none at all is a FileNotFoundError.

    A faulty row is left out and noted in `quarantine` with file, row and reason. Pictures that are inside
    rows are written to `cache`.
    """
    there = [one for one in _PROMPT_SETS if (root / one.spec.name).is_dir()]
    if not there:
        raise FileNotFoundError(f"{root}: no folder of prompts; known: {', '.join(PROMPT_SETS)}")
    notes = Quarantine() if quarantine is None else quarantine
    return [found for one in there for found in _read_set(one, root / one.spec.name, style, cache, notes)]


def _read_set(
    one: PromptSet, folder: Path, style: Style, cache: Path, notes: Quarantine
) -> Iterator[Question]:
    name = one.spec.name
    rows = (row for path in find_files(folder, *one.spec.rows) for row in one.scan(path))

    def parse(_: int, row: Mapping[str, Any], origin: str) -> Question:
        text, picture, answer = one.parse(row, origin, style)
        if not text:
            raise RefusedRow(origin, "empty question")
        return Question(text, (pictures.picture(picture, origin),), answer, name, origin)

    with Pictures(folder, cache=cache / name, subfolders=("images",)) as pictures:
        yield from parse_each(rows, parse, lambda fault: notes.refuse(name, fault))


def _parse_v_star(row: Mapping[str, Any], origin: str, style: Style) -> Parsed:
    """A LLaVA conversation; its first exchange is taken."""
    turns = records(row, "conversations", origin)
    if len(turns) < 2:
        raise RefusedRow(origin, "field 'conversations' has no exchange")
    question, answer = (text_field(turn, "value", origin) for turn in turns[:2])
    return strip_image_tag(question), text_field(row, "image", origin), answer


def _parse_arxivqa(row: Mapping[str, Any], origin: str, style: Style) -> Parsed:
    """Options as a list of texts, often with their letters; labels are "A", "A)", or an option's text."""
    listed = row.get("options")
    if not isinstance(listed, list) or not 2 <= len(listed) <= len(LETTERS):
        raise RefusedRow(origin, "field 'options' is not a list of two to five texts")
    texts = [re.sub(r"^\s*\(?[A-E][).:]\s*", "", str(text)) for text in listed]
    options = dict(zip(LETTERS, texts, strict=False))
    label = text_field(row, "label", origin).strip()
    letter = re.match(r"\(?([A-E])\b", label)
    answers = [letter[1]] if letter else [key for key, text in options.items() if text == label]
    if len(answers) != 1 or answers[0] not in options:
        raise RefusedRow(origin, "field 'label' names no option", f"label is {label!r:.80}")
    question = with_options(text_field(row, "question", origin), options, style=style)
    return question, text_field(row, "image", origin), answers[0]


def _parse_thinklite(row: Mapping[str, Any], origin: str, style: Style) -> Parsed:
    """The picture is inside the row; the problem has "<image>" in it and its own options, if any."""
    image = row.get("image")
    picture = image.get("bytes") if isinstance(image, dict) else image
    if isinstance(picture, str) and not picture.startswith("data:"):
        picture = f"data:;base64,{picture}"
    return strip_image_tag(text_field(row, "problem", origin)), picture, text_field(row, "answer", origin)


def _parse_deepeyes(row: Mapping[str, Any], origin: str, style: Style) -> Parsed:
    """verl's form: a chat, pictures, and the answer in `reward_model`."""
    asked = [turn for turn in records(row, "prompt", origin) if turn.get("role") == "user"]
    pictures = records(row, "images", origin)
    if len(asked) != 1 or len(pictures) != 1:
        raise RefusedRow(origin, "not one question about one picture")
    answer = text_field(mapping(row.get("reward_model"), origin), "ground_truth", origin)
    return strip_image_tag(text_field(asked[0], "content", origin)), pictures[0].get("bytes"), answer


_PROMPT_SETS = (
    PromptSet(PROMPT_SETS["v_star"], scan_json_list, _parse_v_star),
    PromptSet(PROMPT_SETS["arxivqa"], scan_jsonl, _parse_arxivqa),
    PromptSet(
        PROMPT_SETS["thinklite_vl"],
        partial(scan_parquet, columns=("image", "problem", "answer")),
        _parse_thinklite,
    ),
    PromptSet(
        PROMPT_SETS["deepeyes_47k"],
        partial(scan_parquet, columns=("prompt", "images", "reward_model")),
        _parse_deepeyes,
    ),
)
