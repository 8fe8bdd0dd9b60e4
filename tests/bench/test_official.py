"""The benchmarks' own scores and the released ones, and what a judge gets by them that always says 1."""

import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from r1reward.bench.mm_rlhf_rewardbench import load_benchmark as load_mm_rlhf
from r1reward.bench.official import (
    is_right_as_released,
    mm_rlhf_rewardbench_official,
    multimodal_rewardbench_official,
    score_always_one,
    vl_rewardbench_official,
)
from r1reward.benchmarks import MM_RLHF, MULTIMODAL, VL
from r1reward.files import read_json
from r1reward.scoring import PairRecord
from r1reward.types import PreferencePair


def _record(row: int, group: str, mark: str, preferred: int = 1) -> PairRecord:
    return PairRecord(row, group, preferred, mark + "1", (1, 1))  # type: ignore[arg-type]


CAL = read_json(Path(__file__).parent / "official_vl_rewardbench.json")


@pytest.mark.parametrize("case", CAL, ids=lambda case: f"k={case['k']}")
def test_vl_rewardbench_prints_what_cal_prints(case: dict[str, Any]) -> None:
    """Marks of the samples of each item, and what `cal.py` printed for them."""
    samples = {}
    for group, items in case["marks"].items():
        for marks in items.split():
            row = len(samples)
            preferred = 1 + row % 2
            shown = marks if preferred == 1 else marks.translate(str.maketrans("12", "21"))
            samples[row] = [_record(row, group, mark, preferred) for mark in shown]
    scores = vl_rewardbench_official(samples)
    found = {**scores.groups, "overall": scores.overall, "macro": scores.macro}
    assert {name: round(100 * value, 2) for name, value in found.items()} == case["printed"]


@pytest.mark.parametrize(
    ("marks", "right"),
    [("11u", 1.0), ("22u", 0.0), ("12u", None), ("1uu", None), ("12", None), ("1", 1.0), ("u", None)],
)
def test_an_unparsed_sample_is_one_of_the_k(marks: str, right: float | None) -> None:
    samples = {0: [_record(0, "general", mark) for mark in marks], 1: [_record(1, "reasoning", "1")]}
    assert vl_rewardbench_official(samples).groups.get("general") == right


def test_nothing_to_score_is_an_error() -> None:
    with pytest.raises(ValueError, match="no item is left"):
        vl_rewardbench_official({0: [_record(0, "general", "u")]})


def test_multimodal_rewardbench_throws_the_scripts_coin() -> None:
    marks = "1u2uuu12u"
    records = [_record(row, "vqa" if row % 3 else "math", mark) for row, mark in enumerate(marks)]
    random.seed(123)
    accs: dict[str, list[int]] = defaultdict(list)
    for record, mark in zip(records, marks, strict=True):
        output = {"1": "[[A]]", "2": "[[B]]", "u": "no verdict"}[mark]
        if "[[A]]" in output:
            pred = "A"
        elif "[[B]]" in output:
            pred = "B"
        else:
            pred = "A" if random.random() < 0.5 else "B"
        for name in ("all", record.group):
            accs[name].append(int(pred == "A"))
    scores = multimodal_rewardbench_official(records)
    assert scores.overall == sum(accs["all"]) / len(accs["all"])
    assert scores.groups == {name: sum(accs[name]) / len(accs[name]) for name in ("math", "vqa")}


def test_acc_plus_needs_every_pair_of_a_question() -> None:
    marks = {"mcq": "1121", "video": "11"}
    records = [_record(row, "mcq", mark) for row, mark in enumerate(marks["mcq"])]
    records += [_record(4 + row, "video", mark) for row, mark in enumerate(marks["video"])]
    ids = {0: "a", 1: "a", 2: "b", 3: "b", 4: "c", 5: "c"}
    assert mm_rlhf_rewardbench_official(records, ids) == (5 / 6, 2 / 3)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("<think>x</think><answer>1</answer>", True),
        ("<answer> 1.0 </answer>", True),
        ("<answer>1/2</answer>", False),
        ("<answer>2</answer><answer>1</answer>", False),
        ("A has 2 cats\nso the answer is 1", True),
        ("Response 2 is better", False),
        ("neither", False),
        ("<answer>nan</answer>", False),
    ],
)
def test_answers_are_read_as_the_release_reads_them(text: str, right: bool) -> None:
    assert is_right_as_released(text) == right


def test_a_perfect_judge_of_the_real_file_scores_one(real_data: Path) -> None:
    photographs = sorted((real_data / "images").glob("*.jpg"))
    questions = load_mm_rlhf(real_data / "r1_reward" / "mm_reward_bench.jsonl", stand_in_pictures=photographs)
    records = [_record(pair.meta["row"], pair.category, "1") for pair in questions]
    ids = {pair.meta["row"]: pair.meta["question"] for pair in questions}
    assert mm_rlhf_rewardbench_official(records, ids) == (1.0, 1.0)


def pairs(preferred: list[int]) -> list[PreferencePair]:
    return [
        PreferencePair(f"p-{i}", "p", "q", ("a", "b"), side, category="g", meta={"question": str(i)})  # type: ignore[arg-type]
        for i, side in enumerate(preferred)
    ]


def test_each_protocol_by_hand() -> None:
    rows = score_always_one(
        {VL: pairs([1, 2, 2, 2]), MULTIMODAL: pairs([1, 1, 1, 2]), MM_RLHF: pairs([1, 1])}
    )
    found = {(row["benchmark"], str(row["protocol"]).split(",")[0]): row["accuracy"] for row in rows}
    assert [found[name, "official script"] for name in (VL, MULTIMODAL, MM_RLHF)] == [0.25, 0.75, 1.0]
    assert [found[name, "released script"] for name in (VL, MULTIMODAL, MM_RLHF)] == [1.0, 1.0, 1.0]
    assert [found[name, "here"] for name in (VL, MULTIMODAL, MM_RLHF)] == [0.5, 0.5, 0.5]
    with pytest.raises(ValueError, match="no protocol of other"):
        score_always_one({"other": pairs([1])})
