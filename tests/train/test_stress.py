"""Which stress cell is chosen, and what runs in it; training is a table of outcomes here."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from r1reward.config import load_profile
from r1reward.data.storage import read_pairs
from r1reward.settings import RLSettings, StressSettings
from r1reward.train import stress as stress_module
from r1reward.train.grid import REFERENCE, Grid, Variant
from r1reward.train.stress import (
    CELLS,
    COMPARED,
    FIRST_FRESH_SEED,
    FIRST_TUNING_SEED,
    Cell,
    make_stress_grid,
    run_cell,
    run_fresh,
    search_cells,
    write_sure_pairs,
)
from r1reward.types import PreferencePair, Verdict

# What makes training harder from cell to cell.
HARDER = ("learning_rate", "inner_epochs", "rollout_lag")


def sized(grid: Grid, **sizes: int) -> Grid:
    """The grid with the stress settings of a profile that sets none."""
    stress = StressSettings(**sizes)
    return replace(grid, profile=grid.profile.model_copy(update={"stress": stress}))


@pytest.fixture
def grid(tmp_path: Path) -> Grid:
    pairs = {name: tmp_path / f"{name}.jsonl" for name in ("hard", "sure")}
    folders = [tmp_path / name for name in ("references", "work", "records")]
    return Grid(load_profile("smoke"), {7: tmp_path / "sft"}, pairs, (), tmp_path / "judges", *folders)


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, list[str]]]:
    """Status of each seed's run by cell (the last folder of the records) and variant; else "finished"."""
    known: dict[str, dict[str, list[str]]] = {}

    def run(grid: Grid, variants: list[Variant]) -> dict[str, dict[str, Any]]:
        found = {}
        known.setdefault("asked", {}).update({variant.name: [] for variant in variants})
        for variant in variants:
            statuses = known.get(grid.records.name, {}).get(variant.name, ["finished"] * len(grid.starts))
            for seed, status in zip(grid.starts, statuses, strict=True):
                about = {"variant": variant.name, "seed": seed, "status": status}
                found[f"{variant.name}, seed {seed}"] = about | (
                    {"same_as": REFERENCE} if status == "identical" else {}
                )
        return found

    monkeypatch.setattr(stress_module, "run_grid", run)
    return known


def _statuses(collapsed: int, rest: str = "finished", *, of: int = 5) -> list[str]:
    return ["collapsed"] * collapsed + [rest] * (of - collapsed)


def _search(grid: Grid, outcomes: dict, collapses: Sequence[int], seeds: int = 10) -> dict[str, Any]:
    for cell, number in zip(CELLS, collapses, strict=True):
        outcomes[cell.name] = {"reinforce_pp": _statuses(number, of=seeds)}
    return search_cells(sized(grid, seeds=seeds))


@pytest.mark.parametrize(
    ("collapses", "chosen", "between"),
    [
        ([0, 0, 2, 3, 8, 10, 10], 3, True),
        ([0, 0, 2, 2, 7, 10, 10], 4, True),
        ([0, 1, 4, 6, 8, 10, 10], 2, True),
        ([0, 0, 0, 0, 8, 10, 10], 4, True),
        ([0, 0, 0, 1, 9, 10, 10], 3, False),
        ([0, 0, 0, 0, 0, 0, 0], 0, False),
        ([10, 10, 10, 10, 10, 9, 9], 5, False),
    ],
)
def test_the_cell_whose_collapses_are_nearest_to_half_is_chosen(
    grid: Grid, outcomes: dict, collapses: list[int], chosen: int, between: bool
) -> None:
    """Of equally near ones the milder."""
    found = _search(grid, outcomes, collapses)
    assert (found["chosen"], found["between"]) == (CELLS[chosen].name, between)
    assert [sum(row["ended"]["reinforce_pp"]["collapsed"]) for row in found["tried"]] == collapses


def test_the_search_runs_no_algorithm_that_is_compared_later(grid: Grid, outcomes: dict) -> None:
    """Neither StableReinforce nor a part of it, whatever happens to Reinforce++."""
    found = _search(grid, outcomes, [0, 0, 0, 5, 10, 10, 10])
    assert {name for row in found["tried"] for name in row["ended"]} == {"reinforce_pp"}
    assert set(outcomes["asked"]) == {"reinforce_pp"}


def test_a_run_that_is_identical_to_a_collapsed_one_has_collapsed(grid: Grid, outcomes: dict) -> None:
    outcomes["records"] = {
        REFERENCE: _statuses(2),
        "wo_filter": _statuses(1, "identical"),
        "wo_pre_clip": ["identical"] * 5,
    }
    five = replace(grid, starts=dict.fromkeys(range(5), Path()))
    ended = run_cell(five, COMPARED)
    assert ended.pop(REFERENCE) == {"collapsed": [1, 1, 0, 0, 0], "same_as": ""}
    assert ended.pop("wo_filter") == {"collapsed": [1, 1, 0, 0, 0], "same_as": ""}
    assert ended.pop("wo_pre_clip") == {"collapsed": [1, 1, 0, 0, 0], "same_as": REFERENCE}
    assert all(one == {"collapsed": [0] * 5, "same_as": ""} for one in ended.values())


