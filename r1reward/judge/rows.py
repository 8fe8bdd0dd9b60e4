"""Rows of a file of pairs to be judged: what is asked, what is wrong with a row, and which row it is."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from r1reward.files import RefusedRow, scan_jsonl
from r1reward.pictures import (
    ADVICE_ON_ADDRESSES,
    PictureFault,
    is_address,
    is_data_uri,
    local_path,
    picture_bytes,
    short_name,
)
from r1reward.texts import is_unicode
from r1reward.types import Comparison

TEXTS, PICTURES = ("question", "response_1", "response_2"), ("images", "frames")
FIELDS = ("id", *TEXTS, *PICTURES)
# More characters than any model reads; to count their tokens alone would take minutes.
MAX_CHARACTERS = 1_000_000


@dataclass(frozen=True, slots=True)
class AskedRow:
    """Row `number`, from 1, of a file: its comparison, or the fault that stands in its place.

    `key` follows from what the row says, wherever it stands; rows that say the same are counted in it. It is
    empty where there is a fault.
    """

    number: int
    asked: Comparison | RefusedRow
    key: str = ""
    identifier: str | float | None = None

    @property
    def place(self) -> int:
        """What random numbers follow from: rows that say the same get the same answer."""
        return int(self.key[:8], 16)


def read_rows(path: Path, *, root: Path | None = None) -> Iterator[AskedRow]:
    """The rows of a file; a faulty one says so, with file and row, and the others stay.

    Args:
        root: pictures must lie below this folder, links followed; the folder of the file unless given.
    """
    seen: Counter[str] = Counter()
    for origin, row in scan_jsonl(path):
        number = int(origin.rpartition(" ")[2])
        identifier = row.get("id") if isinstance(row, dict) else None
        identifier = identifier if _is_identifier(identifier) else None
        try:
            if isinstance(row, RefusedRow):
                raise row
            asked = read_comparison(row, path, origin=origin, root=root or path.parent)
        except RefusedRow as fault:
            yield AskedRow(number, fault, identifier=identifier)
            continue
        digest = hashlib.sha256(json.dumps([row.get(name) for name in FIELDS[1:]]).encode()).hexdigest()[:32]
        yield AskedRow(number, asked, f"{digest}-{seen[digest]}", identifier)
        seen[digest] += 1


def read_comparison(row: Mapping[str, Any], path: Path, *, origin: str, root: Path) -> Comparison:
    """The comparison in a row of the file `path`; a fault is a RefusedRow that names file, row and field."""
    if unknown := sorted(set(row) - set(FIELDS)):
        detail = f"there is no field {unknown[0]!r}; the fields are {', '.join(FIELDS)}"
        raise RefusedRow(origin, "unknown field", detail)
    if not _is_identifier(row.get("id")):
        raise RefusedRow(origin, "field 'id' is neither a text nor a number")
    question, first, second = (_text(row, name, origin) for name in TEXTS)
    images, frames = (_pictures(row, name, path, origin=origin, root=root) for name in PICTURES)
    return Comparison(question, (first, second), images, frames, label=origin)


def _is_identifier(value: object) -> TypeGuard[str | float | None]:
    """A text, a number (a table with gaps writes 3 as 3.0) or nothing."""
    is_number = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    return value is None or is_number or (isinstance(value, str) and is_unicode(value))


def digest_of(comparison: Comparison) -> str:
    """SHA-256 over the content of the pictures. Raises RefusedRow for one that cannot be read."""
    digest = hashlib.sha256()
    for picture in (*comparison.images, *comparison.frames):
        try:
            digest.update(hashlib.sha256(picture_bytes(picture)).digest())
        except PictureFault as fault:
            detail = f"picture {short_name(picture)} {fault}"
            raise RefusedRow(comparison.label, fault.reason, detail) from fault
    return digest.hexdigest()[:32]


def _text(row: Mapping[str, Any], name: str, origin: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise RefusedRow(origin, f"field {name!r} is not a text")
    if not is_unicode(value):
        raise RefusedRow(origin, f"field {name!r} is not valid Unicode")
    if len(value) > MAX_CHARACTERS:
        raise RefusedRow(origin, f"field {name!r} has {len(value)} characters, more than {MAX_CHARACTERS}")
    return value


def _pictures(row: Mapping[str, Any], name: str, path: Path, *, origin: str, root: Path) -> tuple[str, ...]:
    value = row.get(name, [])
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise RefusedRow(origin, f"field {name!r} is not a list of paths")
    return tuple(_picture(part, path, origin=origin, root=root) for part in value)


def _picture(name: str, path: Path, *, origin: str, root: Path) -> str:
    """A `data:` URI, or the path of a picture in or below `root`: a file of pairs may come from anyone."""
    if is_data_uri(name):
        return name
    if "\0" in name or not is_unicode(name):
        raise RefusedRow(origin, f"{short_name(name)!r} is no path of a picture")
    if is_address(name):
        raise RefusedRow(origin, "picture not found", f"picture {short_name(name)} {ADVICE_ON_ADDRESSES}")
    picture = str(path.parent / local_path(name))
    if not Path(os.path.realpath(picture)).is_relative_to(os.path.realpath(root)):
        allowed = "--root FOLDER allows those below another folder"
        detail = f"picture {short_name(name)!r} lies outside {root}; {allowed}"
        raise RefusedRow(origin, "picture outside the folder", detail)
    return picture
