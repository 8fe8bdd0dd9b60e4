from pathlib import Path

from r1reward.report.annotators import ARMS, annotator_differences, table_10
from r1reward.report.paper import paper_table
from r1reward.report.records import Records
from r1reward.report.scores import compare, score


def test_printed_rows_come_first_and_unchanged(records: Records) -> None:
    printed, frame = paper_table(10), table_10(records)
    assert frame.loc[: len(printed) - 1, list(printed.columns)].to_numpy().tolist() == printed.values.tolist()
    assert set(frame["source"]) == {"paper", "measured", "not run"}


def test_an_arm_shows_its_annotator_and_its_cold_start(records: Records) -> None:
    frame = table_10(records)
    (row,) = frame[frame["annotator"] == "weak (scripted)†"].to_dict("records")
    scores = score(records, "annotator_weak", "greedy")
    assert scores and row["overall_acc"] == f"{100 * scores.overall.estimate:.2f}"
    assert (row["right_at_once"], row["examples"], row["seeds"]) == ("70.00", "90", "3")


def test_what_was_not_run_says_so(records: Records, empty_root: Path) -> None:
    frame = table_10(records)
    assert list(frame[frame["source"] == "not run"]["annotator"]) == list(ARMS.values())[2:]
    assert set(table_10(Records.of_run(empty_root))["source"]) == {"paper", "not run"}


def test_differences_are_paired(records: Records) -> None:
    frame = annotator_differences(records)
    found = compare(records, "annotator_strong", "annotator_weak", "greedy")
    assert found and frame["difference"][0] == f"{100 * found.estimate:.2f}"
    assert list(frame["source"]) == ["measured", "not run", "not run"]
