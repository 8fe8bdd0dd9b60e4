"""Long chains of thought by an annotator, asked until its answer names the preferred response (paper §3.2).

The number of attempts is a pair's difficulty. Annotations are kept in a file that is only ever appended to,
because they may have been paid for, and as they come, so that a killed run loses only what was under way. Any
number of runs and processes may share it. A row is found again by its pair and by a key that changes with
everything its answers depend on; of two rows with the same key the first counts.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from r1reward.data.sources.pictures import file_hash
from r1reward.engines import EngineError
from r1reward.files import append_jsonl
from r1reward.parsing import parse_verdict
from r1reward.servers.client import side_by_side
from r1reward.types import PreferencePair

_LOG = logging.getLogger(__name__)
CHUNK_PAIRS = 64
NAMED_PAIRS = 3


class AnnotatorError(RuntimeError):
    """An annotator that cannot go on; the message says what to do. Finished pairs are kept."""


class UnansweredError(RuntimeError):
    """An attempt without an answer, which costs its pair alone; the message says why."""


@runtime_checkable
class Annotator(Protocol):
    """Writes `<think>…</think><answer>k</answer>` for a pair. `fingerprint` changes with its answers.

    Where an answer cannot be had it raises UnansweredError, or EngineError for a picture or a text.
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


class BatchAnnotator(Protocol):
    """An annotator on this machine that answers many pairs at once; `fingerprint` as for `Annotator`.

    `batch_size` pairs are one batch. A batch that was not finished is asked again as a whole, so that an
    answer may depend on what stands beside it.
    """

    @property
    def batch_size(self) -> int: ...

    @property
    def fingerprint(self) -> str: ...

    def answers(self, pairs: Sequence[PreferencePair], attempt: int) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Annotation:
    """Raw answers for a pair, first attempt first; `reached` if the last one names the preferred response.

    With `unanswered` an attempt got no answer: how difficult the pair is stays unknown, and it is asked
    about again.
    """

    pair_id: str
    answers: tuple[str, ...]
    reached: bool
    unanswered: bool = False

    @property
    def attempts(self) -> int:
        """How many answers were asked for: the pair's difficulty if the label was reached."""
        return len(self.answers)


class AnswerFile:
    """The annotations of some pairs in a file that others may be writing to.

    Args:
        path: JSON lines.
        keys: the key of each pair that is wanted, see `answer_key`; other rows stay where they are.

    Raises ValueError, which names file and row, for a row that holds no annotation.
    """

    def __init__(self, path: str | Path, keys: Mapping[str, str]) -> None:
        self._path, self._keys = Path(path), keys
        self._read_bytes = self._read_rows = 0
        self.known: dict[str, Annotation] = {}
        self.refresh()

    def add(self, annotations: Iterable[Annotation]) -> None:
        """Keep annotations on disk. Where another process was quicker its answers count."""
        self.refresh()
        new = [one for one in annotations if one.pair_id not in self.known]
        append_jsonl(self._path, [_to_row(one, self._keys[one.pair_id]) for one in new])
        self.refresh()

    def refresh(self) -> None:
        """Take in what has been appended since the last time; a line that is being written has to wait."""
        if not self._path.exists() or self._path.stat().st_size == self._read_bytes:
            return
        with self._path.open("rb") as stream:
            stream.seek(self._read_bytes)
            for line in stream:
                if not line.endswith(b"\n"):
                    break
                self._read_bytes += len(line)
                self._read_rows += 1
                self._take(line)

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            row = json.loads(line)
            found = Annotation(row["pair_id"], tuple(row["answers"]), row["reached"])
            wanted = self._keys.get(found.pair_id) == row["key"]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            where = f"{self._path}, row {self._read_rows}"
            raise ValueError(f"{where}: not an annotation ({type(error).__name__}): {error}") from error
        if wanted:
            self.known.setdefault(found.pair_id, found)


def answer_key(fingerprint: str, pair: PreferencePair, max_attempts: int) -> str:
    """Changes with everything that answers depend on. Pictures count by content, wherever they lie."""
    pictures = [[_content(path) for path in paths] for paths in (pair.images, pair.frames)]
    asked = [pair.pair_id, pair.question, *pair.responses, pair.preferred]
    parts = [fingerprint, max_attempts, *asked, *pictures]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _content(path: str) -> str:
    """Hash of a picture's file; one that cannot be read is refused when it is to be sent."""
    try:
        return file_hash(path)
    except (OSError, ValueError):
        return "missing"


