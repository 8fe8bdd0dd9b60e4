"""The scripts' own formulas, followed by hand or written out again from their source."""

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
    released_answer,
    score_as_released,
    vl_rewardbench_official,
)
from r1reward.bench.vl_rewardbench import load_benchmark as load_vl
from r1reward.benchmarks import VL_RELEASED_COUNTS
from r1reward.files import read_json
from r1reward.scoring import PairRecord


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


def test_the_release_divides_by_three_groups_whichever_are_there() -> None:
    scores = score_as_released([("general", True), ("general", False), ("reasoning", True)])
    assert scores.groups == {"general": 0.5, "hallucination": 0.0, "reasoning": 1.0}
    assert (scores.macro, scores.overall, scores.sizes["hallucination"]) == (0.5, 2 / 3, 0)
    with pytest.raises(ValueError, match="'safety' is no group of VL-RewardBench"):
        score_as_released([("safety", True)])


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
    scores = mm_rlhf_rewardbench_official(records, ids)
    assert (scores.acc, scores.acc_plus) == (5 / 6, 2 / 3)
    assert scores.groups == {"mcq": (0.75, 0.5), "video": (1.0, 1.0)}


@pytest.mark.parametrize(
    ("text", "answer", "first_line", "right"),
    [
        ("<think>x</think><answer>1</answer>", "1", "1", True),
        ("<answer> 1.0 </answer>", "1.0", "1.0", True),
        ("<answer>1/2</answer>", "1/2", "1/2", False),
        ("<answer>2</answer><answer>1</answer>", "2", "2", False),
        ("A has 2 cats\nso the answer is 1", "1", "2", True),
        ("Response 2 is better", "2", "2", False),
        ("neither", None, None, False),
        ("<answer>nan</answer>", "nan", "nan", False),
    ],
)
def test_answers_are_read_as_the_release_reads_them(
    text: str, answer: Any, first_line: Any, right: bool
) -> None:
    assert released_answer(text) == answer
    assert released_answer(text, first_line_only=True) == first_line
    assert is_right_as_released(text) == right


def test_the_papers_row_follows_from_the_released_grouping() -> None:
    """Table 3 prints 63.84, 85.71, 64.78 and 71.92 for 309, 384 and 206 right answers."""
    right = {"general": (309, 484), "hallucination": (384, 448), "reasoning": (206, 318)}
    judged = [(group, i < count) for group, (count, total) in right.items() for i in range(total)]
    scores = score_as_released(judged)
    assert {group: round(100 * share, 2) for group, share in scores.groups.items()} == {
        "general": 63.84,
        "hallucination": 85.71,
        "reasoning": 64.78,
    }
    assert round(100 * scores.overall, 2) == 71.92
    # The printed 71.44 is the mean of the three printed cells, not of the shares (71.446).
    assert round(100 * scores.macro, 2) == 71.45
    assert round(sum(round(100 * share, 2) for share in scores.groups.values()) / 3, 2) == 71.44


def test_the_real_files_score_as_released(real_data: Path) -> None:
    photographs = sorted((real_data / "images").glob("*.jpg"))
    folder = real_data / "r1_reward"
    pairs = load_vl(folder / "vl_reward_bench_data.jsonl", stand_in_pictures=photographs)
    scores = score_as_released((pair.meta["as_released"], True) for pair in pairs)
    assert scores.sizes == VL_RELEASED_COUNTS
    questions = load_mm_rlhf(folder / "mm_reward_bench.jsonl", stand_in_pictures=photographs)
    records = [_record(pair.meta["row"], pair.category, "1") for pair in questions]
    perfect = mm_rlhf_rewardbench_official(records, {p.meta["row"]: p.meta["question"] for p in questions})
    assert (perfect.acc, perfect.acc_plus) == (1.0, 1.0)
