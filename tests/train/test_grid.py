"""What the grid runs, skips and repeats; training and judging are counted calls here."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from r1reward.config import load_profile
from r1reward.engines.loading import device_name
from r1reward.files import append_jsonl, read_json, write_json
from r1reward.settings import EngineSettings, ModelSettings, RLSettings
from r1reward.train import grid as grid_module
from r1reward.train.grid import VARIANTS, Grid, Variant, interventions, run_grid, run_key
from r1reward.train.rl import RLResult
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


@dataclass
class Calls:
    """What really ran: names and seeds of the trainings, and every argument of training and judging."""

    names: list[tuple[str, int]] = field(default_factory=list)
    trained: list[dict[str, Any]] = field(default_factory=list)
    judged: list[dict[str, Any]] = field(default_factory=list)

    def train(
        self,
        start: Path,
        pairs: Path,
        *,
        out: Path,
        settings: RLSettings,
        model_settings: ModelSettings,
        engine_settings: EngineSettings,
        seed: int,
        judge: Any,
        record: Path,
    ) -> RLResult:
        """In place of `train_rl`: leaves a record of what it was given."""
        asked = dict(locals())
        self.names.append((out.parent.name, seed))
        self.trained.append({name: value for name, value in asked.items() if name != "self"})
        leave_record(record)
        run = {"rl": settings.model_dump(mode="json"), "start": str(start), "pairs": str(pairs)}
        used = {"seed": seed, "consistency_judge": judge.fingerprint}
        known = {"status": "finished", "step": 1, "reason": "", "run": run, "used": used}
        write_json(record / "status.json", known)
        return RLResult("finished", 1, out / "model")

    def evaluate(self, checkpoint: Path, pairs: tuple[PreferencePair, ...], **how: Any) -> dict[str, Any]:
        """In place of `evaluate`."""
        self.judged.append({"checkpoint": checkpoint, "pairs": pairs, **how})
        scores = {"greedy": 0.8, "sampled": 0.7}
        return {mode: SimpleNamespace(accuracy=scores[mode]) for mode in how["modes"]}


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    found = Calls()
    monkeypatch.setattr(grid_module, "train_rl", found.train)
    monkeypatch.setattr(grid_module, "evaluate", found.evaluate)
    monkeypatch.setattr(grid_module, "weights_hash", str)
    monkeypatch.setattr(
        grid_module,
        "make_consistency_judge",
        lambda _, name, folder, *, seed, cache=None: SimpleNamespace(
            fingerprint=f"{name} in {folder}, {seed}"
        ),
    )
    for name in ("rl", "easy"):
        (tmp_path / f"{name}.jsonl").write_text(f"{name} pairs")
    for seed in (0, 1):
        leave_record(tmp_path / f"references/stable_reinforce/seed_{seed}")
    return found


@pytest.fixture
def runs(calls: Calls) -> list[tuple[str, int]]:
    """Names and seeds of the trainings that really ran."""
    return calls.names


@pytest.fixture
def grid(tmp_path: Path) -> Grid:
    profile = load_profile("smoke").model_copy(update={"processes": 1})
    starts = {seed: tmp_path / f"sft_{seed}" for seed in (0, 1)}
    folders = [tmp_path / name for name in ("references", "work", "records")]
    pairs = {"hard": tmp_path / "rl.jsonl", "easy": tmp_path / "easy.jsonl"}
    return Grid(profile, starts, pairs, (PAIR,), tmp_path / "judges", *folders)


SMOKE_WEIGHT = 0.5
# What each row of the tables is called after: changes of the settings, judge, start, pairs.
ARMS: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "stable_reinforce": ({}, "strong", "sft", "rl"),
    "reinforce_pp": ({"algorithm": "reinforce_pp"}, "strong", "sft", "rl"),
    "reinforce_pp_plain": ({"algorithm": "reinforce_pp", "consistency_weight": 0.0}, "strong", "sft", "rl"),
    "stable_reinforce_by_response": ({"loss_reduction": "response"}, "strong", "sft", "rl"),
    "reinforce_pp_by_response": (
        {"algorithm": "reinforce_pp", "loss_reduction": "response"},
        "strong",
        "sft",
        "rl",
    ),
    "wo_filter": ({"advantage_limit": "off"}, "strong", "sft", "rl"),
    "wo_pre_clip": ({"pre_clip": "off"}, "strong", "sft", "rl"),
    "log_bound_5": ({"pre_clip": pytest.approx(148.4131591)}, "strong", "sft", "rl"),
    "log_bound_100": ({"pre_clip": pytest.approx(2.6881171e43)}, "strong", "sft", "rl"),
    "ratio_bound_5": ({"pre_clip": 5.0}, "strong", "sft", "rl"),
    "ratio_bound_100": ({"pre_clip": 100.0}, "strong", "sft", "rl"),
    "weight_1.0": ({"consistency_weight": 1.0}, "strong", "sft", "rl"),
    "weight_0.1": ({"consistency_weight": 0.1}, "strong", "sft", "rl"),
    "external": ({"external_consistency": True}, "strong", "sft", "rl"),
    "weight_0.0": ({"consistency_weight": 0.0}, "strong", "sft", "rl"),
    "judge_weak": ({}, "weak", "sft", "rl"),
    "judge_noisy": ({"consistency_weight": 0.25}, "noisy", "sft", "rl"),
    "judge_random": ({}, "random", "sft", "rl"),
    "reinforce": ({"algorithm": "reinforce"}, "strong", "sft", "rl"),
    "ppo": ({"algorithm": "ppo"}, "strong", "sft", "rl"),
    "grpo": ({"algorithm": "grpo", "samples_per_prompt": 8, "rollout_batch_size": 32}, "strong", "sft", "rl"),
    "no_cold_start": ({}, "strong", "base", "rl"),
    "easy_pairs": ({}, "strong", "sft", "easy"),
    "judge_weak_0.1": ({"consistency_weight": 0.1}, "weak", "sft", "rl"),
    "judge_weak_1.0": ({"consistency_weight": 1.0}, "weak", "sft", "rl"),
    "judge_noisy_0.1": ({"consistency_weight": 0.1}, "noisy", "sft", "rl"),
    "judge_noisy_0.5": ({"consistency_weight": 0.5}, "noisy", "sft", "rl"),
    "judge_noisy_1.0": ({"consistency_weight": 1.0}, "noisy", "sft", "rl"),
    "judge_random_0.1": ({"consistency_weight": 0.1}, "random", "sft", "rl"),
    "judge_random_1.0": ({"consistency_weight": 1.0}, "random", "sft", "rl"),
}


def test_every_variant_stands_in_the_list_of_arms() -> None:
    assert sorted(ARMS) == sorted(VARIANTS)


@pytest.mark.parametrize("name", sorted(ARMS))
def test_each_arm_is_trained_and_judged_as_it_is_called(
    name: str, grid: Grid, calls: Calls, tmp_path: Path
) -> None:
    changes, judge, start, pairs = ARMS[name]
    outcomes = run_grid(replace(grid, references=tmp_path / "none"), [VARIANTS[name]])
    base = grid.profile.rl.model_dump(mode="json")
    assert base["consistency_weight"] == SMOKE_WEIGHT and len(calls.trained) == 2
    for seed, asked, judged in zip((0, 1), calls.trained, calls.judged, strict=True):
        wanted = tmp_path / f"sft_{seed}" if start == "sft" else grid.profile.model.base
        assert asked["settings"].model_dump(mode="json") == base | changes
        assert (asked["start"], asked["pairs"]) == (wanted, tmp_path / f"{pairs}.jsonl")
        assert asked["judge"].fingerprint == f"{judge} in {tmp_path / 'judges'}, {seed}"
        assert asked["seed"] == judged["seed"] == seed
        assert (asked["model_settings"], asked["engine_settings"]) == (
            grid.profile.model,
            grid.profile.engine,
        )
        assert judged["checkpoint"] == asked["out"] / "model", "the trained model is judged, not its start"
        assert judged["pairs"] == (PAIR,) and judged["record"] == asked["record"]
        about = outcomes[f"{name}, seed {seed}"]
        assert about == read_json(asked["record"] / "run.json")
        assert about["settings"] == base | changes
        used = {"start": str(wanted), "pairs": str(asked["pairs"]), "seed": seed}
        assert about["used"] == used | {"consistency_judge": asked["judge"].fingerprint}
        assert about["model"] == str(asked["out"] / "model")


def other_pairs(grid: Grid) -> Grid:
    grid.rl_pairs["hard"].write_text("other pairs")
    return grid


DIFFERENT: dict[str, Callable[[Grid], Grid]] = {
    "pairs": other_pairs,
    "start": lambda grid: replace(grid, starts={0: grid.starts[1]}),
    "judges": lambda grid: replace(grid, judges=grid.judges / "others"),
    "benchmark": lambda grid: replace(grid, benchmark=(replace(PAIR, preferred=2),)),
    "rl": lambda grid: changed_profile(grid, {"rl": {"clip_eps": 0.1}}),
    "model": lambda grid: changed_profile(grid, {"model": {"max_pixels": 28 * 28}}),
    "engine": lambda grid: changed_profile(grid, {"engine": {"max_new_tokens": 5}}),
    "sampling": lambda grid: changed_profile(grid, {"bench": {"sampled_temperature": 0.5}}),
}


def changed_profile(grid: Grid, overrides: dict[str, Any]) -> Grid:
    return replace(grid, profile=load_profile("smoke", overrides=overrides))


@pytest.mark.parametrize("what", sorted(DIFFERENT))
@pytest.mark.usefixtures("calls")
def test_the_key_of_a_run_changes_with_all_it_follows_from(what: str, grid: Grid) -> None:
    variant = VARIANTS["weight_0.0"]
    key = run_key(grid, variant, 0)
    assert key == run_key(replace(grid, work=grid.work / "elsewhere", kept=grid.work), variant, 0)
    assert run_key(DIFFERENT[what](grid), variant, 0) != key


@pytest.mark.usefixtures("calls")
def test_no_two_arms_or_seeds_have_the_same_key(grid: Grid) -> None:
    keys = {
        (variant.name, seed): run_key(grid, variant, seed) for variant in VARIANTS.values() for seed in (0, 1)
    }
    assert len(set(keys.values())) == len(keys)


CHOSEN = [VARIANTS[name] for name in ("weight_0.0", "wo_pre_clip", "external")]


def test_a_variant_that_is_identical_by_construction_is_not_run(grid: Grid, runs: list) -> None:
    outcomes = run_grid(grid, CHOSEN)
    assert runs == [(name, seed) for seed in (0, 1) for name in ("weight_0.0", "external")]
    noted = outcomes["wo_pre_clip, seed 1"]
    assert noted["status"] == "identical"
    assert noted["interventions"]["pre_clip_steps"] == 0
    assert outcomes["weight_0.0, seed 0"]["accuracy"] == {"greedy": 0.8, "sampled": 0.7}
    assert outcomes["weight_0.0, seed 0"]["device"] == device_name()


def test_without_the_filter_it_is_reinforce_pp_while_pre_clip_never_acts(
    grid: Grid, runs: list, tmp_path: Path
) -> None:
    (tmp_path / "references/stable_reinforce").rename(tmp_path / "quiet")
    for name in ("stable_reinforce", "reinforce_pp"):
        leave_record(tmp_path / f"references/{name}/seed_0", z_min=-3.5)
    outcomes = run_grid(grid, [VARIANTS[name] for name in ("wo_filter", "wo_pre_clip", "ppo")])
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
    run_grid(grid, [VARIANTS["wo_pre_clip"]])
    assert runs == [("wo_pre_clip", 0)]


def test_a_run_without_a_single_finished_step_is_recorded(
    grid: Grid, runs: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    def collapse(*_: Any, out: Path, record: Path, **__: Any) -> RLResult:
        known = {"status": "collapsed", "step": 1, "reason": "NaN", "used": {}}
        write_json(record / "status.json", known | {"run": {"rl": {}, "start": "", "pairs": ""}})
        return RLResult("collapsed", 1, out, "NaN")

    monkeypatch.setattr(grid_module, "train_rl", collapse)
    about = run_grid(grid, [VARIANTS["external"]])["external, seed 0"]
    assert (about["status"], about["interventions"]["steps"]) == ("collapsed", 0)


def test_finished_runs_are_not_repeated_even_without_their_checkpoints(grid: Grid, runs: list) -> None:
    first = run_grid(grid, CHOSEN)
    runs.clear()
    assert run_grid(grid, CHOSEN) == first
    assert runs == []
    assert read_json(grid.records / "weight_0.0/seed_1/run.json") == first["weight_0.0, seed 1"]


def test_another_setting_is_another_run(grid: Grid, runs: list) -> None:
    run_grid(grid, CHOSEN)
    runs.clear()
    run_grid(grid, [Variant("weight_0.0", (7,), {"consistency_weight": 0.2}), *CHOSEN[1:]])
    assert runs == [("weight_0.0", 0), ("weight_0.0", 1)]


def test_a_new_start_repeats_its_seed_only(grid: Grid, runs: list, tmp_path: Path) -> None:
    run_grid(grid, CHOSEN)
    runs.clear()
    grid.starts[1] = tmp_path / "better"  # type: ignore[index]
    run_grid(grid, CHOSEN)
    assert {seed for _, seed in runs} == {1}


def test_a_run_of_the_grid_can_be_sent_to_a_process(grid: Grid) -> None:
    call = pickle.loads(pickle.dumps(partial(grid_module.run_one, grid, CHOSEN[0], 0)))
    assert call.args[0] == grid


def test_kept_records_of_the_same_run_are_taken_over(grid: Grid, runs: list, tmp_path: Path) -> None:
    first = run_grid(grid, CHOSEN)
    grid.records.rename(tmp_path / "kept")
    runs.clear()
    again = replace(grid, kept=tmp_path / "kept", records=tmp_path / "again")
    assert run_grid(again, CHOSEN) == first
    assert runs == []
    names = {path.relative_to(tmp_path / "kept") for path in (tmp_path / "kept").rglob("*.json*")}
    assert {path.relative_to(again.records) for path in again.records.rglob("*.json*")} == names
    changed = [Variant("weight_0.0", (7,), {"consistency_weight": 0.3})]
    run_grid(replace(again, records=tmp_path / "other"), changed)
    assert runs == [("weight_0.0", 0), ("weight_0.0", 1)]


def test_a_kept_run_that_repeats_a_reference_is_checked_against_the_reference_here(
    grid: Grid, runs: list, tmp_path: Path
) -> None:
    identical = [variant for variant in CHOSEN if variant.name == "wo_pre_clip"]
    run_grid(grid, identical)
    assert runs == []
    grid.records.rename(tmp_path / "kept")
    for rows in grid.references.rglob("metrics.jsonl"):
        rows.write_text(rows.read_text().replace('"log_ratio_max": ', '"log_ratio_max": 9'))
    run_grid(replace(grid, kept=tmp_path / "kept"), identical)
    assert runs == [("wo_pre_clip", 0), ("wo_pre_clip", 1)]


def test_the_reference_is_run_where_the_grid_has_none(grid: Grid, runs: list, tmp_path: Path) -> None:
    own = replace(grid, references=grid.records)
    run_grid(own, [VARIANTS["stable_reinforce"]])
    assert runs == [("stable_reinforce", 0), ("stable_reinforce", 1)]
    outcomes = run_grid(own, [VARIANTS["wo_filter"]])
    assert {about["status"] for about in outcomes.values()} == {"identical"}


def test_steps_in_which_a_part_acted_are_counted_for_each_part() -> None:
    rows: list[dict[str, float]] = [dict(QUIET) for _ in range(6)]
    rows[0] |= {"pre_clip_low_negative": 0.1, "log_ratio_max": 3.0}
    rows[1] |= {"filtered_positive": 0.2, "z_max": 4.0}
    rows[2] |= {"filtered_negative": 0.2, "z_min": -5.0}
    rows[3] |= {"pre_clip_high_positive": 0.1, "filtered_negative": 0.1, "log_ratio_max": 7.0}
    rows[4] |= {"filtered_positive": 0.1, "filtered_negative": 0.1}
    assert interventions(rows) == {
        "steps": 6, "pre_clip_steps": 2, "filter_steps": 4, "log_ratio_max": 7.0, "z_abs_max": 5.0,
    }  # fmt: skip
