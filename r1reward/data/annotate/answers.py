"""Annotations on disk: a file that is only ever appended to, because its answers may have been paid for.

Any number of runs and processes may share it. A row is found again by its pair and by a key that changes with
everything its answers depend on; of two rows with the same key the first counts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from r1reward.files import append_jsonl, sha256_file
from r1reward.parsing import parse_verdict
from r1reward.types import PreferencePair, Verdict


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
        status = Path(path).stat()
        return _hash_file(path, status.st_mtime_ns, status.st_size)
    except (OSError, ValueError):
        return "missing"


@lru_cache(maxsize=1 << 20)
def _hash_file(path: str, changed: int, size: int) -> str:
    return sha256_file(path)


def _to_row(annotation: Annotation, key: str) -> dict[str, Any]:
    verdicts: Sequence[Verdict] = [parse_verdict(answer) for answer in annotation.answers]
    return {
        "pair_id": annotation.pair_id,
        "key": key,
        "attempts": annotation.attempts,
        "reached": annotation.reached,
        "verdicts": verdicts,
        "answers": list(annotation.answers),
    }
