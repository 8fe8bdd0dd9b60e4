import json
from importlib.resources import files
from pathlib import Path

import pytest

from r1reward.report.columns import IDENTICAL, compare, score
from r1reward.report.paper import paper_table
from r1reward.report.reasoning import consistency_judges
from r1reward.report.records import Records
from r1reward.report.tables import judge_table, parse_tables, read_tables

PRINTED = {name: table.printed for name, table in read_tables().items() if table.printed}


@pytest.mark.parametrize("name", PRINTED)
def test_printed_rows_come_first_and_unchanged(records: Records, name: str) -> None:
    printed, frame = paper_table(PRINTED[name]), judge_table(records, name)
    shown = frame[frame["source"] == "paper"]
    assert list(shown.index) == list(range(len(printed)))
    assert shown[printed.columns].to_numpy().tolist() == printed.to_numpy().tolist()
    assert set(frame["source"]) <= {"paper", "measured", "not run"}


@pytest.mark.parametrize("name", PRINTED)
def test_without_records_nothing_is_measured(empty_root: Path, name: str) -> None:
    frame = judge_table(Records.of_run(empty_root), name)
    assert set(frame["source"]) == {"paper", "not run"}


def greedy(records: Records, model: str) -> dict[str, str]:
    frame = judge_table(records, "table_05")
    (row,) = frame[(frame["model"] == model) & (frame["decoding"] == "greedy")].to_dict("records")
    return row


def test_a_variant_that_ran_is_compared_with_the_reference(records: Records) -> None:
    row = greedy(records, "wo advantage†")
    scores, difference = (
        score(records, "wo_filter", "greedy"),
        compare(records, "stable_reinforce", "wo_filter", "greedy"),
    )
    assert scores and difference
    assert row["overall_acc"] == f"{100 * scores.overall.estimate:.2f}"
    assert row["difference"] == f"{100 * difference.estimate:.2f}"
    assert row["collapsed"] == "1 of 3" and row["acted"].startswith("Pre-CLIP 0, filter ")


def test_an_identical_variant_has_the_reference_numbers_and_no_verdict(records: Records) -> None:
    row, reference = greedy(records, "wo pre-clip†"), greedy(records, "StableReinforce†")
    assert row["acted"] == IDENTICAL["stable_reinforce"] and row["difference"] == ""
    assert row["overall_acc"] == reference["overall_acc"] != "not run"
    assert row["collapsed"] == reference["collapsed"] == "0 of 3"


def test_a_variant_that_repeats_reinforce_pp_has_its_numbers(run_root: Path) -> None:
    for seed in range(3):
        file = run_root / f"records/full_grid/ppo/seed_{seed}/run.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({"status": "identical", "same_as": "reinforce_pp", "seed": seed}))
    records = Records.of_run(run_root)
    row, same = greedy(records, "PPO-clip without a critic†"), greedy(records, "Reinforce++†")
    assert row["acted"] == IDENTICAL["reinforce_pp"]
    assert (row["overall_acc"], row["difference"]) == (same["overall_acc"], same["difference"])
    assert records.same_as("ppo") == "reinforce_pp" and records.same_as("wo_filter") == ""


def test_judges_are_listed_with_their_interval(run_root: Path) -> None:
    entry = {"accuracy": 0.9, "interval": [0.8, 0.95], "unknown": 1, "n": 50}
    (run_root / "records/judges.json").write_text(json.dumps({"strong": entry}))
    (row,) = consistency_judges(Records.of_run(run_root)).to_dict("records")
    assert (row["judge"], row["accuracy"], row["accuracy_low"], row["n"]) == (
        "strong",
        "90.00",
        "80.00",
        "50",
    )


def test_no_judges_were_trained(empty_root: Path) -> None:
    (row,) = consistency_judges(Records.of_run(empty_root)).to_dict("records")
    assert row["accuracy"] == "not run"


def test_models_with_a_head_have_no_sampled_rows(records: Records) -> None:
    frame = judge_table(records, "table_05")
    own = frame[frame["source"] != "paper"].set_index("model")
    for model in ("Reward Model", "MM-RLHF-Reward"):
        names = [name for name in own.index if name.startswith(model)]
        assert list(own.loc[names, "decoding"]) == ["scores"]
    assert set(own[own.index.str.startswith("StableReinforce")]["decoding"]) > {"greedy"}


