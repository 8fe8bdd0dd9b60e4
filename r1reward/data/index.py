"""All pairs that a build read: a table with a row a pair of what decides about it; texts stay on disk.

- Two pairs are the same if their pictures have the same bytes and their texts are the same after Unicode
  compatibility composition, case folding and with single spaces. Punctuation counts: "-5" and "5" are
  different answers.
- *duplicates* have the same pictures, question and responses: `exact` with the same response chosen,
  `reversed` with the other one, a contradiction that no model can learn. The pair that was read first stays.
- *overlaps* are pairs that are in a benchmark too. `pair`: the same picture, question and answers, whichever
  is preferred; only this can be removed. `texts`: the same question and answers; the picture has other bytes,
  as after being encoded again. `question`: the same picture and question with other answers. VL-RewardBench
  is drawn from data sets that R1-Reward is trained on: 864 of its 1,250 items.
- Three numbers that follow from the seed and a pair's id alone decide whether it is drawn (`draw`), on which
  side its chosen response stands (`side`) and where it stands in the file (`place`).
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from r1reward.data.sources.pictures import file_hash
from r1reward.types import PreferencePair

DIGEST_BYTES = 16
MARKS = ("picture", "question", "texts", "flipped")
COLUMNS = ("pair_id", "source", *MARKS, "draw", "side", "place", "offset")
# The training source behind the prefix of an item's id; an id without a known prefix is of VL-Feedback.
ORIGINS = {"hallucination": "povid", "RLAIF": "rlaif_v", "wildvision": "wildvision_battle"}
NOT_IN_TRAINING = ("RLHF", "mathverse", "mmmu")

# What is the same in both, by kind; a pair is noted under the first that fits.
KINDS = {"pair": ["texts", "picture"], "texts": ["texts"], "question": ["picture", "question"]}


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Digests of a pair: its pictures' bytes, its question, and its question with both responses.

    `texts` is the same for both orders of the responses; `flipped` is different for them.
    """

    picture: bytes
    question: bytes
    texts: bytes
    flipped: bool


def normalise(text: str) -> str:
    """A text without what does not count in comparisons."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def fingerprint(pair: PreferencePair) -> Fingerprint:
    """Digests of a pair. A picture that cannot be read is an OSError, a lone surrogate a UnicodeError."""
    question = normalise(pair.question)
    responses = [normalise(response) for response in pair.responses]
    preferred, other = responses if pair.preferred == 1 else responses[::-1]
    hashes = [file_hash(path) for path in (*pair.images, *pair.frames)]
    pictures = [bytes.fromhex(one)[:DIGEST_BYTES] for one in hashes]
    return Fingerprint(
        picture=pictures[0] if len(pictures) == 1 else digest(*pictures),
        question=digest(question),
        texts=digest(question, *sorted(responses)),
        flipped=preferred > other,
    )


def digest(*parts: str | bytes) -> bytes:
    """Digest of texts or bytes, each with its length, so that no two lists of parts run together."""
    whole = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        data = part.encode("utf-8") if isinstance(part, str) else part
        whole.update(len(data).to_bytes(8))
        whole.update(data)
    return whole.digest()


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
    kinds = found.groupby("source")["kind"]
    return {str(source): part.value_counts().sort_index().to_dict() for source, part in kinds}


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


@dataclass(frozen=True, slots=True)
class BenchmarkPairs:
    """Fingerprints of benchmark pairs by pair id, and how many of them come from each training source."""

    fingerprints: Mapping[str, Fingerprint]
    shared_sources: Mapping[str, int]

    @property
    def key(self) -> str:
        """Changes with everything that a build says about the benchmark."""
        marks = sorted(
            (name, mark.picture, mark.question, mark.texts) for name, mark in self.fingerprints.items()
        )
        shared = (f"{name} {count}" for name, count in sorted(self.shared_sources.items()))
        return digest(*(part for mark in marks for part in mark), *shared).hex()


def fingerprint_benchmark(pairs: Iterable[PreferencePair]) -> BenchmarkPairs:
    """Fingerprints of the pairs of one or several benchmarks; these are few and held in memory."""
    fingerprints, shared = {}, Counter[str]()
    for pair in pairs:
        fingerprints[pair.pair_id] = fingerprint(pair)
        source = training_source(str(pair.meta["id"])) if pair.source == "vl_rewardbench" else None
        if source:
            shared[source] += 1
    return BenchmarkPairs(fingerprints, dict(sorted(shared.items())))


def training_source(item_id: str) -> str | None:
    """The training source that an item of VL-RewardBench was drawn from, by the prefix of its id."""
    prefix = re.split("[_-]", item_id, maxsplit=1)[0]
    return None if prefix in NOT_IN_TRAINING else ORIGINS.get(prefix, "vl_feedback")


def find_overlaps(pairs: pd.DataFrame, benchmark: BenchmarkPairs) -> pd.DataFrame:
    """The pairs that overlap: `pair_id`, `source`, `kind`; `original` is the first id of the benchmark."""
    marks = [(name, m.picture, m.question, m.texts) for name, m in benchmark.fingerprints.items()]
    known = pd.DataFrame(marks, columns=["original", "picture", "question", "texts"]).astype(object)
    known = known.sort_values(by="original")
    found = []
    for kind, same in KINDS.items():
        originals = known.drop_duplicates(subset=same).loc[:, ["original", *same]]
        shared = pairs.reset_index().merge(originals, on=same).set_index("index").assign(kind=kind)
        found.append(shared.loc[:, ["pair_id", "source", "kind", "original"]])
        pairs = pairs.drop(shared.index)
    return pd.concat(found).sort_index()
