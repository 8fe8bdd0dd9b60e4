"""The audit's findings, against the facts that are known of the paper's tables."""

from pathlib import Path

import pytest

from r1reward.algo.advantages import DEFAULT_LIMIT
from r1reward.config import load_profile
from r1reward.report.audit import (
    always_one,
    best_by_dimension,
    differences,
    gains,
    ours,
    overall_rules,
    read_differences,
    released_settings,
    whole_counts,
)
from r1reward.report.records import Records
from r1reward.train.grid import VARIANTS
from r1reward.types import Verdict


def test_overall_means_different_things() -> None:
    frame = overall_rules()
    rules = {(row["table"], row["row"]): row["follows by"] for row in frame.to_dict("records")}
    assert rules["3", "R1-Reward"] == rules["5", "wo pre-clip"] == "released"
    assert rules["3", "Gemini-1.5-Pro (2024-09-24)"] == "over pairs"
    assert rules["3", "Voting@15"] == rules["5", "wo advantage"] == rules["10", "GPT-4o"] == "no rule"
    assert {rule for (table, _), rule in rules.items() if table == "7"} == {"mean of the groups"}
    assert all("mean of the groups" in rule for (table, _), rule in rules.items() if table == "4")
    assert rules["8", "R1-Reward"] == rules["8", "Voting@15"] == "over pairs"
    assert rules["8", "SliME"] == rules["8", "VITA-1.5"] == "no rule"


def test_general_of_table_3_is_a_count_in_the_released_groups_only() -> None:
    counts = whole_counts().set_index(["table", "model", "group"])
    assert list(counts.loc[("3", "R1-Reward", "general"), ["official", "released"]]) == ["none", "309/484"]
    assert counts.loc[("8", "R1-Reward", "questions (Acc+)"), "official"] == "25/46"
    assert set(counts.loc["8"]["official"]) & {"none"} == set()


def test_gains_are_traced_or_said_not_to_follow() -> None:
    frame = gains().set_index(["section", "printed"])["follows from"]
    assert "R1-Reward over IXC-2.5-Reward, relative: 9.30" in frame["4.1", "9.3%"]
    assert "Gemini 1.5 Pro, the best other row, relative: 14.33 (rounded)" in frame["4.1", "14.3%"]
    assert frame["abstract", "8.4%"] == "R1-Reward over Claude-3.7-Sonnet, relative: 8.46 (cut)"
    assert frame["1", "13.5%"] == frame["1", "14.6%"] == "no two rows of the table"
    assert "Voting@5 (text) over Claude-3.7-Sonnet" in frame["1", "3.5%"]


def test_two_dimensions_of_table_4_have_another_best_row() -> None:
    frame = best_by_dimension().set_index("column")
    assert set(frame.index[frame["R1-Reward is"] == "not best"]) == {"knowledge", "vqa"}


def test_released_settings_name_what_differs() -> None:
    frame = released_settings().set_index("setting")
    assert list(frame.loc["rl.learning_rate"]) == ["1e-06", "3e-07"]
    assert "rl.kl_coef" in frame.index and "rl.clip_eps" not in frame.index


def test_differences_are_read_from_this_code() -> None:
    """At least the seven kinds that a reader of both codes finds, each with its place in the released one."""
    frame = differences().set_index("difference")
    here = frame["this code"]
    assert here["which advantages the filter drops"] == f"DEFAULT_LIMIT = {DEFAULT_LIMIT}"
    assert here["model that RL starts from"] == f"Variant.start = {VARIANTS['stable_reinforce'].start}"
    assert here["what the loss is averaged over"] == "rl.loss_reduction = token"
    assert frame.loc["what the loss is averaged over", "switched by"] == "rl.loss_reduction = response"
    assert frame.loc["consistency reward of a contradicted answer", "switched by"].endswith("-1.0")
    assert not Verdict.UNPARSED.agrees_with(1) and here["result reward"].endswith("without one gets 0")
    assert frame["where"].str.contains(r"\.(?:py|sh|md):\d").all()
    cannot = int((frame["switched by"] == "").sum())
    note = f"{len(frame)} differences, of which {len(frame) - cannot} can be switched and {cannot} cannot."
    assert frame.attrs["notes"][0] == note if frame.attrs else differences().attrs["notes"][0] == note


def test_a_setting_or_constant_that_is_gone_is_an_error() -> None:
    paper = load_profile("paper").model_dump()
    for gone in ("setting rl.gone", "constant train/rl.py GONE", "constant train/grid.py Gone.start"):
        with pytest.raises(ValueError, match=r"differences\.toml"):
            ours({"ours": gone}, paper)


def test_what_the_preset_changes_is_among_the_differences() -> None:
    named = {entry["switch"] for entry in read_differences()}
    assert set(released_settings()["setting"]) - named <= {"rl.save_steps"}


def test_the_papers_words_are_the_papers(paper_text: str) -> None:
    assert [entry["what"] for entry in read_differences() if entry["paper"] not in paper_text] == []


def test_protocols_are_measured_or_not_run(empty_root: Path, write_jsonl) -> None:
    assert "not run" in always_one(Records.of_run(empty_root)).to_numpy()
    line = {"benchmark": "vl_rewardbench", "protocol": "p", "accuracy": 0.5}
    write_jsonl(empty_root / "records" / "audit.json", [{"always_one": [line]}])
    row = always_one(Records.of_run(empty_root)).iloc[0]
    assert (row["benchmark"], row["accuracy"], row["source"]) == ("VL-RewardBench", "50.00", "measured")
