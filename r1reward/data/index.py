"""The index of a build: all pairs that were read, on disk, with what is decided about each of them.

SQLite does what must not be done in memory: it finds equal rows, draws, sorts and counts. Every stage
of a build is one transaction, so that a killed build has a stage wholly or not at all.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from r1reward.data.fingerprint import Fingerprint
from r1reward.data.storage import pair_to_row
from r1reward.types import PreferencePair

CACHE_KIBIBYTES = 16 * 1024
_SCHEMA = """
CREATE TABLE IF NOT EXISTS stages (name TEXT PRIMARY KEY, result TEXT);
-- What is long stands last, so that scans of the rest do not read it.
CREATE TABLE IF NOT EXISTS pairs (
    number INTEGER PRIMARY KEY, source TEXT, pair_id TEXT UNIQUE,
    picture BLOB, question BLOB, texts BLOB, flipped INTEGER,
    draw INTEGER, side INTEGER, place INTEGER, row TEXT);
CREATE TABLE IF NOT EXISTS removed (number INTEGER PRIMARY KEY, kind TEXT, original TEXT);
CREATE TABLE IF NOT EXISTS overlaps (number INTEGER PRIMARY KEY, kind TEXT, original TEXT);
CREATE TABLE IF NOT EXISTS bands (band INTEGER, number INTEGER, PRIMARY KEY (band, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS benchmark (pair_id TEXT, picture BLOB, question BLOB, texts BLOB);
CREATE TABLE IF NOT EXISTS drawn (
    place INTEGER, number INTEGER, source TEXT, swapped INTEGER, PRIMARY KEY (place, number)) WITHOUT ROWID;
"""


class Index:
    """The index in the file `path`, for a build that is described by `key`.

    A file of another build, or one that is no index, is removed. Pictures are noted relative to `folder`.
    """

    def __init__(self, path: Path, *, key: str, folder: Path, seed: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.folder, self._seed = folder, seed
        self.connection = sqlite3.connect(path, isolation_level=None)
        try:
            self._prepare()
            known = self.result("key")
        except sqlite3.OperationalError:  # in use by another process, or the disk is full
            raise
        except sqlite3.DatabaseError:
            known = ""
        if known not in (None, key):
            self.connection.close()
            remove_index(path)
            self.connection = sqlite3.connect(path, isolation_level=None)
            self._prepare()
        self.run_stage("key", lambda: key)

    def _prepare(self) -> None:
        self.connection.execute(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")
        self.connection.execute("PRAGMA temp_store = FILE")
        self.connection.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def result(self, stage: str) -> Any:
        """What a finished stage returned, or None."""
        found = self.connection.execute("SELECT result FROM stages WHERE name = ?", (stage,)).fetchone()
        return json.loads(found[0]) if found else None

    def run_stage(self, name: str, work: Callable[[], Any]) -> Any:
        """The JSON value that `work` returns, kept with all it writes; a finished stage is not run again."""
        result = self.result(name)
        if result is None:
            with self.connection:  # commits, or takes back everything
                self.connection.execute("BEGIN")
                result = work()
                self.connection.execute("INSERT INTO stages VALUES (?, ?)", (name, json.dumps(result)))
        return result

    def add(self, pair: PreferencePair, marks: Fingerprint) -> bool:
        """Put in a pair with the chosen response first; whether its id was new.

        Three numbers that follow from the seed and the pair's id alone decide whether it is drawn, on
        which side its chosen response stands and where it stands in the file.
        """
        if pair.preferred != 1:
            raise ValueError(f"{pair.pair_id}: a loader must put the chosen response first")
        chance = hashlib.blake2b(f"{self._seed} {pair.pair_id}".encode(), digest_size=24).digest()
        values = (pair.source, pair.pair_id, marks.picture, marks.question, marks.texts, marks.flipped)
        row = json.dumps(pair_to_row(pair, self.folder), ensure_ascii=False)
        done = self.connection.execute(
            "INSERT OR IGNORE INTO pairs VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*values, *struct.unpack(">3q", chance), row),
        )
        return done.rowcount == 1

    def draw(self, *, whole: list[str], count: int) -> dict[str, int]:
        """Take all pairs of the sources `whole` and `count` of the others, balanced and in their order.

        Within a source every second pair, in random order, is swapped; a coin decides where an odd one
        goes. Returns how many are drawn.
        """
        self.connection.create_function("coin", 1, self._coin, deterministic=True)
        places = ", ".join("?" * len(whole))
        left = "SELECT * FROM pairs WHERE number NOT IN (SELECT number FROM removed)"
        self.connection.execute(
            f"""INSERT INTO drawn
            SELECT place, number, source,
                (ROW_NUMBER() OVER (PARTITION BY source ORDER BY side, number) + coin(source)) % 2
            FROM (SELECT number, source, side, place FROM ({left}) WHERE source IN ({places})
                UNION ALL
                SELECT * FROM (SELECT number, source, side, place FROM ({left})
                    WHERE source NOT IN ({places}) ORDER BY draw, number LIMIT ?))""",
            (*whole, *whole, count),
        )
        return {"drawn": self.count("drawn")}

    def _coin(self, source: str) -> int:
        return hashlib.blake2b(f"{self._seed} {source}".encode()).digest()[0] % 2

    def drawn_rows(self) -> Iterator[dict[str, Any]]:
        """The rows of the drawn pairs in training order, the chosen response on its side."""
        query = "SELECT row, swapped FROM drawn JOIN pairs USING (number) ORDER BY drawn.place, number"
        for text, swapped in self.connection.execute(query):
            row = json.loads(text)
            if swapped:
                row |= {"responses": row["responses"][::-1], "preferred": 2}
            yield row

    def noted(self, table: str) -> Iterator[dict[str, str]]:
        """Pairs in `removed` or `overlaps`: what kind, and the other pair (of a benchmark) it is like."""
        query = f"SELECT pair_id, kind, original FROM {table} JOIN pairs USING (number) ORDER BY number"
        for pair_id, kind, original in self.connection.execute(query):
            yield {"pair_id": pair_id, "kind": kind, "original": original}

    def count(self, table: str) -> int:
        """Number of rows of a table."""
        return self.connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]

    def kinds(self, table: str) -> dict[str, dict[str, int]]:
        """Counts of `removed` or `overlaps` by source and kind."""
        counts: dict[str, dict[str, int]] = {}
        query = f"SELECT source, kind, COUNT(*) FROM {table} JOIN pairs USING (number) GROUP BY source, kind"
        for source, kind, number in sorted(self.connection.execute(query)):
            counts.setdefault(source, {})[kind] = number
        return counts

    def positions(self) -> dict[str, dict[str, int]]:
        """How many drawn pairs of each source prefer response 1 and response 2."""
        query = "SELECT source, SUM(NOT swapped), SUM(swapped) FROM drawn GROUP BY source"
        return {source: {"1": one, "2": two} for source, one, two in self.connection.execute(query)}


def remove_index(path: Path) -> None:
    """Remove the file of an index, with the journal of a killed process."""
    for suffix in ("", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
