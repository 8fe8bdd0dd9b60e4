"""Judges every row of a JSON-lines file; what a killed run has judged is not judged again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from r1reward.engines.base import EngineError
from r1reward.files import append_jsonl, iterate_jsonl, read_json, read_jsonl, sha256_file, write_json
from r1reward.judge.r1_reward import R1Reward
from r1reward.prompts import prompt_hash
from r1reward.types import Comparison, Judgment, Vote

CHUNK_ROWS = 64
Row = dict[str, Any]


def judge_file(
    judge: R1Reward,
    path: str | Path,
    out: str | Path,
    *,
    votes: int = 1,
    both_orders: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, int]:
    """Judge the rows of a file; returns how many were judged, and how many could not be.

    A row has `question`, `response_1`, `response_2` and, relative to the folder of the file, lists of
    `images` or `frames`; an `id` is repeated. `out` gets a line for each row, in order: its judgment, or
    an `error` that says what is wrong with the row. A server that cannot be asked is a ServerError, and
    the same call goes on from there.

    Args:
        progress: called with the rows done and their number.

    Where `out` is of another model, engine, file or way of asking it is left as it is and a ValueError says
    so.
    """
    path, out = Path(path), Path(out)
    rows = list(iterate_jsonl(path))
    asked = {"model": judge.name, "prompt": prompt_hash(judge.prompt), "max_new_tokens": judge.max_new_tokens,
             "temperature": judge.temperature, "seed": judge.seed,
             "votes": votes, "both_orders": both_orders, "file": sha256_file(path)}  # fmt: skip
    done = _open(out, asked)
    # A chunk has a seed of its own; one that was not finished is judged again as a whole.
    done -= done % CHUNK_ROWS if done < len(rows) else 0
    _keep_first(out, done)
    for start in range(done, len(rows), CHUNK_ROWS):
        numbered = list(enumerate(rows[start : start + CHUNK_ROWS], start=start))
        seed = int(np.random.SeedSequence([judge.seed, start]).generate_state(1)[0])
        ask = partial(judge.compare_all, votes=votes, both_orders=both_orders, seed=seed)
        append_jsonl(out, _judge_rows(ask, numbered, path))
        if progress:
            progress(min(start + CHUNK_ROWS, len(rows)), len(rows))
    failed = sum("error" in line for line in iterate_jsonl(out)) if rows else 0
    return {"judged": len(rows) - failed, "failed": failed}


def judgment_row(judgment: Judgment) -> Row:
    """A judgment with the record of each vote, as it stands in a file."""
    return {
        "verdict": judgment.verdict,
        "confidence": judgment.confidence,
        "reasoning": judgment.reasoning,
        "swapped": judgment.swapped,
        "votes": [_vote_row(vote) for vote in judgment.votes],
    }


def _vote_row(vote: Vote) -> Row:
    return {
        "verdict": vote.verdict,
        "probability": vote.probability,
        "swapped": vote.swapped,
        "text": vote.completion.text,
        "tokens": len(vote.completion.token_ids),
        "finish_reason": vote.completion.finish_reason,
    }


def _judge_rows(
    ask: Callable[[list[Comparison]], list[Judgment]], numbered: Sequence[tuple[int, Row]], path: Path
) -> list[Row]:
    """A line for each row. Where one of them breaks the batch each is judged alone."""
    lines: dict[int, Row] = {}
    good: dict[int, Comparison] = {}
    for number, row in numbered:
        try:
            good[number] = read_comparison(row, path, number)
        except ValueError as error:
            lines[number] = {"error": str(error)}
    try:
        judged = ask(list(good.values())) if good else []
        lines |= {number: judgment_row(one) for number, one in zip(good, judged, strict=True)}
    except EngineError as error:
        if len(good) == 1:
            lines |= {number: {"error": str(error)} for number in good}
        else:
            alone = [(number, row) for number, row in numbered if number in good]
            for item in alone:
                line = _judge_rows(ask, [item], path)[0]
                lines[item[0]] = {name: value for name, value in line.items() if name not in ("row", "id")}
    ids = {number: {"id": row["id"]} if "id" in row else {} for number, row in numbered}
    return [{"row": number + 1, **ids[number], **lines[number]} for number, _ in numbered]


def read_comparison(row: Mapping[str, Any], path: Path, number: int) -> Comparison:
    """The comparison in a row; a fault is a ValueError that names file, row (from 1) and field."""
    label = f"{path}, row {number + 1}"
    texts = []
    for name in ("question", "response_1", "response_2"):
        if not isinstance(value := row.get(name), str) or not value.strip():
            raise ValueError(f"{label}: field {name!r} is not a text")
        texts.append(value)
    pictures: dict[str, tuple[str, ...]] = {}
    for name in ("images", "frames"):
        value = row.get(name, [])
        if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
            raise ValueError(f"{label}: field {name!r} is not a list of paths")
        pictures[name] = tuple(str(path.parent / part) for part in value)
    return Comparison(texts[0], (texts[1], texts[2]), label=label, **pictures)


def _open(out: Path, asked: Mapping[str, Any]) -> int:
    """How many rows are judged already."""
    header = out.with_name(f"{out.name}.run.json")
    if out.exists() and (not header.exists() or read_json(header) != asked):
        raise ValueError(f"{out} holds other judgments: name another file with --out, or move it away")
    write_json(header, asked)
    return len(read_jsonl(out, drop_partial=True)) if out.exists() else 0


def _keep_first(out: Path, count: int) -> None:
    """Cut off what follows the first `count` lines."""
    if not out.exists():
        return
    with out.open("rb+") as stream:
        for _ in range(count):
            stream.readline()
        stream.truncate(stream.tell())
