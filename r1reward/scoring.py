"""Scores of a pairwise benchmark: what is a right judgment, what counts, and means over groups and questions.

A pair is judged twice: in the file's order and with the responses exchanged. Accuracy is the mean over both.
Nothing here needs a model or knows of intervals. S seeds, N pairs, 2 orders.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from r1reward.files import read_jsonl, write_atomic
from r1reward.types import Position, Verdict

UnparsedPolicy = Literal["wrong", "drop", "coin"]
_ASKED = ("not_asked", 0)
COIN_SEED = 0
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


@dataclass(frozen=True, slots=True, eq=False)
class Judgments:
    """What one judge said about the pairs of a benchmark, over its seeds.

    `verdicts` (S, N, 2) are 1 or 2 as the model printed them, 0 for unparsed: order 0 is the file's,
    in order 1 the responses are exchanged. `preferred` (N,) is the better response in the file's order,
    `questions` (N,) names the question of each pair where several pairs are about one, and `rows` (N,)
    numbers the pairs in the benchmark. `unparsed` is the policy for answers without a verdict,
    `left_out` says how many faulty rows of the benchmark are no pairs, and why.
    """

    seeds: tuple[int, ...]
    groups: NDArray[np.str_]
    preferred: NDArray[np.int64]
    verdicts: NDArray[np.int64]
    tokens: NDArray[np.int64]
    questions: NDArray[np.str_]
    rows: NDArray[np.int64]
    unparsed: UnparsedPolicy = "wrong"
    left_out: str = ""

    @classmethod
    def of_runs(cls, runs: Mapping[int, Sequence[PairRecord]], *, unparsed: UnparsedPolicy) -> Judgments:
        """The records of some seeds about the same pairs; of no seed or pair is a ValueError."""
        first = next(iter(runs.values()), ())
        if not first:
            raise ValueError("no records to score")
        verdicts = [
            [["u12".index(mark) for mark in record.verdicts] for record in run] for run in runs.values()
        ]
        return cls(
            seeds=tuple(runs),
            groups=np.array([record.group for record in first]),
            preferred=np.array([record.preferred for record in first]),
            verdicts=np.array(verdicts),
            tokens=np.array([[record.tokens for record in run] for run in runs.values()]),
            questions=np.array([record.question for record in first]),
            rows=np.array([record.row for record in first]),
            unparsed=unparsed,
            left_out=first[0].left_out,
        )

    @property
    def answers(self) -> NDArray[np.int64]:
        """The number a right answer has, (N, 2)."""
        return np.stack([self.preferred, 3 - self.preferred], axis=1)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each verdict names the preferred response, (S, N, 2). Unparsed is wrong, or a coin's."""
        right = self.verdicts == self.answers[None]
        if self.unparsed != "coin":
            return right
        pairs = zip(self.rows.tolist(), self.answers.tolist(), strict=True)
        coins = [[coin(row, answer) for answer in pair] for row, pair in pairs]
        return np.where(self.verdicts == 0, np.array(coins)[None], right)

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Whether a pair counts in accuracies, (S, N): all, or under "drop" those with two verdicts."""
        parsed = self.verdicts.min(axis=2) > 0
        return parsed if self.unparsed == "drop" else np.ones_like(parsed)

    @property
    def values(self) -> NDArray[np.float64]:
        """Values (S, N) of the pairs whose mean is the accuracy; see `mean_values`."""
        return mean_values(self.correct.mean(axis=2), self.counted)

    @property
    def group_values(self) -> NDArray[np.float64]:
        """Values (S, N) of the pairs whose mean over a group is its accuracy; NaN where none of it counts."""
        correct, counted = self.correct.mean(axis=2), self.counted
        values = np.empty_like(correct)
        for group in set(self.groups.tolist()):
            inside = self.groups == group
            values[:, inside] = mean_values(correct[:, inside], counted[:, inside])
        return values

    @property
    def question_values(self) -> NDArray[np.float64]:
        """For each seed and question (S, Q) the share of the two orders in which all its pairs are right.

        Pairs that do not count are passed over, and so is a question of which none does.
        """
        names, index = np.unique(self.questions, return_inverse=True)
        wrong = np.zeros((len(names), len(self.seeds), 2), int)
        np.add.at(wrong, index, (~self.correct & self.counted[..., None]).swapaxes(0, 1))
        count = np.zeros((len(names), len(self.seeds)), int)
        np.add.at(count, index, self.counted.T)
        return mean_values((wrong == 0).mean(axis=2).T, (count > 0).T)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a judge answers, beside how often it is right. All but `mean_tokens` are shares of 1.

    `accuracy_first` and `accuracy_second` split accuracy by where the preferred response stood,
    `accuracy_given` and `accuracy_swapped` by the order of the pass. `order_consistency` is the share
    of pairs where both orders name the same response; `answer_one` is the share of "1" among parsed
    verdicts (0.5 is unbiased, because each pair is judged in both orders). Accuracies are of the pairs that
    count, NaN where none does; all else is of all.
    """

    accuracy: float
    accuracy_given: float
    accuracy_swapped: float
    accuracy_first: float
    accuracy_second: float
    order_consistency: float
    answer_one: float
    unparsed: float
    mean_tokens: float


