"""Judges every pair of a benchmark in both orders, resumes after a kill, and writes the compact record.

Full texts go to `<work>/texts.jsonl`, a chunk at a time. Chunks and their seeds follow from the pairs
alone, and a chunk that was not finished is judged again as a whole, so a run that was killed ends with
the same texts as one that was not. Rows and orders are the keys, never ids: benchmark ids repeat.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from r1reward.data.rows import LEFT_OUT
from r1reward.engines import Engine, EngineError, ForgivingEngine, Progress, Sampling, errors_of
from r1reward.files import append_jsonl, read_json, read_jsonl, sha256_file, write_atomic, write_json
from r1reward.judge.generative import judge_samples
from r1reward.pictures import PictureFault, encode_png, picture_size
from r1reward.prompts import PromptName, prompt_hash
from r1reward.scoring import MARKS, PairRecord, UnparsedPolicy, write_records
from r1reward.types import PreferencePair, Vote

CHUNK_PAIRS = 128
ORDERS = ("given", "swapped")
BLANK = "blank"
GREY = (128, 128, 128)
_LOG = logging.getLogger(__name__)
Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class BenchJudge:
    """Who judges the pairs of a benchmark, and how.

    `ask(pairs, sampling, progress)` returns two lines for each pair, for its given order and with the
    responses exchanged. A line has "verdict" (a mark), "tokens" and whatever else is kept, and "error" where
    that order could not be asked. `key` says who judges by which prompt; answers of another are never taken
    for its own. Chunks of `chunk_pairs` pairs are on disk before the next one begins.
    """

    ask: Callable[[Sequence[PreferencePair], Sampling, Progress | None], list[Line]]
    key: Mapping[str, str]
    sampling: Sampling
    chunk_pairs: int = CHUNK_PAIRS


def generative_judge(
    engine: Engine,
    sampling: Sampling,
    *,
    prompt: PromptName,
    model: str = "",
    read: Callable[[Sequence[Vote]], Line] | None = None,
    chunk_pairs: int = CHUNK_PAIRS,
) -> BenchJudge:
    """A generative reward model as judge; `model` says which one the engine holds (a hash, a path).

    `read` makes a line of the answers to one order of a pair, unless there is only one answer.
    """
    forgiving = ForgivingEngine(engine)

    def ask(pairs: Sequence[PreferencePair], sampling: Sampling, progress: Progress | None) -> list[Line]:
        both = [pair for given in pairs for pair in (given, given.swapped())]
        answers = judge_samples(forgiving, both, prompt=prompt, sampling=sampling, progress=progress)
        failed = [errors_of([vote.completion for vote in votes]) for votes in answers]
        lines = map(read or _line_of_one, answers)
        return [
            line | ({"error": errors[0]} if errors else {})
            for line, errors in zip(lines, failed, strict=True)
        ]

    return BenchJudge(ask, {"prompt": prompt_hash(prompt), "model": model}, sampling, chunk_pairs)


def _line_of_one(votes: Sequence[Vote]) -> Line:
    (vote,) = votes
    return {
        "verdict": MARKS[vote.verdict],
        "tokens": len(vote.completion.token_ids),
        "finish_reason": vote.completion.finish_reason,
        "text": vote.completion.text,
    }


def run_benchmark(
    judge: BenchJudge,
    pairs: Sequence[PreferencePair],
    *,
    work: Path,
    record: Path,
    blank: bool = False,
    unparsed: UnparsedPolicy = "wrong",
    progress: Progress | None = None,
) -> list[PairRecord]:
    """Judge all pairs in both orders, write the compact records to the file `record` and return them.

    `unparsed` is how scores and reports of the record count an answer without a verdict. See `judge_all`.
    """
    pictures = _pictures_of(pairs, blank)
    judged = judge_all(judge, pairs, work=work, blank=blank, progress=progress)
    records = [
        PairRecord(
            row=row,
            group=pair.category,
            preferred=pair.preferred,
            verdicts=given["verdict"] + swapped["verdict"],
            tokens=(given["tokens"], swapped["tokens"]),
            pictures=pictures,
            question=str(pair.meta.get("question", "")),
            unparsed="" if unparsed == "wrong" else unparsed,
            left_out=str(pair.meta.get(LEFT_OUT, "")),
            not_asked=sum("error" in line for line in (given, swapped)),
        )
        for pair, row, (given, swapped) in zip(pairs, rows_of(pairs), judged, strict=True)
    ]
    write_records(record, records)
    return records


def judge_all(
    judge: BenchJudge,
    pairs: Sequence[PreferencePair],
    *,
    work: Path,
    blank: bool = False,
    progress: Progress | None = None,
) -> list[tuple[Line, Line]]:
    """The lines of every pair, for the given and for the swapped order.

    A row that cannot be asked, because its picture is missing or its prompt too long, has no verdict, which
    its lines say; a warning names it, and the same call asks it again. EngineError where no row at all can be
    asked.

    Args:
        work: folder of the full texts; what is there is reused if it is of the same run and about the same
            pictures. A line written later replaces an earlier one.
        blank: show a grey picture of the same size in place of every picture.
        progress: called with the judgments done and their total.
    """
    rows = rows_of(pairs)
    if blank:
        pairs = [_blanked(pair, work / BLANK) for pair in pairs]
    texts = _open_run(work, judge, pairs, blank)
    shown = {row: _content(pair) for row, pair in zip(rows, pairs, strict=True)}
    done = {
        (line["row"], line["order"]): line
        for line in (read_jsonl(texts, drop_partial=True) if texts.exists() else [])
        if "error" not in line and line.get("pictures", shown[line["row"]]) == shown[line["row"]]
    }
    total = len(ORDERS) * len(pairs)
    for number, start in enumerate(range(0, len(pairs), judge.chunk_pairs)):
        part = slice(start, start + judge.chunk_pairs)
        keys = [(row, order) for row in rows[part] for order in ORDERS]
        if not done.keys() >= set(keys):
            seed = int(np.random.SeedSequence([judge.sampling.seed, number]).generate_state(1)[0])
            report = partial(_report, progress, len(ORDERS) * start, total, judge) if progress else None
            judged = judge.ask(pairs[part], replace(judge.sampling, seed=seed), report)
            lines = [
                {"row": row, "order": order, **line, "pictures": shown[row]}
                for (row, order), line in zip(keys, judged, strict=True)
            ]
            append_jsonl(texts, lines)
            done |= zip(keys, lines, strict=True)
        if progress:
            progress(min(len(ORDERS) * (start + judge.chunk_pairs), total), total)
    tell_faults([line["error"] for line in done.values() if "error" in line], total)
    return [(done[row, "given"], done[row, "swapped"]) for row in rows]


def tell_faults(errors: Sequence[str], total: int) -> None:
    """Warn of judgments that could not be asked; EngineError where that is all of them."""
    if errors and len(errors) == total:
        raise EngineError(f"nothing could be asked, for one: {errors[0]}")
    if errors:
        _LOG.warning("%d of %d judgments could not be asked, for one: %s", len(errors), total, errors[0])


def _report(progress: Progress, before: int, total: int, judge: BenchJudge, count: int, _: int) -> None:
    """The engine counts the answers of a chunk, the runner all judgments."""
    progress(before + count // judge.sampling.samples, total)


def rows_of(pairs: Sequence[PreferencePair]) -> list[int]:
    """The row of each pair in its file, or its place; two with the same are a ValueError."""
    rows = [int(pair.meta.get("row", index)) for index, pair in enumerate(pairs)]
    if len(set(rows)) != len(rows):
        raise ValueError("two pairs have the same row")
    return rows


def _pictures_of(pairs: Sequence[PreferencePair], blank: bool) -> str:
    if blank:
        return BLANK
    kinds = {str(pair.meta.get("pictures", "")) for pair in pairs}
    if len(kinds) > 1:
        raise ValueError(f"the pairs mix kinds of pictures: {', '.join(map(repr, sorted(kinds)))}")
    return kinds.pop() if kinds else ""


def _content(pair: PreferencePair) -> str:
    """Of a pair's pictures; one that cannot be read is left to whoever shows it."""
    digest = hashlib.sha256()
    for path in (*pair.images, *pair.frames):
        with contextlib.suppress(OSError):
            digest.update(sha256_file(path).encode())
    return digest.hexdigest()[:16]


