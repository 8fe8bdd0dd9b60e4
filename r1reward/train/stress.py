"""Training off policy, from mildly to hard: does StableReinforce hold where Reinforce++ breaks? (paper §2.1)

Pre-CLIP acts on ratios far from 1, which on-policy training never has, and the filter on rollouts with few
wrong answers: so all train on pairs about which the judge is sure, where a broken judge has most to lose. The
cells below are one axis, mildest first: rollouts that are some rollouts old, as in asynchronous RL; two
passes over each, sampled by weights of a lower precision, as engines hold them; higher rates. The search runs
Reinforce++ alone, over all cells, on tuning seeds, and chooses the cell in which it collapses nearest to half
of the time: there another algorithm can do better or worse. Which one does is asked only then, of every
variant, on fresh seeds. All runs start from one cold-started judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from r1reward.data.storage import read_pairs, write_pairs
from r1reward.judge.generative import R1Reward
from r1reward.settings import Profile, RLSettings, StressSettings
from r1reward.train.grid import REFERENCES, VARIANTS, Grid, run_grid
from r1reward.types import Comparison, PreferencePair

FIRST_TUNING_SEED, FIRST_FRESH_SEED = 100, 200
# Shares of collapses between which a cell can tell two algorithms apart.
FEW, MANY = 0.3, 0.8
SURE_ANSWERS = 8
BASELINE = "reinforce_pp"
COMPARED = (*REFERENCES, "wo_filter", "wo_pre_clip")
COMPARED += ("log_bound_5", "log_bound_100", "ratio_bound_5", "ratio_bound_100")


@dataclass(frozen=True, slots=True)
class Cell:
    """One point of the axis; the fields are settings of `rl`."""

    learning_rate: float
    inner_epochs: int
    rollout_lag: int
    rollout_precision: Literal["same", "bfloat16", "float16"] = "same"

    @property
    def name(self) -> str:
        """For example "rate_0.0001_epochs_4_lag_2", or "..._lag_2_bfloat16"."""
        precision = "" if self.rollout_precision == "same" else f"_{self.rollout_precision}"
        return f"rate_{self.learning_rate:g}_epochs_{self.inner_epochs}_lag_{self.rollout_lag}{precision}"

    def settings(self, base: RLSettings, size: StressSettings) -> RLSettings:
        """The profile's RL settings with those of the cell, whose rate does not fall and whose reward is that
        of the verdict and its format: what is compared is the update.
        """
        own, batch = {**asdict(self), "consistency_weight": 0.0}, size.rollout_batch_size
        sizes = {"rollout_batch_size": batch, "train_batch_size": batch // 2, "micro_batch_size": batch // 2}
        lengths = {"max_steps": size.steps, "epochs": 1000, "save_steps": size.steps}
        return base.model_copy(update={**own, **sizes, **lengths, "schedule": "constant"})


CELLS = (
    Cell(1e-4, 1, 0),
    Cell(1e-4, 1, 4),
    Cell(1e-4, 2, 4, "bfloat16"),
    Cell(2e-4, 2, 4, "bfloat16"),
    Cell(3e-4, 2, 4, "bfloat16"),
    Cell(5e-4, 2, 4, "bfloat16"),
    Cell(1e-3, 2, 4, "bfloat16"),
)


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
    """How Reinforce++ fares in every cell, on tuning seeds; returns what was tried and what is chosen.

    That is the cell in which the share of collapses is nearest to half, the milder one of equals. `between`
    says whether it is from three to eight tenths. No other algorithm has a say in it.
    """
    size = grid.profile.stress
    seeds = range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + size.seeds)
    tried = []
    for cell in CELLS[: size.cells]:
        ended = run_cell(make_stress_grid(grid, cell, seeds), [BASELINE])
        tried.append({"cell": cell.name, **asdict(cell), "ended": ended})
    shares = {row["cell"]: fmean(row["ended"][BASELINE]["collapsed"]) for row in tried}
    chosen = min(shares, key=lambda cell: abs(shares[cell] - 0.5))
    between = FEW <= shares[chosen] <= MANY
    return {"tried": tried, "tuning_seeds": size.seeds, "chosen": chosen, "between": between}


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
        rl_pairs={"hard": grid.rl_pairs["sure"]},
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
