from pathlib import Path

import numpy as np
import pytest

from r1reward.files import write_json
from r1reward.report.records import Records

LINES = [
    {"row": 1, "group": "hallucination", "preferred": 2, "verdicts": "21", "tokens": [10, 12]},
    {"row": 0, "group": "general", "preferred": 1, "verdicts": "1u", "tokens": [20, 22]},
]


def bench_file(root: Path, model: str, *, seed: int = 0, mode: str = "greedy") -> Path:
    return root / "records" / "bench" / "vl_rewardbench" / model / f"seed_{seed}" / f"{mode}.jsonl"


def test_bench_is_sorted_by_row_and_scored_in_both_orders(empty_root: Path, write_jsonl) -> None:
    write_jsonl(bench_file(empty_root, "sft"), LINES)
    runs = Records.of_run(empty_root).bench("sft", "greedy")
    assert runs is not None
    assert list(runs.groups) == ["general", "hallucination"]
    assert runs.verdicts.tolist() == [[[1, 0], [2, 1]]]
    # Row 0: right, unparsed. Row 1: the better one is 2, and 1 after the swap: both right.
    assert runs.correct.tolist() == [[[True, False], [True, True]]]
    assert runs.values.tolist() == [[0.5, 1.0]]


def test_seeds_are_stacked_in_order(empty_root: Path, write_jsonl) -> None:
    wrong = [line | {"verdicts": "uu"} for line in LINES]
    write_jsonl(bench_file(empty_root, "sft", seed=10), wrong)
    write_jsonl(bench_file(empty_root, "sft", seed=2), LINES)
    runs = Records.of_run(empty_root).bench("sft", "greedy")
    assert runs is not None
    assert runs.seeds == (2, 10)
    assert runs.values.tolist() == [[0.5, 1.0], [0.0, 0.0]]


def test_runs_of_the_core_grid_go_before_those_of_the_full_one(empty_root: Path) -> None:
    for grid, seed in (("grid", 0), ("full_grid", 0), ("full_grid", 1)):
        write_json(empty_root / f"records/{grid}/wo_filter/seed_{seed}/run.json", {"status": "finished"})
    found = Records.of_run(empty_root).grid_folders("wo_filter")
    assert found == {0: "grid/wo_filter/seed_0", 1: "full_grid/wo_filter/seed_1"}


def test_missing_records_are_none(empty_root: Path) -> None:
    records = Records.of_run(empty_root)
    assert records.profile == "synthetic"
    assert (records.base(), records.data(), records.training("stable_reinforce")) == (None, None, None)
    assert records.bench("sft", "greedy") is None


def test_seeds_with_other_pairs_are_refused(empty_root: Path, write_jsonl) -> None:
    write_jsonl(bench_file(empty_root, "sft", seed=0), LINES)
    write_jsonl(bench_file(empty_root, "sft", seed=1), LINES[:1])
    with pytest.raises(ValueError, match=r"seed_1.*other pairs"):
        Records.of_run(empty_root).bench("sft", "greedy")


@pytest.mark.parametrize(
    "change",
    [{"verdicts": "12u"}, {"verdicts": "13"}, {"preferred": 0}, {"group": "safety"}, {"row": 0}],
)
def test_a_broken_line_is_refused_with_the_file_s_name(empty_root: Path, write_jsonl, change: dict) -> None:
    write_jsonl(bench_file(empty_root, "sft"), [LINES[0] | change, LINES[1]])
    with pytest.raises(ValueError, match=r"greedy\.jsonl"):
        Records.of_run(empty_root).bench("sft", "greedy")


def test_training_joins_seeds(run_root: Path) -> None:
    frame = Records.of_run(run_root).training("stable_reinforce")
    assert frame is not None
    assert frame.groupby("seed")["step"].apply(list).tolist() == [list(range(40))] * 3
    assert np.isfinite(frame["reward"]).all()


def test_a_step_recorded_twice_is_refused(empty_root: Path, write_jsonl) -> None:
    path = empty_root / "records" / "rl" / "reinforce_pp" / "seed_0" / "metrics.jsonl"
    write_jsonl(path, [{"step": 1, "reward": 1.0}, {"step": 1, "reward": 1.0}])
    with pytest.raises(ValueError, match="recorded twice"):
        Records.of_run(empty_root).training("reinforce_pp")


@pytest.mark.parametrize(
    ("annotator", "expected"), [("scripted", True), ("ScriptedAnnotator", True), ("gpt-4o", False)]
)
def test_scripted_inputs_follow_the_annotator(empty_root: Path, annotator: str, expected: bool) -> None:
    (empty_root / "records" / "data.json").write_text(f'{{"annotator": "{annotator}"}}', encoding="utf-8")
    records = Records.of_run(empty_root)
    assert records.scripted("stable_reinforce") is expected
    assert records.scripted("base") is False
