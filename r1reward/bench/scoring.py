"""Scores of a pairwise benchmark from its records: accuracy, position bias, order consistency.

A pair is judged twice: in the file's order and with the responses exchanged. Accuracy is the mean over
both. Nothing here needs a model; intervals are added where scores are reported.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from r1reward.benchmarks import coin
from r1reward.files import read_jsonl, write_atomic
from r1reward.types import Position, Verdict

UnparsedPolicy = Literal["wrong", "drop", "coin"]
_ASKED = ("not_asked", 0)
MARKS = {Verdict.FIRST: "1", Verdict.SECOND: "2", Verdict.UNPARSED: "u"}


@dataclass(frozen=True, slots=True)
class PairRecord:
    """What a judge said about one pair: the compact line of a benchmark record.

    `preferred` is in the file's order. `verdicts` has a mark (1, 2 or u for unparsed) for the given and
    one for the swapped order, each as printed by the model there. `pictures` is empty if the pictures
    were the benchmark's own; `question` names the question where several pairs are about one; `unparsed`
    says how reports score a verdict "u" where it is not wrong. `left_out` says in words how many rows of the
    benchmark are in no record because they are faulty, and why; empty if none. `not_asked` counts the orders
    whose "u" stands for a pair that could not be shown to the judge.
    """

    row: int
    group: str
    preferred: Position
    verdicts: str
    tokens: tuple[int, int]
    pictures: str = ""
    question: str = ""
    unparsed: Literal["", "drop", "coin"] = ""
    left_out: str = ""
    not_asked: int = 0

    def __post_init__(self) -> None:
        if len(self.verdicts) != 2 or not set(self.verdicts) <= set("12u") or self.preferred not in (1, 2):
            raise ValueError(f"row {self.row}: verdicts {self.verdicts!r}, preferred {self.preferred!r}")

    @property
    def answers(self) -> str:
        """The marks of a judge that is right in both orders."""
        return "12" if self.preferred == 1 else "21"

    def swapped(self) -> PairRecord:
        """The same judgments as they would be recorded if the file had the other order."""
        return replace(
            self,
            preferred=2 if self.preferred == 1 else 1,
            verdicts=self.verdicts[::-1],
            tokens=self.tokens[::-1],
        )


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of one run; shares are of 1, nan where nothing was counted.

    `overall` is over all judgments, `macro` the mean of the accuracies of the groups that have a pair left.
    `by_order` splits by the
    order of the pass, `by_position` by where the preferred response stood. `order_consistency` is the
    share of pairs where both orders name the same response, `answer_one` the share of "1" among parsed
    verdicts, `unparsed_share` that of judgments without a verdict. The policy for unparsed verdicts
    acts on accuracies only; `num_dropped` pairs were left out of them by it.
    """

    overall: float
    macro: float
    groups: dict[str, float]
    group_sizes: dict[str, int]
    by_order: dict[str, float]
    by_position: dict[str, float]
    order_consistency: float
    answer_one: float
    unparsed_share: float
    mean_tokens: float
    unparsed: UnparsedPolicy
    num_pairs: int
    num_dropped: int


def score(records: Sequence[PairRecord], *, unparsed: UnparsedPolicy = "wrong", seed: int = 0) -> Scores:
    """Score the records of one run; no record at all is a ValueError.

    An unparsed verdict is wrong (default), or its pair is left out of the accuracies in both orders
    (`drop`, as VL-RewardBench's own script drops an item), or a coin that depends on `seed`, row and
    position alone decides (`coin`). Neither rows' nor responses' order changes the overall accuracy.
    """
    if not records:
        raise ValueError("no records to score")
    counted = [record for record in records if unparsed != "drop" or "u" not in record.verdicts]
    correct = np.array([_correct(record, unparsed, seed) for record in counted], float).reshape(-1, 2)
    first = np.array([[mark == "1" for mark in record.answers] for record in counted], bool).reshape(-1, 2)
    labels = np.array([record.group for record in counted])
    names = sorted({record.group for record in records})
    groups = {name: _mean(correct[labels == name]) if len(counted) else float("nan") for name in names}
    marks = "".join(record.verdicts for record in records)
    parsed = len(marks) - marks.count("u")
    return Scores(
        overall=_mean(correct),
        macro=_mean(np.array([share for share in groups.values() if not np.isnan(share)])),
        groups=groups,
        group_sizes={name: int((labels == name).sum()) if len(counted) else 0 for name in names},
        by_order={"given": _mean(correct[:, 0]), "swapped": _mean(correct[:, 1])},
        by_position={"1": _mean(correct[first]), "2": _mean(correct[~first])},
        order_consistency=_mean(np.array([record.verdicts in ("12", "21") for record in records], float)),
        answer_one=marks.count("1") / parsed if parsed else float("nan"),
        unparsed_share=marks.count("u") / len(marks),
        mean_tokens=_mean(np.array([record.tokens for record in records], float)),
        unparsed=unparsed,
        num_pairs=len(records),
        num_dropped=len(records) - len(counted),
    )


def _correct(record: PairRecord, unparsed: UnparsedPolicy, seed: int) -> list[bool]:
    return [
        coin(record.row, int(answer), seed=seed) if mark == "u" and unparsed == "coin" else mark == answer
        for mark, answer in zip(record.verdicts, record.answers, strict=True)
    ]


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def regroup(records: Sequence[PairRecord], groups: Mapping[int, str]) -> list[PairRecord]:
    """The same records with other groups by row, such as the grouping of the released code."""
    return [replace(record, group=groups[record.row]) for record in records]


def write_records(path: str | Path, records: Sequence[PairRecord]) -> Path:
    """Write compact record lines, one a pair, atomically."""
    lines = []
    for record in records:
        line = {**asdict(record), "tokens": list(record.tokens)}
        line = {name: value for name, value in line.items() if value != "" and (name, value) != _ASKED}
        lines.append(json.dumps(line) + "\n")
    return write_atomic(path, "".join(lines))


def read_records(path: str | Path) -> list[PairRecord]:
    """Records written by `write_records`; a fault names file and row (ValueError)."""
    records = []
    for number, line in enumerate(read_jsonl(path), start=1):
        try:
            first, second = line.pop("tokens")
            records.append(PairRecord(**line, tokens=(first, second)))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}, row {number}: {error}") from error
    return records
