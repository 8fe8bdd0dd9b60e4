"""Judges every row of a JSON-lines file; what has a judgment is not asked again, what failed is."""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from r1reward.engines import ask_each
from r1reward.files import (
    RefusedRow,
    append_jsonl,
    iterate_jsonl,
    read_json,
    scan_jsonl,
    write_atomic,
    write_json,
)
from r1reward.judge.generative import R1Reward
from r1reward.locks import exclusive
from r1reward.pictures import (
    ADVICE_ON_ADDRESSES,
    PictureFault,
    is_address,
    is_data_uri,
    local_path,
    picture_bytes,
    short_name,
)
from r1reward.prompts import prompt_hash
from r1reward.texts import is_unicode
from r1reward.types import Comparison, Judgment, Verdict

TEXTS, PICTURES = ("question", "response_1", "response_2"), ("images", "frames")
FIELDS = ("id", *TEXTS, *PICTURES)
# More characters than any model reads; to count their tokens alone would take minutes.
MAX_CHARACTERS = 1_000_000
CHUNK_ROWS = 64
Line = dict[str, Any]


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


def judge_file(
    judge: R1Reward,
    path: str | Path,
    out: str | Path,
    *,
    root: str | Path | None = None,
    votes: int = 1,
    both_orders: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, int]:
    """Judge the rows of a file; returns how many were judged, have no verdict, and could not be judged.

    A row has `question`, `response_1`, `response_2` and, relative to the folder of the file, lists of
    `images` or `frames`; an `id` is repeated. `out` gets a line for each row, in order: its judgment, or
    an `error` that says what is wrong with the row. The same call asks again what failed, and again what
    pictures have changed of. A server that cannot be asked is a ServerError, and the same call goes on from
    there. Only one process at a time writes to `out` (BusyError).

    Args:
        root: pictures must lie below this folder; the folder of the file unless given.
        progress: called with the rows done and their number.

    Where `out` is of another model, engine or way of asking, or has judgments of rows that are not in the
    file, it is left as it is and a ValueError says so.
    """
    path, out = Path(path), Path(out)
    check_places(path, out)
    asked = {"model": judge.name, "prompt": prompt_hash(judge.prompt), "max_new_tokens": judge.max_new_tokens,
             "temperature": judge.temperature, "seed": judge.seed, "votes": votes,
             "both_orders": both_orders}  # fmt: skip

    def ask(rows: Sequence[AskedRow]) -> list[Judgment]:
        comparisons = [row.asked for row in rows if isinstance(row.asked, Comparison)]
        places = [row.place for row in rows]
        return judge.compare_all(comparisons, votes=votes, both_orders=both_orders, places=places)

    rows = list(read_rows(path, root=Path(root) if root else None))
    if not rows:
        raise ValueError(f"{path} holds no rows")
    with exclusive(out):
        done = _open(out, asked, {row.key for row in rows}, path)
        lines = _judge_all(ask, rows, done, out=out, progress=progress)
        _write_in_order(out, lines)
    judged = [line for line in lines if "error" not in line]
    unparsed = sum(line["verdict"] == Verdict.UNPARSED for line in judged)
    return {"judged": len(judged), "unparsed": unparsed, "failed": len(lines) - len(judged)}


def check_places(path: Path, out: Path) -> None:
    """Whether the file can be read and `out` be written: worth knowing before a model is loaded.

    Raises FileNotFoundError and ValueError.
    """
    if not os.path.isfile(path):
        fault = "is a folder" if os.path.isdir(path) else "is not there"
        raise FileNotFoundError(f"{path} {fault}: --file is a file of JSON lines")
    if os.path.realpath(path) == os.path.realpath(out):
        raise ValueError(f"{out} is the file of pairs itself: name another with --out")
    if os.path.exists(out) and not os.path.isfile(out):
        raise ValueError(f"{out} is not a file: name another with --out")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out.parent).close()
        for place, mode in ((path, "rb"), (out, "ab")):
            if place.exists():
                place.open(mode).close()
    except OSError as error:
        raise ValueError(f"{error.filename or out} cannot be opened: {error.strerror}") from error


