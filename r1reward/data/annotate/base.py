"""Asking an annotator until its answer names the preferred response, and keeping every answer (paper §3.2).

The number of attempts is a pair's difficulty. Finished pairs are appended as they come, so that a killed
run loses only what was under way; the finished file stands in the order of the pairs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from r1reward.data.storage import write_rows
from r1reward.files import append_jsonl, read_jsonl
from r1reward.parsing import parse_verdict
from r1reward.types import PreferencePair, Verdict

CHUNK_PAIRS = 64


class AnnotatorError(RuntimeError):
    """An annotator that cannot go on; the message says what to do. Finished pairs are kept."""


class Annotator(Protocol):
    """Writes `<think>…</think><answer>k</answer>` for a pair. `fingerprint` changes with its answers.

    An empty answer is one that could not be had: it counts as an attempt and has no verdict.
    """

    @property
    def fingerprint(self) -> str: ...

    def answer(self, pair: PreferencePair, attempt: int) -> str: ...


@runtime_checkable
class RemoteAnnotator(Annotator, Protocol):
    """An annotator that mostly waits: `concurrency` pairs are asked at once, each in a thread.

    `status` is added to the line of progress. After `stop` every call of `answer` ends soon, with an
    AnnotatorError.
    """

    concurrency: int

    def status(self) -> str: ...

    def stop(self) -> None: ...


@runtime_checkable
class BatchAnnotator(Protocol):
    """An annotator on this machine that answers many pairs at once; `fingerprint` as for `Annotator`.

    `batch_size` pairs are one batch. A batch that was not finished is asked again as a whole, so that an
    answer may depend on what stands beside it.
    """

    batch_size: int

    @property
    def fingerprint(self) -> str: ...

    def answers(self, pairs: Sequence[PreferencePair], attempt: int) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Annotation:
    """Raw answers for a pair, first attempt first; `reached` if the last one names the preferred response."""

    pair_id: str
    answers: tuple[str, ...]
    reached: bool

    @property
    def attempts(self) -> int:
        """How many answers were asked for: the pair's difficulty if the label was reached."""
        return len(self.answers)


def annotate_pairs(
    annotator: Annotator | BatchAnnotator,
    pairs: Sequence[PreferencePair],
    *,
    path: Path,
    max_attempts: int,
    progress: Callable[..., None] | None = None,
) -> list[Annotation]:
    """Annotations of all pairs in their order, kept as JSON lines in `path` and resumed from there.

    A row is reused only if pair, annotator and number of attempts are the same as when it was written;
    others move to `<name>.old.jsonl` beside it, and come back when they fit again. `progress` is called
    with the pairs done, their number and, for a remote annotator, its status. A pair id that occurs
    twice is a ValueError; an annotator's AnnotatorError is passed on once finished pairs are on disk.
    """
    keys = {pair.pair_id: _key(annotator, pair, max_attempts) for pair in pairs}
    if len(keys) != len(pairs):
        raise ValueError("pair ids must be unique")
    path = Path(path)
    done = _resume(path, keys)
    num_rows = len(done)
    for chunk in _chunks(annotator, pairs, frozenset(done), max_attempts):
        append_jsonl(path, [_to_row(annotation, keys[annotation.pair_id]) for annotation in chunk])
        num_rows += len(chunk)
        done |= {annotation.pair_id: annotation for annotation in chunk}
        if progress and chunk:
            status = [annotator.status()] if isinstance(annotator, RemoteAnnotator) else []
            progress(len(done), len(pairs), *status)
    ordered = [done[pair_id] for pair_id in keys]
    if list(done) != list(keys) or num_rows != len(keys):
        write_rows(path, (_to_row(annotation, keys[annotation.pair_id]) for annotation in ordered))
    return ordered


def annotate_pair(annotator: Annotator, pair: PreferencePair, *, max_attempts: int) -> Annotation:
    """Ask until the answer names the preferred response, at most `max_attempts` times."""
    answers: list[str] = []
    while len(answers) < max_attempts:
        answers.append(annotator.answer(pair, len(answers)))
        if parse_verdict(answers[-1]).agrees_with(pair.preferred):
            return Annotation(pair.pair_id, tuple(answers), reached=True)
    return Annotation(pair.pair_id, tuple(answers), reached=False)


