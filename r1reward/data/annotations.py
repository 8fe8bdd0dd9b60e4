"""The file of annotations: JSON lines that are appended as they come and in the order of the pairs at last.

Where a row stands is kept in a temporary SQLite file, so that neither answers nor keys fill the memory.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1reward.files import atomic_stream, iterate_jsonl


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


@dataclass(frozen=True, slots=True)
class Annotations:
    """Annotations in the file `path`, in the order of the pairs. Iterating reads the file."""

    path: Path

    def __iter__(self) -> Iterator[Annotation]:
        if self.path.exists():
            for row in iterate_jsonl(self.path):
                yield Annotation(row["pair_id"], tuple(row["answers"]), row["reached"])


class AnnotationPlaces:
    """Which of the wanted annotations, given as (pair id, key) in their order, stand where in a file.

    A key changes with everything an annotation depends on. A pair id that occurs twice is a ValueError.
    """

    def __init__(self, path: Path, wanted: Iterable[tuple[str, str]]) -> None:
        self.path = path
        self._connection = sqlite3.connect("")
        self._connection.execute(
            "CREATE TABLE places (number INTEGER PRIMARY KEY, pair_id TEXT UNIQUE, key TEXT UNIQUE, start)"
        )
        try:
            self._connection.executemany("INSERT INTO places VALUES (NULL, ?, ?, NULL)", wanted)
        except sqlite3.IntegrityError as error:
            raise ValueError("pair ids must be unique") from error
        self._scan()

    def count(self) -> int:
        """How many of the wanted annotations the file has."""
        return self._connection.execute("SELECT COUNT(start) FROM places").fetchone()[0]

    def in_file(self) -> Iterator[tuple[str, bool]]:
        """The key of each wanted annotation and whether the file has it."""
        return iter(self._connection.execute("SELECT key, start IS NOT NULL FROM places ORDER BY number"))

    def put_in_order(self) -> None:
        """Rewrite the file if it is not exactly the wanted annotations in their order."""
        rows = self._scan()
        starts = "SELECT start FROM places ORDER BY number"
        late = f"SELECT COUNT(*) FROM (SELECT start, LAG(start) OVER () AS before FROM ({starts}))"
        if (
            rows == self.count()
            and not self._connection.execute(f"{late} WHERE start < before").fetchone()[0]
        ):
            return
        with self.path.open("rb") as source, atomic_stream(self.path) as target:
            for (start,) in self._connection.execute(starts):
                source.seek(start)
                target.write(source.readline().rstrip(b"\n") + b"\n")

    def close(self) -> None:
        """Remove the temporary file."""
        self._connection.close()

    def _scan(self) -> int:
        """Note where the rows of the file stand; returns how many there are, a half-written one included."""
        if not self.path.exists():
            return 0
        rows = 0
        for start, row in _rows_with_places(self.path):
            self._connection.execute("UPDATE places SET start = ? WHERE key = ?", (start, row.get("key")))
            rows += 1
        return rows


def _rows_with_places(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    start = 0
    with path.open("rb") as stream:
        for line in stream:
            try:
                row = json.loads(line)
            except ValueError as error:
                if line.endswith(b"\n"):
                    raise ValueError(f"{path}, byte {start}: not JSON: {error}") from error
                row = {}
            yield start, row
            start += len(line)
