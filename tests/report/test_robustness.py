import json
from pathlib import Path

from r1reward.report.columns import IDENTICAL
from r1reward.report.curves import figure_training_extras
from r1reward.report.records import Records
from r1reward.report.robustness import stress_table
from r1reward.report.tables import judge_table, read_tables
from r1reward.stats import exact_interval
from r1reward.train.grid import VARIANTS


def test_collapse_rates_have_exact_intervals(run_root: Path, stress: dict) -> None:
    (run_root / "records" / "stress.json").write_text(json.dumps(stress))
    frame = stress_table(Records.of_run(run_root))
    assert list(frame["collapsed"]) == [f"{n} of 5" for n in (0, 2, 1, 4, 1, 5, 3, 0)]
    low, high = exact_interval(3, 5)
    row = frame[frame["variant"] == "without the advantage filter"].iloc[0]
    shown = list(row[["share", "share_low", "share_high"]])
    assert shown == ["60.00", f"{100 * low:.2f}", f"{100 * high:.2f}"]
    assert "the first cell, mildest first" in frame.attrs["notes"][1]


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