def test_tables_5_and_6_say_how_often_runs_collapse_under_stress(run_root: Path, stress: dict) -> None:
    empty = judge_table(Records.of_run(run_root), "table_06")
    assert set(empty[empty["decoding"] == "greedy"]["stress"]) == {"not run"}
    del stress["between"]  # as in the grid before the axis
    stress["fresh"]["log_bound_5"] = {"collapsed": [0] * 5, "same_as": "stable_reinforce"}
    (run_root / "records" / "stress.json").write_text(json.dumps(stress))
    frame = judge_table(Records.of_run(run_root), "table_06")
    own = frame[frame["decoding"] == "greedy"].set_index("clip_ratio")["stress"]
    assert own["ratio <= 1000"] == "1 of 5 collapsed, 1 to 72 %"
    assert own["-"] == "0 of 5 collapsed, 0 to 52 %"
    assert own["|log ratio| <= 5"] == f"0 of 5 collapsed, 0 to 52 %, {IDENTICAL['stable_reinforce']}"
    assert own["ratio <= 5"] == ""
    note = frame.attrs["notes"][-1]
    assert "(3 of 5)" in note and note.endswith("the setting tells little apart.")
    assert "stress" not in judge_table(Records.of_run(run_root), "table_07")


def test_an_arm_shows_its_annotator_and_its_cold_start(records: Records) -> None:
    frame = judge_table(records, "table_10")
    (row,) = frame[frame["annotator"] == "weak (scripted)†"].to_dict("records")
    scores = score(records, "annotator_weak", "greedy")
    assert scores and row["overall_acc"] == f"{100 * scores.overall.estimate:.2f}"
    assert (row["right_at_once"], row["examples"], row["seeds"]) == ("70.00", "90", "3")


def test_an_arm_that_was_not_run_says_so(records: Records, empty_root: Path) -> None:
    frame = judge_table(records, "table_10")
    assert list(frame[frame["source"] == "not run"]["annotator"]) == [
        "weak, every attempt at temperature 1",
        "weak, asked in other words",
        "ideal",
    ]
    assert set(judge_table(Records.of_run(empty_root), "table_10")["source"]) == {"paper", "not run"}


def test_differences_of_annotators_are_paired(records: Records) -> None:
    frame = judge_table(records, "extra_annotators")
    found = compare(records, "annotator_strong", "annotator_weak", "greedy")
    assert found and frame["difference"][0] == f"{100 * found.estimate:.2f}"
    assert list(frame["source"]) == ["measured", "not run", "not run", "not run"]


FAULTS = [
    ('columns = ["variant", "decoding", ', 'columns = ["variant", "decodings", ', "decodings"),
    ('{ record = "no_cold_start", variant = ', "{ variant = ", "record"),
    ('{ record = "no_cold_start", variant = ', '{ record = "no_cold_start", varriant = ', "varriant"),
    ('"collapsed", "note = identical"]', '"collapsed", "note = identicall"]', "identicall"),
    ('notes = ["{interval}", "{left_out}"', 'notes = ["{intervall}", "{left_out}"', "intervall"),
    ('caption = "Further variants', 'title = "x"\ncaption = "Further variants', "title"),
]


@pytest.mark.parametrize(("right", "wrong", "named"), FAULTS)
def test_a_fault_of_a_table_is_refused_when_it_is_read(right: str, wrong: str, named: str) -> None:
    text = files("r1reward.report").joinpath("tables.toml").read_text(encoding="utf-8")
    assert right in text.split("[extra_full_grid]")[1]
    with pytest.raises(ValueError, match=rf"extra_full_grid: .*{named}"):
        parse_tables(text.replace(right, wrong))


def test_a_list_of_rows_that_is_not_there_is_refused() -> None:
    text = files("r1reward.report").joinpath("tables.toml").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match=r"table_03: .*jugdes"):
        parse_tables(text.replace('rows = "judges"', 'rows = "jugdes"', 1))
