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
from typing import Any, Literal

import numpy as np
from PIL import Image

from r1reward.data.rows import LEFT_OUT
from r1reward.engines import Engine, EngineError, ForgivingEngine, Sampling, errors_of
from r1reward.files import append_jsonl, read_json, read_jsonl, sha256_file, write_atomic, write_json
from r1reward.judge.reward_model import judge_pairs
from r1reward.pictures import PictureFault, encode_png, picture_size
from r1reward.prompts import PromptName, prompt_hash
from r1reward.scoring import MARKS, PairRecord, Scores, UnparsedPolicy, score, write_records
from r1reward.types import PreferencePair, Vote

CHUNK_PAIRS = 128
ORDERS = ("given", "swapped")
BLANK = "blank"
GREY = (128, 128, 128)
_LOG = logging.getLogger(__name__)
_Key = tuple[int, str]
_Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class BenchOutcome:
    """A finished run: its records in the order of the pairs and what pictures the judge saw.

    `pictures` is empty for the benchmark's own, else "stand-in pictures" or "blank".
    """

    records: tuple[PairRecord, ...]
    pictures: str

    def scores(self) -> Scores:
        """Scores of the run by the policy that its records name, see `scoring.score`."""
        return score(self.records, unparsed=self.records[0].unparsed or "wrong")


def run_benchmark(
    engine: Engine,
    pairs: Sequence[PreferencePair],
    *,
    prompt: PromptName,
    sampling: Sampling,
    work: Path,
    record: Path,
    blank: bool = False,
    model: str = "",
    unparsed: UnparsedPolicy = "wrong",
    chunk_pairs: int = CHUNK_PAIRS,
    progress: Callable[[int, int], None] | None = None,
) -> BenchOutcome:
    """Judge all pairs in both orders, write the compact record and return it.

    A row that cannot be asked, because its picture is missing or its prompt too long, has no verdict, which
    its record says; a warning names it, and the same call asks it again. EngineError where no row at all can
    be asked.

    Args:
        work: folder of the full texts; what is there is reused if it is of the same run.
        record: file of the compact record lines, written when all pairs are judged.
        blank: show a grey picture of the same size in place of every picture.
        model: says which model the engine holds (a hash, a path); texts of another are discarded.
        unparsed: how scores and reports of the record count an answer without a verdict.
        progress: called with the judgments done and their total.
    """
    return run_judge(
        partial(_judge_chunk, engine, prompt=prompt),
        pairs,
        key={"prompt": prompt_hash(prompt), "model": model},
        sampling=sampling,
        work=work,
        record=record,
        blank=blank,
        unparsed=unparsed,
        chunk_pairs=chunk_pairs,
        progress=progress,
    )


def run_judge(
    judge: Callable[..., list[_Line]],
    pairs: Sequence[PreferencePair],
    *,
    key: Mapping[str, Any],
    sampling: Sampling,
    work: Path,
    record: Path,
    blank: bool = False,
    unparsed: UnparsedPolicy = "wrong",
    chunk_pairs: int = CHUNK_PAIRS,
    progress: Callable[[int, int], None] | None = None,
) -> BenchOutcome:
    """`run_benchmark` for any way of judging.

    `judge(pairs, rows, sampling=, progress=)` returns a line for each row and order, with "row",
    "order", "verdict" (a mark) and "tokens", and "error" where it could not be asked. `key` says who judges
    and how.
    """
    done, pictures = judge_all(
        judge,
        pairs,
        key=key,
        sampling=sampling,
        work=work,
        blank=blank,
        chunk_pairs=chunk_pairs,
        progress=progress,
    )
    rows = rows_of(pairs)
    policy = "" if unparsed == "wrong" else unparsed
    records = tuple(
        _record_of(pair, row, done, pictures=pictures, unparsed=policy)
        for pair, row in zip(pairs, rows, strict=True)
    )
    write_records(record, records)
    return BenchOutcome(records, pictures)


