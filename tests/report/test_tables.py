from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from r1reward.benchmarks import GROUP_COUNTS
from r1reward.report.base_model import base_model
from r1reward.report.construction import cold_start, table_02
from r1reward.report.layout import escape_latex, fold, to_csv, to_latex, to_markdown
from r1reward.report.paper import paper_table
from r1reward.report.records import Records
from r1reward.report.scores import score
from r1reward.report.tables import judge_table, read_tables

JUDGES = ("table_03", "table_04", "table_08")
table_03, table_04, table_08 = (partial(judge_table, name=name) for name in JUDGES)
judge_behaviour = partial(judge_table, name="extra_judge_behaviour")
paired_differences = partial(judge_table, name="extra_paired_differences")


@pytest.mark.parametrize(("make", "number"), [(table_02, 2), (table_03, 3), (table_04, 4), (table_08, 8)])
def test_paper_rows_are_printed_strings(records: Records, make, number: int) -> None:
    printed = paper_table(number)
    frame = make(records)
    shown = frame[frame["source"] == "paper"]
    assert shown[printed.columns].to_numpy().tolist() == printed.to_numpy().tolist()
    assert (shown["profile"] == "").all()
    assert set(frame["source"]) <= {"paper", "measured", "not run"}


def test_table_2_counts_and_what_is_missing(records: Records) -> None:
    frame = table_02(records)
    measured = frame[frame["source"] != "paper"].set_index("dataset")
    assert list(measured.loc["RLAIF-V", ["original", "sample", "dropped", "source"]]) == [
        "1,500",
        "1,000",
        "7",
        "measured",
    ]
    assert list(measured.loc["VL-Feedback", ["original", "sample", "source"]]) == ["not run"] * 3


def test_table_3_measured_row_is_the_score(records: Records) -> None:
    frame = table_03(records)
    row = frame[(frame["model"] == "StableReinforce†") & (frame["decoding"] == "greedy")].iloc[0]
    scores = score(records, "stable_reinforce", "greedy")
    assert scores is not None
    assert row["overall_acc"] == f"{100 * scores.overall.estimate:.2f}"
    assert row["macro_acc_low"] == f"{100 * scores.macro.low:.2f}"
    assert list(row[["source", "profile", "seeds", "n"]]) == ["measured", "synthetic", "3", "120"]


def test_every_column_of_the_paper_has_a_meaning(records: Records) -> None:
    for table in (read_tables()[name] for name in JUDGES):
        printed = set(paper_table(table.printed).columns) - {"group", "model", "reference", "params"}
        assert printed <= set(table.columns)
        named = {"group", "model", "reference", "params", "decoding", "overall", "macro", "all_right"}
        assert set(table.columns.values()) - named == set(GROUP_COUNTS[table.benchmark])


def test_table_8_counts_questions_of_which_every_pair_is_right(tmp_path: Path, write_jsonl) -> None:
    """Two questions of two pairs; the first is right in the file's order only, of the second one pair is."""
    same = {"group": "mcq", "preferred": 1, "tokens": [1, 1]}
    marks = [("12", "a"), ("11", "a"), ("12", "b"), ("2u", "b")]
    lines = [{**same, "row": row, "verdicts": v, "question": q} for row, (v, q) in enumerate(marks)]
    write_jsonl(tmp_path / "mine/records/bench/mm_rlhf_rewardbench/sft/seed_0/greedy.jsonl", lines)
    frame = table_08(Records.of_run(tmp_path / "mine"))
    row = frame[frame["source"] == "measured"].iloc[0]
    assert (row["acc"], row["acc_plus"], row["mcq"], row["video"]) == ("62.50", "25.00", "62.50", "not run")


