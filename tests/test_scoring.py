import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1reward.benchmarks import GROUP_COUNTS, VL, VL_RELEASED_COUNTS
from r1reward.report.columns import score_runs
from r1reward.report.records import Records
from r1reward.report.tables import interval_note, judge_table
from r1reward.scoring import (
    Judgments,
    PairRecord,
    behaviour,
    macro_values,
    read_records,
    score,
    write_records,
)

RECORDS = [
    PairRecord(0, "general", 1, "12", (3, 5)),  # right twice
    PairRecord(1, "general", 2, "11", (3, 5)),  # always 1: right in the swapped order only
    PairRecord(2, "reasoning", 1, "u2", (4, 4)),  # unparsed, then right
    PairRecord(3, "hallucination", 2, "12", (1, 1)),  # wrong twice, but of one mind
]
records_strategy = st.lists(
    st.builds(
        PairRecord,
        row=st.integers(0, 10_000),
        group=st.sampled_from(["general", "hallucination", "reasoning"]),
        preferred=st.sampled_from([1, 2]),
        verdicts=st.text("12u", min_size=2, max_size=2),
        tokens=st.tuples(st.integers(0, 99), st.integers(0, 99)),
    ),
    min_size=1,
    max_size=20,
    unique_by=lambda record: record.row,
)


def exchanged(record: PairRecord) -> PairRecord:
    """The same judgments as they would be recorded if the file had the other order."""
    tokens, verdicts = record.tokens[::-1], record.verdicts[::-1]
    return replace(record, preferred=2 if record.preferred == 1 else 1, verdicts=verdicts, tokens=tokens)


def _same(a: object, b: object) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, float) and isinstance(b, float):
        return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, abs_tol=1e-12)
    return a == b


def groups_of(records: list[PairRecord], policy: Any = "wrong") -> tuple[dict[str, float], float]:
    """Accuracy by group, NaN where no pair of it counts, and the mean of the others."""
    judged = Judgments.of_runs({0: records}, unparsed=policy)
    values = judged.group_values
    groups = {str(name): float(values[:, judged.groups == name].mean()) for name in set(judged.groups)}
    return groups, float(macro_values(values, judged.groups).mean())


def test_scores_by_hand() -> None:
    scores, (groups, macro) = score(RECORDS), groups_of(RECORDS)
    assert scores.accuracy == 4 / 8
    assert groups == {"general": 0.75, "reasoning": 0.5, "hallucination": 0.0}
    assert macro == pytest.approx(1.25 / 3)
    assert (scores.accuracy_given, scores.accuracy_swapped) == (0.25, 0.75)
    # The preferred response stands first in: row 0 given, row 1 swapped, row 2 given, row 3 swapped.
    assert (scores.accuracy_first, scores.accuracy_second) == (0.5, 0.5)
    assert scores.order_consistency == 0.5
    assert scores.answer_one == 4 / 7 and scores.unparsed == 1 / 8
    assert scores.mean_tokens == 26 / 8


def test_dropping_leaves_out_the_whole_pair_from_accuracies_only() -> None:
    scores, (groups, _) = score(RECORDS, unparsed="drop"), groups_of(RECORDS, "drop")
    assert scores.accuracy == 3 / 6
    assert math.isnan(groups["reasoning"]) and groups["general"] == 0.75
    assert scores.unparsed == 1 / 8 and scores.order_consistency == 0.5


def test_dropping_everything_is_nan_and_not_a_score() -> None:
    scores = score([PairRecord(0, "general", 1, "uu", (1, 1))], unparsed="drop")
    assert math.isnan(scores.accuracy) and math.isnan(scores.answer_one)


def test_the_coin_is_fair_and_follows_from_the_row() -> None:
    silent = [PairRecord(row, "general", 1, "uu", (0, 0)) for row in range(1000)]
    assert score(silent).accuracy == 0
    first, second = (score(silent[half], unparsed="coin").accuracy for half in (slice(500), slice(500, 1000)))
    assert first == score(silent[499::-1], unparsed="coin").accuracy != second
    assert 0.4 < first < 0.6 and 0.4 < second < 0.6


@given(records_strategy, st.sampled_from(["wrong", "drop", "coin"]))
def test_neither_the_order_of_rows_nor_of_responses_matters(records: list[PairRecord], policy: str) -> None:
    scores = asdict(score(records, unparsed=policy))  # type: ignore[arg-type]
    assert _same(scores, asdict(score(records[::-1], unparsed=policy)))  # type: ignore[arg-type]
    swapped = asdict(score([exchanged(record) for record in records], unparsed=policy))  # type: ignore[arg-type]
    assert _same(swapped.pop("accuracy_given"), scores.pop("accuracy_swapped"))
    assert _same(swapped.pop("accuracy_swapped"), scores.pop("accuracy_given"))
    assert _same(swapped, scores)


@given(records_strategy)
def test_a_judge_that_always_says_one_scores_one_half(records: list[PairRecord]) -> None:
    constant = [PairRecord(r.row, r.group, r.preferred, "11", r.tokens) for r in records]
    scores = score(constant)
    assert (scores.accuracy, scores.answer_one, scores.order_consistency) == (0.5, 1.0, 0.0)
    assert (scores.accuracy_first, scores.accuracy_second) == (1.0, 0.0)