def judge_all(
    judge: Callable[..., list[_Line]],
    pairs: Sequence[PreferencePair],
    *,
    key: Mapping[str, Any],
    sampling: Sampling,
    work: Path,
    blank: bool = False,
    chunk_pairs: int = CHUNK_PAIRS,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[dict[_Key, _Line], str]:
    """The line of each (row, order), and what pictures were shown; see `run_judge`."""
    work = Path(work)
    rows, pictures = rows_of(pairs), _pictures_of(pairs, blank)
    if blank:
        pairs = [_blanked(pair, work / BLANK) for pair in pairs]
    key = {
        **key,
        "pairs": _pairs_hash(pairs, rows),
        "sampling": asdict(sampling),
        "blank": blank,
        "chunk_pairs": chunk_pairs,
    }
    texts = _open_run(work, key)
    return _judge_chunks(judge, pairs, rows, sampling, texts, chunk_pairs, progress), pictures


def _judge_chunks(
    judge: Callable[..., list[_Line]],
    pairs: Sequence[PreferencePair],
    rows: Sequence[int],
    sampling: Sampling,
    texts: Path,
    chunk_pairs: int,
    progress: Callable[[int, int], None] | None,
) -> dict[_Key, _Line]:
    """Judge the chunks that are not complete in `texts`, or about other pictures.

    A line written later replaces an earlier one.
    """
    lines = read_jsonl(texts, drop_partial=True) if texts.exists() else []
    shown = {row: _content(pair) for row, pair in zip(rows, pairs, strict=True)}
    known = [
        line
        for line in lines
        if "error" not in line and line.get("pictures", shown[line["row"]]) == shown[line["row"]]
    ]
    done = {(line["row"], line["order"]): line for line in known}
    total = len(ORDERS) * len(pairs)
    for number, start in enumerate(range(0, len(pairs), chunk_pairs)):
        part = slice(start, start + chunk_pairs)
        if not all((row, order) in done for row in rows[part] for order in ORDERS):
            seed = int(np.random.SeedSequence([sampling.seed, number]).generate_state(1)[0])
            report = partial(_report, progress, len(ORDERS) * start, total) if progress else None
            chunk_sampling = replace(sampling, seed=seed)
            judged = judge(pairs[part], rows[part], sampling=chunk_sampling, progress=report)
            lines = [{**line, "pictures": shown[line["row"]]} for line in judged]
            append_jsonl(texts, lines)
            done |= {(line["row"], line["order"]): line for line in lines}
        if progress:
            progress(min(len(ORDERS) * (start + chunk_pairs), total), total)
    tell_faults([line["error"] for line in done.values() if "error" in line], total)
    return done


def tell_faults(errors: Sequence[str], total: int) -> None:
    """Warn of judgments that could not be asked; EngineError where that is all of them."""
    if errors and len(errors) == total:
        raise EngineError(f"nothing could be asked, for one: {errors[0]}")
    if errors:
        _LOG.warning("%d of %d judgments could not be asked, for one: %s", len(errors), total, errors[0])


def _report(progress: Callable[[int, int], None], before: int, total: int, count: int, _: int) -> None:
    progress(before + count, total)


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


def _pairs_hash(pairs: Sequence[PreferencePair], rows: Sequence[int]) -> str:
    digest = hashlib.sha256()
    for pair, row in zip(pairs, rows, strict=True):
        names = [Path(path).name for path in (*pair.images, *pair.frames)]
        digest.update(json.dumps([row, pair.question, *pair.responses, *names]).encode())
    return digest.hexdigest()


def _content(pair: PreferencePair) -> str:
    """Of a pair's pictures; one that cannot be read is left to whoever shows it."""
    digest = hashlib.sha256()
    for path in (*pair.images, *pair.frames):
        with contextlib.suppress(OSError):
            digest.update(sha256_file(path).encode())
    return digest.hexdigest()[:16]


def _open_run(work: Path, key: _Line) -> Path:
    """The file of full texts; texts of another run are discarded, never taken for this one's."""
    texts, header = work / "texts.jsonl", work / "run.json"
    key = json.loads(json.dumps(key))
    if not header.exists() or read_json(header) != key:
        if texts.exists():
            _LOG.warning("%s holds texts of another model, prompt or benchmark: judging again", work)
            texts.unlink()
        write_json(header, key)
    return texts


def _judge_chunk(
    engine: Engine,
    pairs: Sequence[PreferencePair],
    rows: Sequence[int],
    *,
    prompt: PromptName,
    sampling: Sampling,
    progress: Callable[[int, int], None] | None,
) -> list[_Line]:
    both = [pair for given in pairs for pair in (given, given.swapped())]
    keys = [(row, order) for row in rows for order in ORDERS]
    votes = judge_pairs(ForgivingEngine(engine), both, prompt=prompt, sampling=sampling, progress=progress)
    return [_line(key, vote) for key, vote in zip(keys, votes, strict=True)]


def _line(key: _Key, vote: Vote) -> _Line:
    line = {
        "row": key[0],
        "order": key[1],
        "verdict": MARKS[vote.verdict],
        "tokens": len(vote.completion.token_ids),
        "finish_reason": vote.completion.finish_reason,
        "text": vote.completion.text,
    }
    errors = errors_of([vote.completion])
    return line | ({"error": errors[0]} if errors else {})


def _record_of(
    pair: PreferencePair,
    row: int,
    done: Mapping[_Key, Mapping[str, Any]],
    *,
    pictures: str,
    unparsed: Literal["", "drop", "coin"],
) -> PairRecord:
    given, swapped = (done[row, order] for order in ORDERS)
    return PairRecord(
        row=row,
        group=pair.category,
        preferred=pair.preferred,
        verdicts=given["verdict"] + swapped["verdict"],
        tokens=(given["tokens"], swapped["tokens"]),
        pictures=pictures,
        question=str(pair.meta.get("question", "")),
        unparsed=unparsed,
        left_out=str(pair.meta.get(LEFT_OUT, "")),
        not_asked=sum("error" in line for line in (given, swapped)),
    )


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
