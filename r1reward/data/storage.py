"""Preference pairs as JSON lines. Paths are kept relative to the file.

So a folder can move, and the same data has the same bytes wherever it lies.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from r1reward.files import RefusedRow, atomic_stream, scan_jsonl
from r1reward.types import PreferencePair

FIELDS = (
    "pair_id", "source", "question", "responses", "preferred", "images", "frames", "category", "origin",
    "meta",
)  # fmt: skip
Parsed = TypeVar("Parsed")


def pair_to_row(pair: PreferencePair, folder: Path) -> dict[str, Any]:
    """A pair as a JSON object for a file in `folder`."""
    return {
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


def write_pairs(path: str | Path, pairs: Iterable[PreferencePair]) -> Path:
    """Write pairs as JSON lines, atomically."""
    path = Path(path)
    write_rows(path, (pair_to_row(pair, path.parent) for pair in pairs))
    return path


def read_pairs(path: str | Path) -> list[PreferencePair]:
    """All pairs written by `write_pairs`; a fault names file and row (ValueError)."""
    return list(iterate_pairs(path))


def iterate_pairs(path: str | Path) -> Iterator[PreferencePair]:
    """The pairs of `read_pairs`, one in memory at a time."""
    path = Path(path)
    return parse_rows(path, lambda row: pair_from_row(row, path.parent))


def parse_rows(path: Path, parse: Callable[[dict[str, Any]], Parsed]) -> Iterator[Parsed]:
    """What `parse` makes of each row of a JSON-lines file; a ValueError of it gets file and row before it."""
    for origin, row in scan_jsonl(path):
        if isinstance(row, RefusedRow):
            raise row
        try:
            yield parse(row)
        except ValueError as error:
            raise ValueError(f"{origin}: {error}") from error


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write JSON objects as lines, atomically; one is in memory at a time."""
    with atomic_stream(path) as stream:
        for row in rows:
            stream.write((json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8"))
