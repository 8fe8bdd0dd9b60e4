import json
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from r1reward.benchmarks import GROUP_COUNTS
from r1reward.report.columns import IDENTICAL, cell_title, score
from r1reward.report.construction import base_model, cold_start, table_02
from r1reward.report.curves import figure_training_extras
from r1reward.report.layout import escape_latex, fold, to_csv, to_latex, to_markdown
from r1reward.report.paper import paper_table
from r1reward.report.records import Records
from r1reward.report.tables import judge_table, read_tables, stress_table
from r1reward.stats import share_interval
from r1reward.train.grid import VARIANTS
from r1reward.train.stress import Cell

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


def test_collapse_rates_have_exact_intervals(run_root: Path, stress: dict) -> None:
    (run_root / "records" / "stress.json").write_text(json.dumps(stress))
    frame = stress_table(Records.of_run(run_root))
    assert list(frame["collapsed"]) == [f"{n} of 5" for n in (1, 3, 1, 5, 3, 0)]
    low, high = share_interval(3, 5, method="exact")
    row = frame[frame["variant"] == "without the advantage filter"].iloc[0]
    shown = list(row[["share", "share_low", "share_high"]])
    assert shown == ["60.00", f"{100 * low:.2f}", f"{100 * high:.2f}"]
    chosen = (
        "hard: chosen on tuning seeds, by the collapses of Reinforce++ (3 of 5), before the fresh seeds ran."
    )
    assert frame.attrs["notes"][1] == f"The stress setting is {chosen}"


def test_cells_are_named_in_words() -> None:
    names = [cell_title(cell.name) for cell in (Cell(1e-4, 4, 2), Cell(2e-4, 1, 0, "bfloat16"))]
    assert names == [
        "rate 0.0001, passes 4, lag 2",
        "rate 0.0002, passes 1, lag 0, bfloat16",
    ]
    assert cell_title("rate_0.0002_epochs_4_sure") == "rate 0.0002, passes 4, sure pairs", "before the axis"
    assert cell_title("another") == "another"


def test_repeated_runs_and_harmful_hits_are_counted(run_root: Path, stress: dict, write_jsonl) -> None:
    (run_root / "records" / "stress.json").write_text(json.dumps(stress))
    hits = {f"pre_clip_{side}_{sign}": 0.0 for side in ("high", "low") for sign in ("positive", "negative")}
    for seed in range(200, 205):
        folder = run_root / f"records/stress/hard/wo_pre_clip/seed_{seed}"
        about = {"status": "collapsed", "device": "cpu", "seed": seed, "steps": seed - 190}
        other = run_root / f"records/stress/hard/reinforce_pp/seed_{seed}"
        other.mkdir(parents=True)
        (other / "run.json").write_text(json.dumps({**about, "steps": 7}))
        if seed < 203:
            about = {"status": "identical", "same_as": "reinforce_pp", "seed": seed}
        else:
            rows = [{"step": 1, **hits}, {"step": 2, **hits, "pre_clip_low_negative": 0.1}]
            rows.append({"step": 3, **hits, "pre_clip_high_negative": 0.1})
            rows = [{**row, "high_negative_share": 0.3} for row in rows]
            write_jsonl(folder / "metrics.jsonl", rows)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run.json").write_text(json.dumps(about))
    for seed in range(100, 105):  # those of the search in the same cell
        folder = run_root / f"records/stress/hard/reinforce_pp/seed_{seed}"
        folder.mkdir()
        (folder / "run.json").write_text(json.dumps({"status": "finished", "seed": seed, "steps": 1}))
    frame = stress_table(Records.of_run(run_root))
    assert frame[frame["variant"] == "Reinforce++"].iloc[-1]["steps"] == "7, 7, 7, 7, 7"
    row = frame[frame["variant"] == "without Pre-CLIP"].iloc[0]
    assert list(row[["repeated", "bound_passed", "device"]]) == ["3", "4 of 6 steps, 2 harmful", "cpu"]
    assert row["harmful_tokens"] == "3.3 % above the bound, 30 % above the range"
    assert row["steps"] == "7, 7, 7, 13, 14"


def test_a_variant_that_is_identical_by_construction_has_no_interval(run_root: Path, stress: dict) -> None:
    stress["fresh"]["wo_filter"]["same_as"] = "reinforce_pp"
    (run_root / "records" / "stress.json").write_text(json.dumps(stress))
    frame = stress_table(Records.of_run(run_root))
    row = frame[frame["variant"] == "without the advantage filter"].iloc[0]
    assert (row["share"], row["note"]) == ("", IDENTICAL["reinforce_pp"])


def test_without_records_nothing_is_measured(empty_root: Path) -> None:
    records = Records.of_run(empty_root)
    assert list(stress_table(records)["collapsed"]) == ["not run"]
    assert set(judge_table(records, "extra_full_grid")["source"]) == {"not run"}
    texts = [text.get_text() for axes in figure_training_extras(records).axes for text in axes.texts]
    assert texts == ["not run"] * 4


def test_every_variant_beyond_the_core_is_shown_somewhere() -> None:
    beyond = {variant.name for variant in VARIANTS.values() if not variant.core and not variant.tables}
    assert {row.record for row in read_tables()["extra_full_grid"].rows} == beyond


@pytest.mark.parametrize("number", [5, 6, 7, 13])
def test_every_variant_has_a_row_in_its_tables(number: int) -> None:
    shown = {row.record for row in read_tables()[f"table_{number:02d}"].rows}
    assert {variant.name for variant in VARIANTS.values() if number in variant.tables} <= shown