def score(records: Sequence[PairRecord], *, unparsed: UnparsedPolicy = "wrong") -> Behaviour:
    """Score the records of one run; no record at all is a ValueError.

    An unparsed verdict is wrong (default), or its pair is left out of the accuracies in both orders
    (`drop`, as VL-RewardBench's own script drops an item), or a coin that depends on row and position alone
    decides (`coin`). Neither rows' nor responses' order changes the accuracy.
    """
    return behaviour(Judgments.of_runs({0: records}, unparsed=unparsed))


def behaviour(judged: Judgments) -> Behaviour:
    """Accuracy by order and position, consistency, share of answer "1", unparsed share, mean length."""
    verdicts, counted = judged.verdicts, judged.counted
    correct = judged.correct[counted]
    first = np.broadcast_to(judged.answers == 1, verdicts.shape)[counted]
    parsed = verdicts > 0
    same_response = parsed.all(axis=2) & (verdicts[..., 0] + verdicts[..., 1] == 3)
    return Behaviour(
        accuracy=_mean(correct),
        accuracy_given=_mean(correct[:, 0]),
        accuracy_swapped=_mean(correct[:, 1]),
        accuracy_first=_mean(correct[first]),
        accuracy_second=_mean(correct[~first]),
        order_consistency=_mean(same_response),
        answer_one=_mean(verdicts[parsed] == 1),
        unparsed=_mean(~parsed),
        mean_tokens=_mean(judged.tokens),
    )


def coin(row: int, answer: int) -> bool:
    """Whether an answer without a verdict counts as right, where a coin decides.

    It depends on where the preferred response stands, so that the file's order does not matter.
    """
    return bool(np.random.default_rng([COIN_SEED, row, answer]).integers(2))


def mean_values(values: NDArray[np.float64], counted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Values (S, N) whose plain mean is that of the counted ones, and whose spread is that mean's.

    Where all count they are the values. Else a ratio is made linear: one that counts deviates from the mean
    by as much more as fewer count, one that does not count not at all. NaN where none counts.
    """
    if counted.all():
        return values
    mean = float(values[counted].mean()) if counted.any() else float("nan")
    return mean + np.where(counted, values - mean, 0.0) * counted.size / max(1, int(counted.sum()))


def macro_values(values: NDArray[np.float64], groups: NDArray[np.str_]) -> NDArray[np.float64]:
    """Values (S, N) whose plain mean is the macro average and whose spread is the macro average's.

    Linearisation of a mean of ratios: each pair counts by its deviation from its group's mean, weighted
    N / (number of groups * group size), so that a resample with other group sizes is not penalised. A group
    without a value (NaN) is not averaged.
    """
    means = {group: values[:, groups == group].mean() for group in sorted(set(groups.tolist()))}
    means = {group: mean for group, mean in means.items() if np.isfinite(mean)}
    macro = float(np.mean(list(means.values())))
    linear = np.full_like(values, macro)
    for group, mean in means.items():
        inside = groups == group
        linear[:, inside] = macro + (values[:, inside] - mean) * len(groups) / (len(means) * inside.sum())
    return linear


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def write_records(path: str | Path, records: Sequence[PairRecord]) -> Path:
    """Write compact record lines, one a pair, atomically."""
    lines = []
    for record in records:
        line = {**asdict(record), "tokens": list(record.tokens)}
        line = {name: value for name, value in line.items() if value != "" and (name, value) != _ASKED}
        lines.append(json.dumps(line) + "\n")
    return write_atomic(path, "".join(lines))


def read_records(path: str | Path, *, lines: list[dict[str, Any]] | None = None) -> list[PairRecord]:
    """Records written by `write_records`, or their `lines`; a fault names file and row (ValueError)."""
    records = []
    for number, line in enumerate(read_jsonl(path) if lines is None else lines, start=1):
        try:
            first, second = line.pop("tokens")
            records.append(PairRecord(**line, tokens=(first, second)))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}, row {number}: {error}") from error
    return records
