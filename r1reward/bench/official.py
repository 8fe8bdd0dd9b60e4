"""The scores that the benchmarks' own scripts give, and those of R1-Reward's release.

They exist to compare with printed numbers. All see one order of each pair and treat answers without a verdict
in ways of their own, which is why `r1reward.scoring` is what this project reports.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from r1reward.benchmarks import VL_RELEASED_COUNTS
from r1reward.scoring import PairRecord

OFFICIAL_SEED = 123
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_LAST_ON_A_LINE = re.compile(r"[12](?!.*[12])")


@dataclass(frozen=True, slots=True)
class OfficialScores:
    """Accuracies (shares of 1) as a script prints them, and how many items each was counted over."""

    overall: float
    macro: float
    groups: dict[str, float]
    sizes: dict[str, int]


@dataclass(frozen=True, slots=True)
class AccPlus:
    """MM-RLHF-RewardBench: share of right pairs, and of questions of which every pair is right."""

    acc: float
    acc_plus: float
    groups: dict[str, tuple[float, float]]


def vl_rewardbench_official(samples: Mapping[int, Sequence[PairRecord]]) -> OfficialScores:
    """`cal.py`: majority of an item's samples in the given order; `samples` are by item, the k that count.

    An unparsed sample is one of the k: an item is left out where neither right nor wrong has more than half.
    (The script's `filter_out_doesntMatch` is computed and not used.) Where a group has no item the script
    stops; here `macro` is of the others.
    """
    right: dict[str, list[bool]] = defaultdict(list)
    for records in samples.values():
        marks = [record.verdicts[0] for record in records]
        agree = sum(mark == record.answers[0] for mark, record in zip(marks, records, strict=True))
        reject = len(marks) - marks.count("u") - agree
        if max(agree, reject) * 2 > len(marks):
            right[records[0].group].append(agree > reject)
    return _scores(right)


def multimodal_rewardbench_official(records: Iterable[PairRecord]) -> OfficialScores:
    """`2_get_accuracy.py`: a seeded coin for each unparsed answer, in the order of the file.

    `overall` is the script's "acc all"; the paper's Table 4 prints `macro`.
    """
    coin = random.Random(OFFICIAL_SEED)
    right: dict[str, list[bool]] = defaultdict(list)
    for record in records:
        mark = record.verdicts[0]
        if mark == "u":
            mark = "1" if coin.random() < 0.5 else "2"
        right[record.group].append(mark == record.answers[0])
    return _scores(right)


def mm_rlhf_rewardbench_official(records: Iterable[PairRecord], ids: Mapping[int, str]) -> AccPlus:
    """`get_acc.py`: Acc over pairs and Acc+ over questions; `ids` names the question of each row.

    One order, with an answer that is not "1 for the chosen one" wrong.
    """
    return acc_plus(((record, record.verdicts[0] == record.answers[0]) for record in records), ids)


def acc_plus(judged: Iterable[tuple[PairRecord, bool]], ids: Mapping[int, str]) -> AccPlus:
    """Acc and Acc+ from whether each pair is right; no pair at all is a ValueError."""
    pairs: dict[str, list[bool]] = defaultdict(list)
    questions: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    everywhere: dict[str, list[bool]] = defaultdict(list)
    for record, right in judged:
        pairs[record.group].append(right)
        questions[record.group][ids[record.row]].append(right)
        everywhere[ids[record.row]].append(right)
    if not pairs:
        raise ValueError("no records to score")
    groups = {
        group: (_share(right), _share([all(part) for part in questions[group].values()]))
        for group, right in pairs.items()
    }
    total = [value for right in pairs.values() for value in right]
    return AccPlus(_share(total), _share([all(part) for part in everywhere.values()]), groups)


def released_answer(text: str, *, first_line_only: bool = False) -> str | None:
    """What R1-Reward's released scripts take for the answer: the first `<answer>`, else the last 1 or 2.

    In the script for MM-RLHF-RewardBench (`first_line_only`) the last digit of the first line that has one
    is taken, because its pattern does not cross line ends.
    """
    if match := _ANSWER.search(text):
        return match.group(1).strip()
    if first_line_only:
        found = _LAST_ON_A_LINE.search(text)
        return found.group(0) if found else None
    digits = re.findall(r"[12]", text)
    return digits[-1] if digits else None


def is_right_as_released(text: str, *, first_line_only: bool = False) -> bool:
    """Whether the released scripts count a text as right; they always show the chosen response first.

    An answer counts if it is a number equal to 1, such as "1.0".
    """
    answer = released_answer(text, first_line_only=first_line_only)
    try:
        return answer is not None and float(answer) == 1
    except ValueError:
        return False


def score_as_released(right: Iterable[tuple[str, bool]]) -> OfficialScores:
    """`get_acc.py` of the release from (group, right) of each item: micro and macro accuracy.

    The script knows three groups and divides by three: one without an item has accuracy 0. Another group is
    a ValueError.
    """
    groups: dict[str, list[bool]] = {group: [] for group in VL_RELEASED_COUNTS}
    for group, value in right:
        if group not in groups:
            raise ValueError(f"{group!r} is no group of VL-RewardBench; there are {', '.join(groups)}")
        groups[group].append(value)
    return _scores(groups)


def _scores(right: Mapping[str, Sequence[bool]]) -> OfficialScores:
    if not any(right.values()):
        raise ValueError("no item is left to score")
    groups = {group: _share(values) for group, values in sorted(right.items())}
    total = [value for values in right.values() for value in values]
    sizes = {name: len(right[name]) for name in groups}
    return OfficialScores(_share(total), sum(groups.values()) / len(groups), groups, sizes)


def _share(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else 0.0
