"""Removal of pairs that are in the data more than once. The one that was read first stays.

Two pairs are duplicates if their pictures have the same bytes and their texts are

- `exact`: the same question and responses (`fingerprint.normalise`) with the same one chosen;
- `reversed`: the same, but with the other one chosen: a contradiction that no model can learn;
- `near`: question, chosen and rejected response each share at least a given part of their word triples.

Near-duplicates are found by MinHash bands kept on disk and confirmed by the exact Jaccard similarity.
A pair is compared with at most `MAX_CANDIDATES` others, so time grows with the number of pairs however
many of them share a picture. The price: where more texts than that are alike without being near, a
near-duplicate among them can be missed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from r1reward.data.fingerprint import BANDS, Hashes, bands, jaccard, shingles
from r1reward.data.index import Index

MAX_CANDIDATES = 16
CACHED_PAIRS = 1024
Fields = tuple[Hashes, Hashes, Hashes]

_FIND_EXACT = """
INSERT INTO removed
SELECT number, CASE WHEN flipped = first THEN 'exact' ELSE 'reversed' END, original FROM (
    SELECT number,
        flipped,
        FIRST_VALUE(flipped) OVER same AS first,
        FIRST_VALUE(pair_id) OVER same AS original,
        FIRST_VALUE(number) OVER same AS first_number
    FROM pairs WINDOW same AS (PARTITION BY picture, texts ORDER BY number))
WHERE number != first_number
"""
# A picture of one pair alone has no duplicates.
_TO_COMPARE = """
SELECT number, picture, row FROM pairs
WHERE number NOT IN (SELECT number FROM removed)
    AND EXISTS (SELECT 1 FROM pairs AS other
        WHERE other.picture = pairs.picture AND other.number != pairs.number)
ORDER BY number
"""


def remove_duplicates(index: Index, threshold: float) -> Mapping[str, Any]:
    """Mark all duplicates as removed; returns their counts by source and kind.

    `threshold` is the Jaccard similarity from which every field of two near-duplicates must be alike.
    """
    connection = index.connection
    connection.execute("CREATE INDEX pairs_by_picture ON pairs (picture, texts, number)")
    connection.execute(_FIND_EXACT)
    read = _cached_reader(index)
    for number, picture, row in connection.execute(_TO_COMPARE):
        fields = _fields(row)
        keys = bands(fields, picture)
        original = next(
            (other for other in _candidates(index, keys) if _alike(fields, read(other), threshold)), None
        )
        if original is None:
            connection.executemany("INSERT OR IGNORE INTO bands VALUES (?, ?)", [(k, number) for k in keys])
        else:
            connection.execute(
                "INSERT INTO removed SELECT ?, 'near', pair_id FROM pairs WHERE number = ?",
                (number, original),
            )
    return index.kinds("removed")


def _candidates(index: Index, keys: list[int]) -> Iterator[int]:
    places = ", ".join("?" * BANDS)
    query = f"SELECT DISTINCT number FROM bands WHERE band IN ({places}) LIMIT {MAX_CANDIDATES}"
    return (number for (number,) in index.connection.execute(query, keys))


def _alike(one: Fields, other: Fields, threshold: float) -> bool:
    return all(jaccard(a, b) >= threshold for a, b in zip(one, other, strict=True))


def _fields(row: str) -> Fields:
    values = json.loads(row)
    chosen, rejected = values["responses"]
    return shingles(values["question"]), shingles(chosen), shingles(rejected)


def _cached_reader(index: Index) -> Callable[[int], Fields]:
    @lru_cache(maxsize=CACHED_PAIRS)
    def read(number: int) -> Fields:
        query = "SELECT row FROM pairs WHERE number = ?"
        return _fields(index.connection.execute(query, (number,)).fetchone()[0])

    return read
