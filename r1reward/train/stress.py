"""A setting in which training breaks: does StableReinforce hold where Reinforce++ does not? (paper §2.1)

At the mini profile's own settings Pre-CLIP never acts, so Tables 5 and 6 say nothing about it. The cells
below raise the learning rate, the number of updates a rollout and the imbalance of rewards (pairs of which
the judge is sure, so that few rewards differ), mildest first. The first cell in which Reinforce++ alone
collapses on the tuning seeds is frozen; every variant then runs on other seeds. All runs start from one
cold-started judge. If no cell separates the two algorithms, the one with most collapses is shown.

This is the second grid. In the first (rates of 5e-4 to 2e-3, imbalance by the annotator's first attempts)
everything collapsed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

from r1reward.data.storage import read_pairs, write_pairs
from r1reward.judge.generative import R1Reward
from r1reward.settings import Profile, RLSettings, StressSettings
from r1reward.train.grid import REFERENCE, REFERENCES, VARIANTS, Grid, run_grid
from r1reward.types import Comparison, PreferencePair

FIRST_TUNING_SEED, FIRST_FRESH_SEED = 100, 200
MANY, FEW = 0.6, 0.2
SURE_ANSWERS = 8
COMPARED = (*REFERENCES, "wo_filter", "wo_pre_clip")
COMPARED += ("log_bound_5", "log_bound_100", "ratio_bound_5", "ratio_bound_100")


@dataclass(frozen=True, slots=True)
class Cell:
    """One stress setting."""

    learning_rate: float
    inner_epochs: int
    pairs: Literal["hard", "sure"]

    @property
    def name(self) -> str:
        """For example "rate_0.0005_epochs_4_sure"."""
        return f"rate_{self.learning_rate:g}_epochs_{self.inner_epochs}_{self.pairs}"

    def settings(self, base: RLSettings, size: StressSettings) -> RLSettings:
        """The profile's RL settings with those of the cell, whose rate does not fall."""
        batch = size.rollout_batch_size
        rate = {"learning_rate": self.learning_rate, "schedule": "constant"}
        sizes = {"rollout_batch_size": batch, "train_batch_size": batch // 2, "micro_batch_size": batch // 2}
        lengths = {"max_steps": size.steps, "epochs": 1000, "save_steps": size.steps}
        return base.model_copy(update={**rate, **sizes, **lengths, "inner_epochs": self.inner_epochs})


CELLS = tuple(Cell(*cell) for cell in product((2e-4, 3e-4, 5e-4), (1, 4), ("hard", "sure")))


def write_sure_pairs(
    judge: str | Path, pairs: Sequence[PreferencePair], path: Path, *, profile: Profile, seed: int
) -> int:
    """Write those pairs about which a judge is sampled right eight times out of eight; returns their number.

    What is there already is kept.
    """
    if not path.is_file():
        reward_model = R1Reward.from_pretrained(judge, profile=profile, seed=seed)
        items = [
            Comparison(pair.question, pair.responses, pair.images, pair.frames, pair.label) for pair in pairs
        ]
        judged = reward_model.compare_all(items, votes=SURE_ANSWERS)
        sure = (
            pair
            for pair, one in zip(pairs, judged, strict=True)
            if all(vote.verdict.agrees_with(pair.preferred) for vote in one.votes)
        )
        write_pairs(path, sure)
    return len(read_pairs(path))


def search_cells(grid: Grid) -> dict[str, Any]:
    """Try cells in order until Reinforce++ alone collapses; returns what was tried and what is chosen.

    Alone: on at least three fifths of the tuning seeds, and StableReinforce, which only runs then, on at
    most one fifth. If no cell separates the two, the one where Reinforce++ collapses most often is chosen
    and `separates` is false.
    """
    size = grid.profile.stress
    seeds = range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + size.seeds)
    tried: list[dict[str, Any]] = []
    outcome = {"tried": tried, "tuning_seeds": size.seeds}
    for cell in CELLS[: size.cells]:
        stressed = make_stress_grid(grid, cell, seeds)
        ended = run_cell(stressed, ["reinforce_pp"])
        tried.append({"cell": cell.name, **asdict(cell), "ended": ended})
        if sum(ended["reinforce_pp"]["collapsed"]) < MANY * size.seeds:
            continue
        ended |= run_cell(stressed, [REFERENCE])
        if sum(ended[REFERENCE]["collapsed"]) <= FEW * size.seeds:
            return {**outcome, "chosen": cell.name, "separates": True}
    most = max(tried, key=lambda row: sum(row["ended"]["reinforce_pp"]["collapsed"]))
    return {**outcome, "chosen": most["cell"], "separates": False}


def run_fresh(grid: Grid, found: dict[str, Any]) -> dict[str, Any]:
    """What was found, with how every variant ended on fresh seeds in the chosen cell."""
    number = grid.profile.stress.fresh_seeds
    (chosen,) = (cell for cell in CELLS if cell.name == found["chosen"])
    seeds = range(FIRST_FRESH_SEED, FIRST_FRESH_SEED + number)
    fresh = run_cell(make_stress_grid(grid, chosen, seeds), COMPARED)
    return {**found, "fresh": fresh, "fresh_seeds": number}


def make_stress_grid(grid: Grid, cell: Cell, seeds: Iterable[int]) -> Grid:
    """A grid of short runs in a cell, without a benchmark; every seed starts from the first cold start."""
    start, records = next(iter(grid.starts.values())), grid.records / cell.name
    return replace(
        grid,
        profile=grid.profile.model_copy(update={"rl": cell.settings(grid.profile.rl, grid.profile.stress)}),
        starts=dict.fromkeys(seeds, start),
        rl_pairs={"hard": grid.rl_pairs[cell.pairs]},
        benchmark=(),
        references=records,
        work=grid.work / cell.name,
        records=records,
        kept=grid.kept and grid.kept / cell.name,
    )


def run_cell(grid: Grid, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """How the runs of each variant ended: `collapsed`, 0 or 1 by seed, and what it repeats by construction.

    `same_as` names that reference where it is one for all seeds, else "". References go first: others may
    be identical to them.
    """
    first = [[name] for name in REFERENCES if name in names]
    runs = {}
    for group in (*first, [name for name in names if name not in REFERENCES]):
        for about in run_grid(grid, [VARIANTS[name] for name in group]).values():
            runs[about["variant"], about["seed"]] = about

    def collapsed(name: str, seed: int) -> bool:
        about = runs[name, seed]
        identical = about["status"] == "identical"
        return collapsed(about["same_as"], seed) if identical else about["status"] == "collapsed"

    def same(name: str) -> str:
        known = {runs[name, seed].get("same_as", "") for seed in grid.starts}
        return known.pop() if len(known) == 1 else ""

    return {
        name: {"collapsed": [int(collapsed(name, seed)) for seed in grid.starts], "same_as": same(name)}
        for name in names
    }
