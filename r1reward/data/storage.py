"""Preference pairs and cold-start examples as JSON lines, and what can be learnt from such a file.

Paths are kept relative to the file: so a folder can move, and the same data has the same bytes wherever it
lies.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from r1reward.data.rows import Sifted, sift
from r1reward.data.sources.pictures import shown_size
from r1reward.files import RefusedRow, atomic_stream, scan_jsonl
from r1reward.judge.generative import judge_request
from r1reward.parsing import extract_reasoning, follows_format
from r1reward.pictures import Budget
from r1reward.prompts import PromptName
from r1reward.texts import is_unicode
from r1reward.types import PreferencePair, Request

FIELDS = (
    "pair_id", "source", "question", "responses", "preferred", "images", "frames", "category", "origin",
    "meta",
)  # fmt: skip
_SPACED = re.compile(r"\s*<think>(.*)</think>\s*<answer>\s*([12])\s*</answer>\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class SFTExample:
    """A pair to be asked about and the whole answer to learn: `<think>…</think><answer>k</answer>`."""

    pair: PreferencePair
    completion: str

    def request(self, prompt: PromptName) -> Request:
        """How the model is asked."""
        return judge_request(self.pair, prompt=prompt)


Item = PreferencePair | SFTExample
T = TypeVar("T", bound=Item)


def pair_of(item: Item) -> PreferencePair:
    """The pair of an item."""
    return item.pair if isinstance(item, SFTExample) else item


def target_of(answer: str) -> str | None:
    """An answer as the cold start teaches it: reasoning, and what the format reward accepts (paper §3.2).

    White space between and around the blocks is taken out where it is all that is wrong. None for any other
    answer that the reward rejects, and for one without reasoning.
    """
    if not extract_reasoning(answer):
        return None
    if follows_format(answer):
        return answer
    parts = _SPACED.fullmatch(answer)
    target = f"<think>{parts[1].strip()}</think><answer>{parts[2]}</answer>" if parts else ""
    return target if follows_format(target) else None


def pair_to_row(item: Item, folder: Path) -> dict[str, Any]:
    """A pair, or an example with its answer, as a JSON object for a file in `folder`."""
    pair = pair_of(item)
    row = {
        "pair_id": pair.pair_id,
        "source": pair.source,
        "question": pair.question,
        "responses": list(pair.responses),
        "preferred": pair.preferred,
        "images": [os.path.relpath(path, folder) for path in pair.images],
        "frames": [os.path.relpath(path, folder) for path in pair.frames],
        "category": pair.category,
        "origin": near_origin(pair.origin, folder),
        "meta": dict(pair.meta),
    }
    return {**row, "completion": item.completion} if isinstance(item, SFTExample) else row


def near_origin(origin: str, folder: Path) -> str:
    """An origin relative to the folder where it lies in it or beside it; one farther away stays as it is."""
    relative = os.path.relpath(origin, folder) if os.path.isabs(origin) else origin
    return origin if relative.startswith(os.path.join(os.pardir, os.pardir)) else relative


def pair_from_row(row: Mapping[str, Any], folder: Path) -> PreferencePair:
    """The pair of a JSON object from a file in `folder`; a missing or wrong field is a ValueError."""
    responses = _texts(row, "responses")
    if len(responses) != 2:
        raise ValueError(f"field 'responses' holds {len(responses)} texts, not two")
    if _field(row, "preferred", int) not in (1, 2):
        raise ValueError(f"preferred is {row['preferred']!r}, not 1 or 2")
    return PreferencePair(
        pair_id=_field(row, "pair_id", str),
        source=_field(row, "source", str),
        question=_field(row, "question", str),
        responses=(responses[0], responses[1]),
        preferred=row["preferred"],
        images=tuple(os.path.normpath(folder / path) for path in _texts(row, "images")),
        frames=tuple(os.path.normpath(folder / path) for path in _texts(row, "frames")),
        category=_field(row, "category", str),
        origin=_field(row, "origin", str),
        meta=_field(row, "meta", dict),
    )


def example_from_row(row: Mapping[str, Any], folder: Path) -> SFTExample:
    """`pair_from_row` for a cold-start example."""
    return SFTExample(pair_from_row(row, folder), _field(row, "completion", str))


def item_from_row(row: Mapping[str, Any], folder: Path) -> Item:
    """`example_from_row` where the row has an answer, else `pair_from_row`."""
    has_answer = row.get("completion") is not None
    return example_from_row(row, folder) if has_answer else pair_from_row(row, folder)


def _field(row: Mapping[str, Any], name: str, kind: type) -> Any:
    value = row.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        found = f"is {type(value).__name__}, not {kind.__name__}" if name in row else "is missing"
        raise ValueError(f"field '{name}' {found}")
    return value


def _texts(row: Mapping[str, Any], name: str) -> list[str]:
    values = _field(row, name, list)
    if not all(isinstance(value, str) for value in values):
        raise ValueError(f"field '{name}' is not a list of texts")
    return values


def write_pairs(path: str | Path, items: Iterable[Item]) -> Path:
    """Write pairs, or cold-start examples with their answers, as JSON lines, atomically."""
    path = Path(path)
    write_rows(path, (pair_to_row(item, path.parent) for item in items))
    return path


def read_pairs(path: str | Path) -> list[PreferencePair]:
    """All pairs written by `write_pairs`; a fault names file and row (ValueError)."""
    return list(iterate_pairs(path))


def iterate_pairs(path: str | Path) -> Iterator[PreferencePair]:
    """The pairs of `read_pairs`, one in memory at a time."""
    return _parse_rows(Path(path), pair_from_row)


def read_sft(path: str | Path) -> list[SFTExample]:
    """`read_pairs` for cold-start examples."""
    return list(iterate_sft(path))


def iterate_sft(path: str | Path) -> Iterator[SFTExample]:
    """The examples of `read_sft`, one in memory at a time."""
    return _parse_rows(Path(path), example_from_row)


def iterate_items(path: str | Path) -> Iterator[Item]:
    """`iterate_pairs` for a file of pairs or of cold-start examples."""
    return _parse_rows(Path(path), item_from_row)


def _parse_rows(path: Path, parse: Callable[[Mapping[str, Any], Path], T]) -> Iterator[T]:
    for origin, row in scan_jsonl(path):
        if isinstance(row, RefusedRow):
            raise row
        try:
            yield parse(row, path.parent)
        except ValueError as error:
            raise ValueError(f"{origin}: {error}") from error


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write JSON objects as lines, atomically; one is in memory at a time."""
    with atomic_stream(path) as stream:
        for row in rows:
            stream.write((json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8"))


def usable_pairs(path: str | Path, budget: Budget | None = None) -> Sifted[PreferencePair]:
    """The pairs of a file of `write_pairs` that can be learnt from; a faulty row costs itself, see `sift`.

    A row is faulty where it cannot be read, has a field that is wrong, missing or unknown, a text that is not
    Unicode, or a picture that is missing or of a shape that cannot be shown within the budget.

    Raises ValueError where rows are faulty and none is left. What was left out belongs into the run's record.
    """
    return _usable(Path(path), pair_from_row, budget)


def usable_targets(path: str | Path, budget: Budget | None = None) -> Sifted[SFTExample]:
    """`usable_pairs` for cold-start examples, with answers as the cold start teaches them.

    A row whose answer is no target is faulty.
    """
    return _usable(Path(path), _target_from_row, budget)


def _target_from_row(row: Mapping[str, Any], folder: Path) -> SFTExample:
    example = example_from_row(row, folder)
    if target := target_of(example.completion):
        return replace(example, completion=target)
    raise ValueError("the answer is no target: write <think>reasoning</think><answer>1</answer>, or 2")


def _usable(path: Path, parse: Callable[[Mapping[str, Any], Path], T], budget: Budget | None) -> Sifted[T]:
    def read(_: int, row: Mapping[str, Any], origin: str) -> T:
        item = parse(row, path.parent)
        _check(row, item, budget, origin=origin)
        return item

    return sift(scan_jsonl(path), read)


def _check(row: Mapping[str, Any], item: Item, budget: Budget | None, *, origin: str) -> None:
    if unknown := sorted(set(row) - {*FIELDS, "completion"}):
        raise ValueError(f"there is no field {unknown[0]!r}; the fields are {', '.join(FIELDS)}, completion")
    pair = pair_of(item)
    answer = item.completion if isinstance(item, SFTExample) else ""
    if not all(map(is_unicode, (pair.question, *pair.responses, answer))):
        raise ValueError("a text is not valid Unicode")
    if budget:
        sizes = [shown_size(path, budget, origin) for path in (*pair.images, *pair.frames)]
        if len(set(sizes[len(pair.images) :])) > 1:
            raise ValueError("its frames have different sizes")
