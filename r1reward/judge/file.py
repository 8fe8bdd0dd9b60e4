"""Judges every row of a JSON-lines file; what has a judgment is not asked again, what failed is."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from r1reward.engines import EngineError
from r1reward.files import (
    RefusedRow,
    append_jsonl,
    iterate_jsonl,
    read_json,
    scan_jsonl,
    write_atomic,
    write_json,
)
from r1reward.judge.r1_reward import R1Reward
from r1reward.judge.rows import AskedRow, digest_of, read_rows
from r1reward.locks import exclusive
from r1reward.prompts import prompt_hash
from r1reward.types import Comparison, Judgment, Verdict, Vote

CHUNK_ROWS = 64
Line = dict[str, Any]
Ask = Callable[..., list[Judgment]]


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
    ask = partial(judge.compare_all, votes=votes, both_orders=both_orders)
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


def judgment_row(judgment: Judgment) -> Line:
    """A judgment with the record of each vote, as it stands in a file."""
    return {
        "verdict": judgment.verdict,
        "confidence": judgment.confidence,
        "reasoning": judgment.reasoning,
        "swapped": judgment.swapped,
        "votes": [_vote_row(vote) for vote in judgment.votes],
    }


def _vote_row(vote: Vote) -> Line:
    return {
        "verdict": vote.verdict,
        "probability": vote.probability,
        "swapped": vote.swapped,
        "text": vote.completion.text,
        "tokens": len(vote.completion.token_ids),
        "finish_reason": vote.completion.finish_reason,
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
    ask: Ask,
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
        said = dict(zip((row.number for row in todo), _judge_rows(ask, todo), strict=True))
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


def _judge_rows(ask: Ask, rows: Sequence[AskedRow]) -> list[Line]:
    """A line for each row. Where one of them breaks the batch each is judged alone."""
    lines = {row.number: {"error": str(row.asked)} for row in rows if isinstance(row.asked, RefusedRow)}
    good = [(row, row.asked) for row in rows if isinstance(row.asked, Comparison)]
    try:
        judged = ask([asked for _, asked in good], places=[row.place for row, _ in good]) if good else []
        lines |= {row.number: judgment_row(one) for (row, _), one in zip(good, judged, strict=True)}
    except EngineError as error:
        if len(good) == 1:
            lines[good[0][0].number] = {"error": str(error)}
        else:
            lines |= {row.number: _judge_rows(ask, [row])[0] for row, _ in good}
    return [lines[row.number] for row in rows]


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
