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
from statistics import fmean

from r1reward.benchmarks import MM_RLHF, MULTIMODAL, VL
from r1reward.scoring import PairRecord, score
from r1reward.types import PreferencePair

OFFICIAL_SEED = 123
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class OfficialScores:
    """Accuracies (shares of 1) as a script prints them."""

    overall: float
    macro: float
    groups: dict[str, float]


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


def mm_rlhf_rewardbench_official(
    records: Iterable[PairRecord], ids: Mapping[int, str]
) -> tuple[float, float]:
    """`get_acc.py`: Acc over pairs and Acc+ over questions; `ids` names the question of each row.

    One order, with an answer that is not "1 for the chosen one" wrong.
    """
    right, questions = [], defaultdict[str, list[bool]](list)
    for record in records:
        right.append(record.verdicts[0] == record.answers[0])
        questions[ids[record.row]].append(right[-1])
    return fmean(right), fmean(map(all, questions.values()))


def is_right_as_released(text: str) -> bool:
    """Whether R1-Reward's released scripts count a text as right; they always show the chosen response first.

    The answer is the first `<answer>`, else the last 1 or 2. It counts if it is a number equal to 1, such as
    "1.0".
    """
    match = _ANSWER.search(text)
    answers = [match.group(1)] if match else re.findall(r"[12]", text)
    try:
        return bool(answers) and float(answers[-1]) == 1
    except ValueError:
        return False


def _scores(right: Mapping[str, Sequence[bool]]) -> OfficialScores:
    if not right:
        raise ValueError("no item is left to score")
    groups = {group: fmean(values) for group, values in sorted(right.items())}
    total = [value for values in right.values() for value in values]
    return OfficialScores(fmean(total), fmean(groups.values()), groups)


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
            own, _ = mm_rlhf_rewardbench_official(records, questions)
        else:
            raise ValueError(f"no protocol of {name} is known")
        found = {
            "official script, file's order": own,
            "released script, preferred first": fmean(is_right_as_released(ALWAYS_ONE) for _ in pairs),
            "here, both orders": score(records).accuracy,
        }
        rows += [{"benchmark": name, "protocol": key, "accuracy": value} for key, value in found.items()]
    return rows
