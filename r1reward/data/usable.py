"""What can be learnt from a training file: a faulty row costs itself, is counted and named in a warning.

A row is faulty where it cannot be read, has a field that is wrong, missing or unknown, a text that is not
Unicode, or a picture that is missing or of a shape that the model cannot be shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from r1reward.data.cold_start import SFTExample, example_from_row, target_of
from r1reward.data.items import Item, pair_of
from r1reward.data.sifting import Sifted, sift
from r1reward.data.sources.pictures import shown_size
from r1reward.data.storage import FIELDS, pair_from_row
from r1reward.files import scan_jsonl
from r1reward.pictures import Budget
from r1reward.texts import is_unicode
from r1reward.types import PreferencePair

T = TypeVar("T", PreferencePair, SFTExample)


def usable_pairs(path: str | Path, budget: Budget | None = None) -> Sifted[PreferencePair]:
    """The pairs of a file of `write_pairs`; with a budget their pictures must be such as can be shown in it.

    Raises ValueError where rows are faulty and none is left. What was left out belongs into the run's record.
    """
    return _usable(Path(path), pair_from_row, budget)


def usable_targets(path: str | Path, budget: Budget | None = None) -> Sifted[SFTExample]:
    """`usable_pairs` for a file of `write_sft`, with answers as the cold start teaches them.

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
