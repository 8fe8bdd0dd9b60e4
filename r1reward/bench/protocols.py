"""What a judge that always says 1 scores: by the benchmarks' own scripts, the released ones, and here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from r1reward.bench.official import (
    is_right_as_released,
    mm_rlhf_rewardbench_official,
    multimodal_rewardbench_official,
    vl_rewardbench_official,
)
from r1reward.benchmarks import MM_RLHF, MULTIMODAL, VL
from r1reward.scoring import PairRecord, score
from r1reward.types import PreferencePair

ALWAYS_ONE = "<think>Response 1 is better.</think><answer>1</answer>"


def score_always_one(benchmarks: Mapping[str, Sequence[PreferencePair]]) -> list[dict[str, str | float]]:
    """Accuracy (a share of 1) by benchmark and protocol; the official scripts see the file's order."""
    rows: list[dict[str, str | float]] = []
    for name, pairs in benchmarks.items():
        records = [
            PairRecord(index, pair.category, pair.preferred, "11", (1, 1)) for index, pair in enumerate(pairs)
        ]
        if name == VL:
            own = vl_rewardbench_official({record.row: [record] for record in records}).overall
        elif name == MULTIMODAL:
            own = multimodal_rewardbench_official(records).overall
        elif name == MM_RLHF:
            questions = {index: str(pair.meta["question"]) for index, pair in enumerate(pairs)}
            own = mm_rlhf_rewardbench_official(records, questions).acc
        else:
            raise ValueError(f"no protocol of {name} is known")
        found = {
            "official script, file's order": own,
            "released script, preferred first": fmean(is_right_as_released(ALWAYS_ONE) for _ in pairs),
            "here, both orders": score(records).overall,
        }
        rows += [{"benchmark": name, "protocol": key, "accuracy": value} for key, value in found.items()]
    return rows