def test_a_cell_changes_what_it_says_and_starts_every_seed_alike(grid: Grid, tmp_path: Path) -> None:
    cell = Cell(1e-3, 4, 2, "float16")
    assert cell.name == "rate_0.001_epochs_4_lag_2_float16"
    made = make_stress_grid(grid, cell, range(100, 105))
    assert made.starts == dict.fromkeys(range(100, 105), tmp_path / "sft")
    assert made.rl_pairs == {"hard": tmp_path / "sure.jsonl"}
    assert made.references == tmp_path / "records" / cell.name
    settings = made.profile.rl
    assert (settings.learning_rate, settings.inner_epochs, settings.max_steps) == (1e-3, 4, 2)
    assert (settings.schedule, settings.rollout_lag, settings.rollout_precision) == ("constant", 2, "float16")
    assert settings.consistency_weight == 0 < grid.profile.rl.consistency_weight
    left = {"learning_rate", "schedule", "inner_epochs", "max_steps", "epochs", "save_steps"}
    left |= {"consistency_weight"}
    left |= {"rollout_lag", "rollout_precision"}
    left |= {"rollout_batch_size", "train_batch_size", "micro_batch_size"}
    assert settings.model_dump(exclude=left) == grid.profile.rl.model_dump(exclude=left)
    assert RLSettings.model_validate(settings.model_dump()) == settings


def test_cells_are_told_apart_from_mild_to_hard_and_seeds_are_fresh() -> None:
    assert len({cell.name for cell in CELLS}) == len(CELLS)
    for mild, hard in pairwise(CELLS):
        steps = [getattr(hard, name) - getattr(mild, name) for name in HARDER]
        assert min(steps) >= 0 < max(steps), "each goes on from the one before"
    assert FIRST_FRESH_SEED - FIRST_TUNING_SEED >= 100 >= StressSettings.model_fields["seeds"].metadata[1].le


def test_fresh_seeds_run_every_variant_in_the_chosen_cell(
    grid: Grid, outcomes: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = CELLS[1]
    outcomes[cell.name] = {
        "reinforce_pp": ["collapsed"] * 6,
        "wo_filter": ["collapsed"] * 2 + ["finished"] * 4,
    }
    asked: list[tuple[str, list[int]]] = []
    make = stress_module.make_stress_grid

    def made(grid: Grid, cell: Cell, seeds: Any) -> Grid:
        asked.append((cell.name, list(seeds)))
        return make(grid, cell, seeds)

    monkeypatch.setattr(stress_module, "make_stress_grid", made)
    found = run_fresh(sized(grid, fresh_seeds=6), {"chosen": cell.name, "between": True})
    assert asked == [(cell.name, [200, 201, 202, 203, 204, 205])]
    collapsed = {name: sum(ended["collapsed"]) for name, ended in found["fresh"].items()}
    assert collapsed == {**dict.fromkeys(COMPARED, 0), "reinforce_pp": 6, "wo_filter": 2}
    assert (found["fresh_seeds"], found["between"]) == (6, True)


def test_a_profile_may_try_fewer_cells(grid: Grid, outcomes: dict) -> None:
    found = search_cells(sized(grid, cells=2))
    assert [row["cell"] for row in found["tried"]] == [cell.name for cell in CELLS[:2]]


def test_sure_pairs_are_those_that_every_sample_gets_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = [PreferencePair(f"p-{n}", "povid", f"q{n} ?", ("a", "b"), 1) for n in range(3)]
    said = {"q0 ?": ["1"] * 8, "q1 ?": ["1"] * 7 + ["2"], "q2 ?": ["1"] * 7 + ["unparsed"]}
    loaded: list[dict[str, Any]] = []

    class Judge:
        @classmethod
        def from_pretrained(cls, path: Path, **how: Any) -> "Judge":
            loaded.append({"path": path, **how})
            return cls()

        def compare_all(self, items: list[Any], *, votes: int) -> list[Any]:
            return [
                SimpleNamespace(
                    votes=[SimpleNamespace(verdict=Verdict(one)) for one in said[item.question][:votes]]
                )
                for item in items
            ]

    monkeypatch.setattr(stress_module, "R1Reward", Judge)
    file, known = tmp_path / "sure.jsonl", {"profile": load_profile("smoke"), "seed": 5}
    assert write_sure_pairs(tmp_path, pairs, file, **known) == 1
    assert [pair.pair_id for pair in read_pairs(file)] == ["p-0"]
    said["q0 ?"][0] = "2"
    assert write_sure_pairs(tmp_path, pairs, file, **known) == 1, "what is there is kept"
    assert loaded == [{"path": tmp_path, **known}]