def _judgment_row(judgment: Judgment) -> Line:
    """A judgment with the record of each vote, as it stands in a file."""
    votes = [
        {
            "verdict": vote.verdict,
            "probability": vote.probability,
            "swapped": vote.swapped,
            "text": vote.completion.text,
            "tokens": len(vote.completion.token_ids),
            "finish_reason": vote.completion.finish_reason,
        }
        for vote in judgment.votes
    ]
    return {
        "verdict": judgment.verdict,
        "confidence": judgment.confidence,
        "reasoning": judgment.reasoning,
        "swapped": judgment.swapped,
        "votes": votes,
    }


def _open(out: Path, asked: Mapping[str, Any], keys: set[str], path: Path) -> dict[str, Line]:
    """The judgments that are there already, by the key of their row."""
    header = out.with_name(f"{out.name}.run.json")
    advice = "name another file with --out, or move it away"
    if out.exists():
        was = read_json(header) if header.exists() else {}
        if differs := [name for name in asked if was.get(name) != asked[name]]:
            raise ValueError(f"{out} holds other judgments ({', '.join(differs)} differ): {advice}")
    write_json(header, asked)
    done: dict[str, Line] = {}
    for _, line in scan_jsonl(out) if out.exists() else ():
        # What is no line of ours is asked again; of two judgments of a row the first stays.
        if isinstance(line, dict) and "verdict" in line and isinstance(line.get("key"), str):
            done.setdefault(line["key"], line)
    if strange := len(done.keys() - keys):
        raise ValueError(f"{out} holds {strange} judgments of rows that are not in {path}: {advice}")
    return done


def _judge_all(
    ask: Callable[[Sequence[AskedRow]], list[Judgment]],
    rows: Sequence[AskedRow],
    done: Mapping[str, Line],
    *,
    out: Path,
    progress: Callable[[int, int], None] | None,
) -> list[Line]:
    """A line for each row; those of a chunk that were not there are on disk before the next one begins."""
    lines: list[Line] = []
    for start in range(0, len(rows), CHUNK_ROWS):
        chunk = [_examine(row, done.get(row.key)) for row in rows[start : start + CHUNK_ROWS]]
        todo = [row for row, _, known in chunk if known is None]
        said: dict[int, Line] = {row.number: {"error": str(row.asked)} for row in todo}
        good = [row for row in todo if isinstance(row.asked, Comparison)]
        # Where one row breaks the batch, it costs itself.
        for row, judged in zip(good, ask_each(ask, good) if good else [], strict=True):
            said[row.number] = {"error": judged} if isinstance(judged, str) else _judgment_row(judged)
        found = [_line(row, pictures, known or said[row.number]) for row, pictures, known in chunk]
        append_jsonl(out, [line for line in found if line["row"] in said])
        lines += found
        if progress:
            progress(len(lines), len(rows))
    return lines


def _examine(row: AskedRow, known: Line | None) -> tuple[AskedRow, str, Line | None]:
    """The row, a digest of its pictures, and its judgment if there is one that is about these pictures.

    Where they cannot be read a judgment stays, and a row without one becomes a fault.
    """
    if isinstance(row.asked, RefusedRow):
        return row, "", None
    try:
        pictures = digest_of(row.asked)
    except RefusedRow as fault:
        if known:
            return row, known["pictures"], known
        return AskedRow(row.number, fault, identifier=row.identifier), "", None
    return row, pictures, known if known and known["pictures"] == pictures else None


def _line(row: AskedRow, pictures: str, said: Line) -> Line:
    named = {} if row.identifier is None else {"id": row.identifier}
    marks = {} if "error" in said else {"key": row.key, "pictures": pictures}
    rest = {name: value for name, value in said.items() if name not in ("row", "id", *marks)}
    return {"row": row.number, **named, **marks, **rest}


def _write_in_order(out: Path, lines: Sequence[Line]) -> None:
    """Put the lines in the order of their rows, and read back that every row is there once."""
    wanted = b"".join(
        (json.dumps(line, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace") for line in lines
    )
    if not out.exists() or out.read_bytes() != wanted:
        write_atomic(out, wanted)
    found = [line["row"] for line in iterate_jsonl(out)]
    if found != [line["row"] for line in lines]:
        raise RuntimeError(f"{out} was changed by another program while rows were judged: run it again")