def test_table_4_has_the_papers_overall_and_the_accuracy_over_pairs(tmp_path: Path, write_jsonl) -> None:
    marks = {"math": ["12", "12", "12"], "vqa": ["21"]}
    items = [(group, mark) for group, found in marks.items() for mark in found]
    lines = [
        {"row": row, "group": group, "preferred": 1, "verdicts": mark, "tokens": [1, 1]}
        for row, (group, mark) in enumerate(items)
    ]
    write_jsonl(tmp_path / "mine/records/bench/multimodal_rewardbench/sft/seed_0/greedy.jsonl", lines)
    row = table_04(Records.of_run(tmp_path / "mine")).query("source == 'measured'").iloc[0]
    assert (row["overall"], row["over_pairs"], row["reasoning_math"]) == ("50.00", "75.00", "100.00")


def test_daggers_mark_trained_models_only(records: Records) -> None:
    measured = table_03(records).query("source == 'measured'")["model"]
    assert set(measured[~measured.str.endswith("†")]) == {"Base model"}


def test_scripted_counts_are_labelled_scripted(records: Records) -> None:
    frame = cold_start(records).set_index("quantity")
    assert frame.loc["right at attempt 2", "source"] == "scripted"
    assert frame.loc["no attempt right", "value"] == "80"
    assert frame.loc["preferred response at position 1", "source"] == "measured"


def test_base_model_lists_each_skill(records: Records) -> None:
    frame = base_model(records).set_index("skill")
    assert list(frame.loc["existence", ["accuracy", "accuracy_low", "accuracy_high", "n"]]) == [
        "97.00",
        "95.00",
        "99.00",
        "200",
    ]


def test_paired_differences_have_their_size(records: Records) -> None:
    frame = paired_differences(records)
    assert set(frame["n"]) == {"120"}
    assert frame[["model", "minus", "decoding"]].duplicated().sum() == 0


@pytest.mark.parametrize(
    "make",
    [
        table_02,
        table_03,
        table_04,
        table_08,
        base_model,
        cold_start,
        judge_behaviour,
        paired_differences,
    ],
)
def test_without_records_every_own_row_says_not_run(empty_root: Path, make) -> None:
    frame = make(Records.of_run(empty_root))
    own = frame[frame["source"] != "paper"] if "source" in frame else frame
    assert len(own)
    assert own.apply(lambda row: "not run" in list(row), axis=1).all()
    numbers = own.drop(columns=["profile"], errors="ignore").apply(
        lambda column: column.str.contains(r"\d+\.\d\d")
    )
    assert not numbers.to_numpy().any()


SMALL = pd.DataFrame(
    {"model": ["a_b", "c|d"], "acc": ["1.00", "2"], "acc_low": ["0.50", ""], "acc_high": ["1.50", ""]}
)


def test_intervals_and_sources_fold_into_cells() -> None:
    frame = SMALL.assign(source=["measured", "paper"], profile=["mini", ""], seeds=["3", ""], n=["9", ""])
    folded = fold(frame)
    assert list(folded.columns) == ["model", "acc", "source"]
    assert list(folded["acc"]) == ["1.00 [0.50, 1.50]", "2"]
    assert list(folded["source"]) == ["measured (mini, 3 seeds, n = 9)", "paper"]


def test_the_three_forms() -> None:
    frame = SMALL.copy()
    frame.attrs = {"caption": "A 5 % table", "notes": ["One note."]}
    assert to_csv(frame).splitlines()[1] == "a_b,1.00,0.50,1.50"
    assert to_markdown(frame).splitlines()[2:6] == [
        "| Model | Acc |",
        "| --- | --- |",
        "| a_b | 1.00 [0.50, 1.50] |",
        "| c\\|d | 2 |",
    ]
    assert r"a\_b & 1.00 [0.50, 1.50] \\" in to_latex(frame)
    assert r"\caption{A 5 \% table}" in to_latex(frame)


def test_latex_is_escaped_once() -> None:
    assert escape_latex(r"50% \ {x} †") == r"50\% \textbackslash{} \{x\} $^\dagger$"