def _open_run(work: Path, judge: BenchJudge, pairs: Sequence[PreferencePair], blank: bool) -> Path:
    """The file of full texts; texts of another run are discarded, never taken for this one's."""
    digest = hashlib.sha256()
    for pair, row in zip(pairs, rows_of(pairs), strict=True):
        names = [Path(path).name for path in (*pair.images, *pair.frames)]
        digest.update(json.dumps([row, pair.question, *pair.responses, *names]).encode())
    key = {**judge.key, "pairs": digest.hexdigest(), "sampling": asdict(judge.sampling), "blank": blank}
    key["chunk_pairs"] = judge.chunk_pairs
    texts, header = work / "texts.jsonl", work / "run.json"
    if not header.exists() or read_json(header) != key:
        if texts.exists():
            _LOG.warning("%s holds texts of another model, prompt or benchmark: judging again", work)
            texts.unlink()
        write_json(header, key)
    return texts


def _blanked(pair: PreferencePair, folder: Path) -> PreferencePair:
    images = tuple(_blank_twin(path, folder) for path in pair.images)
    frames = tuple(_blank_twin(path, folder) for path in pair.frames)
    return replace(pair, images=images, frames=frames)


def _blank_twin(path: str, folder: Path) -> str:
    """A grey picture as large as the one at `path`, made once a size; one that cannot be read stays."""
    try:
        width, height = picture_size(path)
    except PictureFault:
        return path
    twin = folder / f"{width}x{height}.png"
    if not twin.exists():
        write_atomic(twin, encode_png(Image.new("RGB", (width, height), GREY)))
    return str(twin)
