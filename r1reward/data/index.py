"""All pairs that a build read: a table with a row a pair of what decides about it; texts stay on disk.

- *duplicates* have pictures of the same bytes and the same question and responses (`fingerprint.normalise`):
  `exact` with the same response chosen, `reversed` with the other one, a contradiction that no model can
  learn. The pair that was read first stays.
- *overlaps* are pairs that are in a benchmark too, see `data.overlap`.
- Three numbers that follow from the seed and a pair's id alone decide whether it is drawn (`draw`), on which
  side its chosen response stands (`side`) and where it stands in the file (`place`).
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from r1reward.data.fingerprint import Fingerprint
from r1reward.types import PreferencePair

MARKS = ("picture", "question", "texts", "flipped")
COLUMNS = ("pair_id", "source", *MARKS, "draw", "side", "place", "offset")


def index_row(pair: PreferencePair, marks: Fingerprint, *, seed: int, offset: int) -> tuple[Any, ...]:
    """The row of a pair whose line begins at byte `offset` of its source's file.

    Raises ValueError where the chosen response is not the first.
    """
    if pair.preferred != 1:
        raise ValueError(f"{pair.pair_id}: a loader must put the chosen response first")
    chance = hashlib.blake2b(f"{seed} {pair.pair_id}".encode(), digest_size=24).digest()
    return (pair.pair_id, pair.source, *astuple(marks), *struct.unpack(">3q", chance), offset)


def find_duplicates(pairs: pd.DataFrame) -> pd.DataFrame:
    """The pairs that are there before: `pair_id`, `source`, `kind` and the id of the `original`."""
    same = pairs.groupby(["picture", "texts"], sort=False)
    kinds = np.where(pairs["flipped"] == same["flipped"].transform("first"), "exact", "reversed")
    found = pairs.loc[:, ["pair_id", "source"]].assign(
        kind=kinds, original=same["pair_id"].transform("first")
    )
    return found.loc[same.cumcount() > 0]


def count_kinds(found: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Counts of duplicates or overlaps by source and kind."""
    counts: dict[str, dict[str, int]] = {}
    for source, kind in sorted(zip(found["source"], found["kind"], strict=True)):
        of_source = counts.setdefault(source, {})
        of_source[kind] = of_source.get(kind, 0) + 1
    return counts


def draw_pairs(pairs: pd.DataFrame, *, whole: Sequence[str], count: int, seed: int) -> pd.DataFrame:
    """All pairs of the sources `whole` and `count` of the others, in training order, with a column `swapped`.

    Within a source every second pair, in random order, is swapped; a coin decides where an odd one goes.
    """
    taken = pairs["source"].isin(whole)
    pool = pairs.loc[~taken].sort_values(by="draw", kind="stable").head(count)
    drawn = pd.concat([pairs.loc[taken], pool]).sort_index().sort_values(by="side", kind="stable")
    turn = drawn.groupby("source").cumcount() + 1 + drawn["source"].map(lambda source: _coin(seed, source))
    return drawn.assign(swapped=turn % 2 == 1).sort_index().sort_values(by="place", kind="stable")


def _coin(seed: int, source: str) -> int:
    return hashlib.blake2b(f"{seed} {source}".encode()).digest()[0] % 2


def read_drawn(drawn: pd.DataFrame, files: Mapping[str, Path]) -> Iterator[dict[str, Any]]:
    """The rows of drawn pairs, from the file of each source, with the chosen response on its side."""
    with ExitStack() as stack:
        streams = {name: stack.enter_context(path.open("rb")) for name, path in files.items()}
        places = zip(drawn["source"], drawn["offset"].tolist(), drawn["swapped"].tolist(), strict=True)
        for source, offset, swapped in places:
            streams[source].seek(offset)
            row = json.loads(streams[source].readline())
            if swapped:
                row |= {"responses": row["responses"][::-1], "preferred": 2}
            yield row
