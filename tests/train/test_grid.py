"""What the grid runs, skips and repeats; training and judging are counted calls here."""

import pickle
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from r1reward.config import load_profile
from r1reward.engines.loading import device_name
from r1reward.files import append_jsonl, read_json, write_json
from r1reward.train import grid as grid_module
from r1reward.train.grid import Grid, run_grid
from r1reward.train.rl import RLResult
from r1reward.train.variants import Variant, find_variant
from r1reward.types import PreferencePair

PAIR = PreferencePair("id", "povid", "which ?", ("a", "b"), 1)
QUIET = {
    "filtered_positive": 0.0,
    "filtered_negative": 0.0,
    "log_ratio_max": 0.1,
    "z_min": -1.0,
    "z_max": 1.0,
}


def leave_record(folder: Path, *, steps: int = 1, **values: float) -> None:
    """A record of one row; `steps` is where the status says that the run ended."""
    append_jsonl(folder / "metrics.jsonl", [{"step": 1} | QUIET | values])
    write_json(folder / "status.json", {"status": "finished", "step": steps})


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Names and seeds of the trainings that really ran."""
    ran: list[tuple[str, int]] = []

    def train(start: Path, pairs: Path, *, out: Path, record: Path, seed: int, **_: Any) -> RLResult:
        ran.append((out.parent.name, seed))
        leave_record(record)
        return RLResult("finished", 1, out)

    monkeypatch.setattr(grid_module, "train_rl", train)
    monkeypatch.setattr(grid_module, "evaluate", lambda *_, **__: {"greedy": SimpleNamespace(overall=0.8)})
    monkeypatch.setattr(grid_module, "weights_hash", str)
    monkeypatch.setattr(
        grid_module, "make_consistency_judge", lambda _, name, *__, **___: SimpleNamespace(fingerprint=name)
    )
    (tmp_path / "rl.jsonl").write_text("pairs")
    for seed in (0, 1):
        leave_record(tmp_path / f"references/stable_reinforce/seed_{seed}")
    return ran


@pytest.fixture
def grid(tmp_path: Path) -> Grid:
    profile = load_profile("smoke").model_copy(update={"processes": 1})
    starts = {seed: tmp_path / f"sft_{seed}" for seed in (0, 1)}
    folders = [tmp_path / name for name in ("references", "work", "records")]
    return Grid(profile, starts, {"hard": tmp_path / "rl.jsonl"}, (PAIR,), tmp_path / "judges", *folders)


VARIANTS = [find_variant(name) for name in ("weight_0.0", "wo_pre_clip", "external")]


def test_a_variant_that_is_identical_by_construction_is_not_run(grid: Grid, runs: list) -> None:
    outcomes = run_grid(grid, VARIANTS)
    assert runs == [(name, seed) for seed in (0, 1) for name in ("weight_0.0", "external")]
    noted = outcomes["wo_pre_clip, seed 1"]
    assert noted["status"] == "identical"
    assert noted["interventions"]["pre_clip_steps"] == 0
    assert outcomes["weight_0.0, seed 0"]["accuracy"] == {"greedy": 0.8}
    assert outcomes["weight_0.0, seed 0"]["device"] == device_name()


def test_without_the_filter_it_is_reinforce_pp_while_pre_clip_never_acts(
    grid: Grid, runs: list, tmp_path: Path
) -> None:
    (tmp_path / "references/stable_reinforce").rename(tmp_path / "quiet")
    for name in ("stable_reinforce", "reinforce_pp"):
        leave_record(tmp_path / f"references/{name}/seed_0", z_min=-3.5)
    outcomes = run_grid(grid, [find_variant(name) for name in ("wo_filter", "wo_pre_clip", "ppo")])
    assert [outcomes[f"{name}, seed 0"]["same_as"] for name in ("wo_filter", "wo_pre_clip", "ppo")] == [
        "reinforce_pp", "stable_reinforce", "reinforce_pp",
    ]  # fmt: skip
    assert runs == [("wo_filter", 1), ("wo_pre_clip", 1), ("ppo", 1)]


def test_nothing_is_identical_to_a_run_whose_last_step_left_no_row(
    grid: Grid, runs: list, tmp_path: Path
) -> None:
    write_json(
        tmp_path / "references/stable_reinforce/seed_0/status.json", {"status": "collapsed", "step": 2}
    )
    run_grid(grid, [find_variant("wo_pre_clip")])
    assert runs == [("wo_pre_clip", 0)]


def test_a_run_without_a_single_finished_step_is_recorded(
    grid: Grid, runs: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grid_module, "train_rl", lambda *_, out, **__: RLResult("collapsed", 1, out, "NaN"))
    about = run_grid(grid, [find_variant("external")])["external, seed 0"]
    assert (about["status"], about["interventions"]["steps"]) == ("collapsed", 0)


def test_finished_runs_are_not_repeated_even_without_their_checkpoints(grid: Grid, runs: list) -> None:
    first = run_grid(grid, VARIANTS)
    runs.clear()
    assert run_grid(grid, VARIANTS) == first
    assert runs == []
    assert read_json(grid.records / "weight_0.0/seed_1/run.json") == first["weight_0.0, seed 1"]


def test_another_setting_is_another_run(grid: Grid, runs: list) -> None:
    run_grid(grid, VARIANTS)
    runs.clear()
    run_grid(grid, [Variant("weight_0.0", (7,), {"consistency_weight": 0.2}), *VARIANTS[1:]])
    assert runs == [("weight_0.0", 0), ("weight_0.0", 1)]


def test_a_new_start_repeats_its_seed_only(grid: Grid, runs: list, tmp_path: Path) -> None:
    run_grid(grid, VARIANTS)
    runs.clear()
    grid.starts[1] = tmp_path / "better"  # type: ignore[index]
    run_grid(grid, VARIANTS)
    assert {seed for _, seed in runs} == {1}


def test_a_run_of_the_grid_can_be_sent_to_a_process(grid: Grid) -> None:
    call = pickle.loads(pickle.dumps(partial(grid_module.run_one, grid, VARIANTS[0], 0)))
    assert call.args[0] == grid


def test_kept_records_of_the_same_run_are_taken_over(grid: Grid, runs: list, tmp_path: Path) -> None:
    first = run_grid(grid, VARIANTS)
    grid.records.rename(tmp_path / "kept")
    runs.clear()
    again = replace(grid, kept=tmp_path / "kept", records=tmp_path / "again")
    assert run_grid(again, VARIANTS) == first
    assert runs == []
    names = {path.relative_to(tmp_path / "kept") for path in (tmp_path / "kept").rglob("*.json*")}
    assert {path.relative_to(again.records) for path in again.records.rglob("*.json*")} == names
    changed = [Variant("weight_0.0", (7,), {"consistency_weight": 0.3})]
    run_grid(replace(again, records=tmp_path / "other"), changed)
    assert runs == [("weight_0.0", 0), ("weight_0.0", 1)]


def test_a_kept_run_that_repeats_a_reference_is_checked_against_the_reference_here(
    grid: Grid, runs: list, tmp_path: Path
) -> None:
    identical = [variant for variant in VARIANTS if variant.name == "wo_pre_clip"]
    run_grid(grid, identical)
    assert runs == []
    grid.records.rename(tmp_path / "kept")
    for rows in grid.references.rglob("metrics.jsonl"):
        rows.write_text(rows.read_text().replace('"log_ratio_max": ', '"log_ratio_max": 9'))
    run_grid(replace(grid, kept=tmp_path / "kept"), identical)
    assert runs == [("wo_pre_clip", 0), ("wo_pre_clip", 1)]


def test_the_reference_is_run_where_the_grid_has_none(grid: Grid, runs: list, tmp_path: Path) -> None:
    own = replace(grid, references=grid.records)
    run_grid(own, [find_variant("stable_reinforce")])
    assert runs == [("stable_reinforce", 0), ("stable_reinforce", 1)]
    outcomes = run_grid(own, [find_variant("wo_filter")])
    assert {about["status"] for about in outcomes.values()} == {"identical"}
