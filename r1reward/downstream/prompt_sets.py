"""The prompts of the downstream policy: V*, arXivQA and ThinkLite-VL in their original schemas (paper C.9).

No reward sees a reference answer; `downstream.right_answers` may choose prompts by them. The
paper does not say which files its 50,000 prompts came from. The closest public match is
DeepEyes-Datasets-47k, whose rows have one form for all three sets; it is read too. None of the real files
could be opened to check these schemas, which are from data cards and from code that reads them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

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
from r1reward.downstream.questions import LETTERS, Question, Style, with_options
from r1reward.files import RefusedRow, Row, scan_jsonl

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