def annotate_batch(
    annotator: BatchAnnotator, pairs: Sequence[PreferencePair], *, max_attempts: int
) -> list[Annotation]:
    """`annotate_pair` for many pairs: each further attempt asks about those that are not reached yet."""
    answers: dict[str, list[str]] = {pair.pair_id: [] for pair in pairs}
    reached: set[str] = set()
    for attempt in range(max_attempts):
        if not (asked := [pair for pair in pairs if pair.pair_id not in reached]):
            break
        for pair, text in zip(asked, annotator.answers(asked, attempt), strict=True):
            answers[pair.pair_id].append(text)
            if parse_verdict(text).agrees_with(pair.preferred):
                reached.add(pair.pair_id)
    return [Annotation(key, tuple(texts), key in reached) for key, texts in answers.items()]


def _chunks(
    annotator: Annotator | BatchAnnotator,
    pairs: Sequence[PreferencePair],
    known: frozenset[str],
    max_attempts: int,
) -> Iterator[list[Annotation]]:
    """Annotations of the pairs that are not known, as they are finished."""
    if isinstance(annotator, BatchAnnotator):
        return _in_batches(annotator, pairs, known, max_attempts)
    waiting = (pair for pair in pairs if pair.pair_id not in known)
    if isinstance(annotator, RemoteAnnotator):
        return _side_by_side(annotator, waiting, max_attempts)
    return _one_by_one(annotator, waiting, max_attempts)


def _in_batches(
    annotator: BatchAnnotator, pairs: Iterable[PreferencePair], known: frozenset[str], max_attempts: int
) -> Iterator[list[Annotation]]:
    queue = iter(pairs)
    while batch := list(islice(queue, annotator.batch_size)):
        if any(pair.pair_id not in known for pair in batch):
            yield annotate_batch(annotator, batch, max_attempts=max_attempts)


def _one_by_one(
    annotator: Annotator, pairs: Iterable[PreferencePair], max_attempts: int
) -> Iterator[list[Annotation]]:
    queue = iter(pairs)
    while chunk := list(islice(queue, CHUNK_PAIRS)):
        yield [annotate_pair(annotator, pair, max_attempts=max_attempts) for pair in chunk]


def _side_by_side(
    annotator: RemoteAnnotator, pairs: Iterable[PreferencePair], max_attempts: int
) -> Iterator[list[Annotation]]:
    """Annotations as they are finished. After an error no pair is begun, what still finishes is yielded."""
    queue = iter(pairs)
    running: set[Future[Annotation]] = set()
    errors: list[BaseException] = []
    with ThreadPoolExecutor(annotator.concurrency) as pool:
        try:
            while True:
                free = 0 if errors else annotator.concurrency - len(running)
                for pair in islice(queue, free):
                    running.add(pool.submit(annotate_pair, annotator, pair, max_attempts=max_attempts))
                if not running:
                    break
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                errors += [error for future in finished if (error := future.exception())]
                if errors:
                    annotator.stop()
                yield [future.result() for future in finished if not future.exception()]
        except BaseException:
            # Ctrl-C, or a full disk while the caller keeps a chunk: no thread may go on asking.
            annotator.stop()
            raise
    if errors:
        raise errors[0]


def _key(annotator: Annotator | BatchAnnotator, pair: PreferencePair, max_attempts: int) -> str:
    """Changes with everything that an answer depends on. Pictures count by name: a folder may move."""
    pictures = [[Path(path).name for path in paths] for paths in (pair.images, pair.frames)]
    parts = [
        annotator.fingerprint,
        max_attempts,
        pair.pair_id,
        pair.question,
        *pair.responses,
        pair.preferred,
        *pictures,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _to_row(annotation: Annotation, key: str) -> dict[str, Any]:
    verdicts: list[Verdict] = [parse_verdict(answer) for answer in annotation.answers]
    return {
        "pair_id": annotation.pair_id,
        "key": key,
        "attempts": annotation.attempts,
        "reached": annotation.reached,
        "verdicts": verdicts,
        "answers": list(annotation.answers),
    }


def _resume(path: Path, keys: dict[str, str]) -> dict[str, Annotation]:
    """Annotations that are valid now, in the order of the file; it is rewritten without the others.

    Answers may have been paid for, so the others are moved aside and never deleted.
    """
    old = path.with_suffix(".old.jsonl")
    archived, rows = (read_jsonl(file, drop_partial=True) if file.exists() else [] for file in (old, path))
    invalid = [row for row in rows if keys.get(row["pair_id"]) != row["key"]]
    valid = {row["pair_id"]: row for row in [*archived, *rows] if keys.get(row["pair_id"]) == row["key"]}
    known = {(row["pair_id"], row["key"]) for row in archived}
    append_jsonl(old, (row for row in invalid if (row["pair_id"], row["key"]) not in known))
    if list(valid.values()) != rows:
        write_rows(path, valid.values())
    return {
        pair_id: Annotation(pair_id, tuple(row["answers"]), row["reached"]) for pair_id, row in valid.items()
    }