def _to_row(annotation: Annotation, key: str) -> dict[str, Any]:
    return {
        "pair_id": annotation.pair_id,
        "key": key,
        "attempts": annotation.attempts,
        "reached": annotation.reached,
        "verdicts": [parse_verdict(answer) for answer in annotation.answers],
        "answers": list(annotation.answers),
    }


def annotate_pairs(
    annotator: Annotator | BatchAnnotator,
    pairs: Sequence[PreferencePair],
    *,
    path: Path,
    max_attempts: int,
    progress: Callable[..., None] | None = None,
) -> list[Annotation]:
    """Annotations of all pairs in their order, kept as JSON lines in `path` and resumed from there.

    A row is reused only if pair, pictures, annotator and number of attempts are the same as when it was
    written; all others stay in the file, which several runs may share. A pair without an answer is
    `unanswered` and not kept, so that the next call asks about it again. `progress` is called with the pairs
    done, their number and, for a remote annotator, its status. A pair id that occurs twice is a
    ValueError; an annotator's AnnotatorError is passed on once finished pairs are on disk.
    """
    fingerprint = annotator.fingerprint
    keys = {pair.pair_id: answer_key(fingerprint, pair, max_attempts) for pair in pairs}
    if len(keys) != len(pairs):
        raise ValueError("pair ids must be unique")
    kept = AnswerFile(path, keys)
    unanswered: dict[str, Annotation] = {}
    for chunk in _chunks(annotator, pairs, kept, max_attempts):
        unanswered |= {one.pair_id: one for one in chunk if one.unanswered}
        kept.add(one for one in chunk if not one.unanswered)
        if progress and chunk:
            status = [annotator.status()] if isinstance(annotator, RemoteAnnotator) else []
            progress(len(keys.keys() & (kept.known.keys() | unanswered.keys())), len(pairs), *status)
    missing = [name for name in unanswered if name not in kept.known]
    if missing:
        named = ", ".join(missing[:NAMED_PAIRS]) + (", ..." if len(missing) > NAMED_PAIRS else "")
        text = "%d of %d pairs have no answer (%s): they are left out, and asked about again next time"
        _LOG.warning(text, len(missing), len(pairs), named)
    return [kept.known.get(pair_id) or unanswered[pair_id] for pair_id in keys]


def annotate_pair(annotator: Annotator, pair: PreferencePair, *, max_attempts: int) -> Annotation:
    """Ask until the answer names the preferred response, at most `max_attempts` times.

    An attempt without an answer ends it, and is logged.
    """
    answers: list[str] = []
    while len(answers) < max_attempts:
        try:
            answers.append(annotator.answer(pair, len(answers)))
        except (UnansweredError, EngineError) as error:
            _LOG.warning("%s, attempt %d: %s", pair.label, len(answers) + 1, error)
            return Annotation(pair.pair_id, tuple(answers), reached=False, unanswered=True)
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
    kept: AnswerFile,
    max_attempts: int,
) -> Iterator[list[Annotation]]:
    """Annotations of the pairs that are not known, as they are finished."""
    if not isinstance(annotator, Annotator):
        return _in_batches(annotator, pairs, kept, max_attempts)
    waiting = _not_known(pairs, kept)
    if isinstance(annotator, RemoteAnnotator):
        ask = partial(annotate_pair, annotator, max_attempts=max_attempts)
        asked = side_by_side(ask, waiting, threads=annotator.concurrency, stop=annotator.stop)
        return ([annotation] for _, annotation in asked)
    return _one_by_one(annotator, waiting, max_attempts)


def _not_known(pairs: Iterable[PreferencePair], kept: AnswerFile) -> Iterator[PreferencePair]:
    """Pairs that nobody has annotated when their turn comes, another process included."""
    for pair in pairs:
        kept.refresh()
        if pair.pair_id not in kept.known:
            yield pair


def _in_batches(
    annotator: BatchAnnotator, pairs: Iterable[PreferencePair], kept: AnswerFile, max_attempts: int
) -> Iterator[list[Annotation]]:
    queue = iter(pairs)
    while batch := list(islice(queue, annotator.batch_size)):
        if any(pair.pair_id not in kept.known for pair in batch):
            yield annotate_batch(annotator, batch, max_attempts=max_attempts)


def _one_by_one(
    annotator: Annotator, pairs: Iterable[PreferencePair], max_attempts: int
) -> Iterator[list[Annotation]]:
    queue = iter(pairs)
    while chunk := list(islice(queue, CHUNK_PAIRS)):
        yield [annotate_pair(annotator, pair, max_attempts=max_attempts) for pair in chunk]
