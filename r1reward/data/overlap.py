"""Training pairs that are in a benchmark too.

- `pair`: the same picture bytes, question and answers, whichever is preferred. Only this can be removed.
- `texts`: the same question and answers; the picture has other bytes, as after being encoded again.
- `question`: the same picture and question with other answers.

VL-RewardBench is drawn from data sets that R1-Reward is trained on: 864 of its 1,250 items.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from r1reward.data.fingerprint import Fingerprint, digest, fingerprint
from r1reward.data.index import Index
from r1reward.types import PreferencePair

# The training source behind the prefix of an item's id; an id without a known prefix is of VL-Feedback.
ORIGINS = {"hallucination": "povid", "RLAIF": "rlaif_v", "wildvision": "wildvision_battle"}
NOT_IN_TRAINING = ("RLHF", "mathverse", "mmmu")

_FIND = """
INSERT INTO overlaps
SELECT number, '{kind}', MIN(benchmark.pair_id) FROM pairs JOIN benchmark ON {same}
WHERE number NOT IN (SELECT number FROM removed UNION ALL SELECT number FROM overlaps)
GROUP BY number
"""
KINDS = {
    "pair": "pairs.texts = benchmark.texts AND pairs.picture = benchmark.picture",
    "texts": "pairs.texts = benchmark.texts",
    "question": "pairs.picture = benchmark.picture AND pairs.question = benchmark.question",
}


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


def find_overlaps(index: Index, benchmark: BenchmarkPairs, *, remove: bool) -> Mapping[str, Any]:
    """Note all pairs that overlap, and remove whole pairs if asked; returns counts by source and kind."""
    connection = index.connection
    connection.executemany(
        "INSERT INTO benchmark VALUES (?, ?, ?, ?)",
        (
            (pair_id, mark.picture, mark.question, mark.texts)
            for pair_id, mark in benchmark.fingerprints.items()
        ),
    )
    connection.execute("CREATE INDEX benchmark_by_texts ON benchmark (texts)")
    connection.execute("CREATE INDEX benchmark_by_picture ON benchmark (picture)")
    for kind, same in KINDS.items():
        connection.execute(_FIND.format(kind=kind, same=same))
    if remove:
        connection.execute(
            "INSERT INTO removed SELECT number, 'overlap', original FROM overlaps WHERE kind = 'pair'"
        )
    return index.kinds("overlaps")
