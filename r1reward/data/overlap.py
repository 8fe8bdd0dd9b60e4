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

import pandas as pd

from r1reward.data.fingerprint import Fingerprint, digest, fingerprint
from r1reward.types import PreferencePair

# The training source behind the prefix of an item's id; an id without a known prefix is of VL-Feedback.
ORIGINS = {"hallucination": "povid", "RLAIF": "rlaif_v", "wildvision": "wildvision_battle"}
NOT_IN_TRAINING = ("RLHF", "mathverse", "mmmu")

# What is the same in both, by kind; a pair is noted under the first that fits.
KINDS = {"pair": ["texts", "picture"], "texts": ["texts"], "question": ["picture", "question"]}


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