def test_the_papers_row_follows_from_the_released_grouping() -> None:
    """309/484, 384/448 and 206/318 are 899/1250 = 71.92 (paper, Table 3), under the wrong grouping only."""
    rows, right = [], {"general": 309, "hallucination": 384, "reasoning": 206}
    for group, size in VL_RELEASED_COUNTS.items():
        rows += [(group, index < right[group]) for index in range(size)]
    records = [PairRecord(i, g, 1, "12" if ok else "21", (0, 0)) for i, (g, ok) in enumerate(rows)]
    groups, macro = groups_of(records)
    printed = {group: round(100 * value, 2) for group, value in groups.items()}
    assert printed == {"general": 63.84, "hallucination": 85.71, "reasoning": 64.78}
    # The 71.44 of Tables 7 and 13 is the mean of the three rounded numbers.
    assert round(100 * score(records).accuracy, 2) == 71.92 and round(100 * macro, 2) == 71.45
    assert round(sum(GROUP_COUNTS[VL][group] * value for group, value in printed.items()) / 1250, 2) == 77.18


def test_no_records_are_no_score() -> None:
    with pytest.raises(ValueError, match="no records"):
        score([])


@settings(max_examples=40)
@given(records_strategy, st.sampled_from(["", "drop", "coin"]))
def test_records_survive_the_file_and_the_report_agrees(records: list[PairRecord], policy: Any) -> None:
    """Whatever the policy that the record names: the same numbers by two ways."""
    records = [replace(record, unparsed=policy) for record in records]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "records" / "bench" / "vl_rewardbench" / "sft" / "seed_0" / "greedy.jsonl"
        write_records(path, records)
        assert read_records(path) == records
        runs = Records.of_run(Path(folder)).bench("sft", "greedy")
    assert runs is not None
    ours = score(records, unparsed=policy or "wrong")
    assert _same(asdict(ours), asdict(behaviour(runs)))
    if not math.isnan(ours.accuracy):
        shown, (groups, macro) = score_runs(runs), groups_of(records, policy or "wrong")
        assert _same(ours.accuracy, shown.overall.estimate) and _same(macro, shown.macro.estimate)
        groups = {group: share for group, share in groups.items() if not math.isnan(share)}
        assert _same(groups, {group: interval.estimate for group, interval in shown.groups.items()})


def test_a_group_without_a_value_leaves_the_spread_of_the_macro_average_to_the_others() -> None:
    """Groups of means 1/2 and 1, so that one of six pairs moves the macro average by 6/4 of its deviation."""
    values = np.array([[1.0, 0.0, 1.0, 1.0, np.nan, np.nan]])
    linear = macro_values(values, np.array(list("aabbcc")))
    assert linear.tolist() == [[1.5, 0.0, 0.75, 0.75, 0.75, 0.75]]


def test_a_group_whose_pairs_are_all_dropped_is_not_averaged() -> None:
    """Of general 0.75 and hallucination 0 is 0.375; nothing is left of reasoning."""
    groups, macro = groups_of(RECORDS, "drop")
    assert math.isnan(groups["reasoning"]) and macro == 0.375


@pytest.mark.parametrize(
    ("policy", "overall", "macro", "n"), [("", "50.00", "41.67", "4"), ("drop", "50.00", "37.50", "4")]
)
def test_the_policy_of_the_record_changes_the_tables(
    policy: Any, overall: str, macro: str, n: str, tmp_path: Path
) -> None:
    path = tmp_path / "records/bench/vl_rewardbench/stable_reinforce/seed_0/greedy.jsonl"
    write_records(path, [replace(record, unparsed=policy) for record in RECORDS])
    records = Records.of_run(tmp_path)
    frame = judge_table(records, "table_03")
    row = frame[frame["model"].str.startswith("StableReinforce") & (frame["source"] == "measured")].iloc[0]
    assert (row["overall_acc"], row["macro_acc"], row["n"]) == (overall, macro, n)
    words = {"": "unparsed answers wrong", "drop": "pairs with an unparsed answer left out"}
    assert words[policy] in interval_note(records) and interval_note(records) in frame.attrs["notes"]


def test_records_of_one_model_have_one_policy(tmp_path: Path) -> None:
    for seed, policy in enumerate(("", "drop")):
        place = tmp_path / f"records/bench/vl_rewardbench/sft/seed_{seed}/greedy.jsonl"
        write_records(place, [replace(record, unparsed=policy) for record in RECORDS])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"seed_1.*without a verdict"):
        Records.of_run(tmp_path).bench("sft", "greedy")


def test_stand_ins_are_labelled_in_the_line(tmp_path: Path) -> None:
    labelled = PairRecord(0, "general", 1, "12", (1, 1), pictures="blank")
    path = write_records(tmp_path / "r.jsonl", [labelled, RECORDS[1]])
    lines = path.read_text().splitlines()
    assert '"pictures": "blank"' in lines[0] and "pictures" not in lines[1]
    assert read_records(path) == [labelled, RECORDS[1]]


def test_a_line_says_no_more_than_there_is_to_say(tmp_path: Path) -> None:
    plain = PairRecord(0, "general", 1, "12", (1, 2))
    told = replace(plain, pictures="blank", question="q", unparsed="coin", left_out="2 rows", not_asked=1)
    lines = [
        json.loads(line)
        for line in write_records(tmp_path / "r.jsonl", [plain, told]).read_text().splitlines()
    ]
    common = {"row": 0, "group": "general", "preferred": 1, "verdicts": "12", "tokens": [1, 2]}
    more = {"pictures": "blank", "question": "q", "unparsed": "coin", "left_out": "2 rows", "not_asked": 1}
    assert lines == [common, common | more]


@pytest.mark.parametrize(
    "line", ['{"row": 0}', '{"row": 0, "group": "g", "preferred": 1, "verdicts": "1x", "tokens": [1, 1]}']
)
def test_faulty_lines_name_file_and_row(line: str, tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text(line + "\n")
    with pytest.raises(ValueError, match=r"r\.jsonl, row 1"):
        read_records(tmp_path / "r.jsonl")
