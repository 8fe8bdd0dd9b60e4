"""What decides the claims, by name (`MEASURES`): differences, trends, collapses, votes and gains.

A measure takes the records and its arguments in `claims.toml`; it is None without records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np

from r1reward.benchmarks import DOWNSTREAM_COLUMNS, VL
from r1reward.report.columns import cell_title, compare, paired_values
from r1reward.report.downstream import POLICIES, differences, read_columns
from r1reward.report.pools import Pool, Values, any_right, early_stopping, majority, weighted_majority
from r1reward.report.reasoning import ratings_matrix
from r1reward.report.records import MODEL_NAMES, REFERENCE, Records
from r1reward.stats import Interval, mean_interval, paired_interval, share_interval

IDENTICAL_NOTE = "the same runs as its reference: the part that tells them apart never acted"
# At a ratio of 1 the loss is minus the mean advantage, and that is 0 once advantages are standardised.
LOSS_NOTE = (
    "not comparable: close to the sampling policy the loss is minus the mean advantage, which is 0 by "
    "construction until the filter takes negative advantages out"
)
# Ten columns are looked at, so each interval is as wide as a one-in-ten share of the error asks for.
COLUMN_CONFIDENCE = 1 - 0.05 / len(DOWNSTREAM_COLUMNS)
OPEN_NOTE = "with two columns that a script scored"
ONE_SEED_NOTE = "one seed: over pairs alone"
MOST_VOTES = 15  # the largest k of Figure 3


@dataclass(frozen=True, slots=True)
class Measured:
    """A quantity with its interval in the claim's unit, and the number of seeds.

    `note` says what a reader has to know. `interval` is None where there is nothing to compare, which the
    note explains.
    """

    interval: Interval | None
    seeds: int
    note: str = ""


MEASURES: dict[str, Callable[..., Measured | None]] = {}


def measure(function: Callable[..., Measured | None]) -> Callable[..., Measured | None]:
    """Put a function among those that `claims.toml` may name."""
    MEASURES[function.__name__] = function
    return function


@measure
def difference(records: Records, *, model: str, minus: str, mode: str = "greedy") -> Measured | None:
    """Accuracy of one model minus another's, in points."""
    values = paired_values(records, minus, model, mode=mode)
    if values is None:
        return None
    seeds = values[0].shape[0]
    one, other = (records.same_as(name) or name for name in (model, minus))
    if one == other:
        return Measured(None, seeds, IDENTICAL_NOTE)
    note = (
        ""
        if one == model
        else f"the runs are those of {MODEL_NAMES[one]}, as the part that tells the two apart never acted"
    )
    interval = compare(records, minus, model, mode)
    assert interval is not None
    return _in_points(interval, seeds, note)


@measure
def change(records: Records, *, variant: str, column: str) -> Measured | None:
    """Relative change of a training metric from the first five steps of RL to the last five, in percent."""
    series = _series(records, variant, column)
    if series is None:
        return None
    return _over_seeds(np.array([100 * (run[-5:].mean() / run[:5].mean() - 1) for run in series]))


@measure
def loss_spread(records: Records) -> Measured | None:
    """How much the policy losses vary over the steps, which compares nothing: see LOSS_NOTE."""
    losses = {name: _series(records, name, "policy_loss") for name in (REFERENCE, "reinforce_pp")}
    there = {name: series for name, series in losses.items() if series is not None}
    if len(there) < len(losses):
        return None
    spreads = (
        f"{MODEL_NAMES[name]} {fmean(float(run.std()) for run in series):.3f}"
        for name, series in there.items()
    )
    return Measured(None, min(map(len, there.values())), f"{', '.join(spreads)}; {LOSS_NOTE}")


@measure
def contradictions(records: Records, *, variant: str, minus: str) -> Measured | None:
    """Share of contradicted right answers over a run, one variant minus another, in points."""
    shares = []
    for frame in (records.training(variant), records.training(minus)):
        if frame is None or "contradicted_share" not in frame:
            return None
        runs = frame.groupby("seed")
        shares.append({seed: run["contradicted_share"].mean() for seed, run in runs})
    one, other = shares
    seeds = [seed for seed in one if seed in other]
    return _over_seeds(np.array([100 * (one[seed] - other[seed]) for seed in seeds])) if seeds else None


@measure
def collapses(records: Records, *, variant: str) -> Measured | None:
    """How often a variant collapsed in the stress setting: no evidence, as collapses chose the setting."""
    stress = records.stress()
    if stress is None:
        return None
    return Measured(None, len(stress["fresh"][variant]["collapsed"]), _about_stress(stress))


@measure
def collapses_alone(records: Records, *, variant: str) -> Measured | None:
    """Of the fresh stress seeds on which a variant or StableReinforce collapsed, but not both, the share on
    which the variant did, with an exact interval: half where neither is steadier.
    """
    stress = records.stress()
    if stress is None:
        return None
    theirs, ours = (stress["fresh"][name]["collapsed"] for name in (variant, REFERENCE))
    alone = [their for their, our in zip(theirs, ours, strict=True) if their != our]
    note = f"on {len(alone)} of {len(theirs)} fresh seeds one alone collapsed; {_about_stress(stress)}"
    if not alone:
        return Measured(None, len(theirs), note)
    low, high = share_interval(sum(alone), len(alone), method="exact")
    return Measured(Interval(fmean(alone), low, high), len(theirs), f"{note}, exact interval")


@measure
def lasts_longer(records: Records) -> Measured | None:
    """Steps that StableReinforce lasts beyond Reinforce++ in the stress setting, on the same fresh seeds."""
    stress = records.stress()
    if stress is None or not records.stress_runs(stress["chosen"], REFERENCE):
        return None
    ours, theirs = (
        [*records.stress_steps(stress["chosen"], name).values()][-stress["fresh_seeds"] :]
        for name in (REFERENCE, "reinforce_pp")
    )
    measured = _over_seeds(np.subtract(ours, theirs))
    return replace(measured, note=f"{measured.note}; {_about_stress(stress)}")


@measure
def voting_gain(records: Records) -> Measured | None:
    """Vote@15 minus one sampled answer, in points."""
    return _of_pool(records, lambda pool: _most_votes(pool) - majority(pool, 1), within=(-1, 1))


@measure
def voting_gain_over_greedy(records: Records) -> Measured | None:
    """Vote@15 minus one greedy answer of StableReinforce to the same pairs, in points."""
    pool, greedy = records.pool(VL, REFERENCE), records.bench(REFERENCE, "greedy")
    if pool is None or greedy is None:
        return None
    seeds = [seed for seed in pool.seeds if seed in greedy.seeds]
    places = np.searchsorted(greedy.rows, pool.rows)
    if not seeds or not np.array_equal(greedy.rows[np.minimum(places, len(greedy.rows) - 1)], pool.rows):
        raise ValueError("the pool's answers and the greedy ones are about different seeds or pairs")
    votes = _most_votes(pool).mean(axis=-1)[[pool.seeds.index(seed) for seed in seeds]]
    single = greedy.values[[greedy.seeds.index(seed) for seed in seeds]][:, places]
    return _in_points(paired_interval(single, votes), len(seeds))


@measure
def early_voting_gain(records: Records) -> Measured | None:
    """What five votes gain on one minus what fifteen gain on five, in points."""

    def gain(pool: Pool) -> Values:
        return 2 * majority(pool, min(5, pool.size)) - majority(pool, 1) - _most_votes(pool)

    return _of_pool(records, gain, within=(-2, 2))


@measure
def any_right_share(records: Records) -> Measured | None:
    """How often any of fifteen answers is right ("Any"), in percent."""
    return _of_pool(records, lambda pool: any_right(pool, min(MOST_VOTES, pool.size)))


@measure
def weighted_gain(records: Records) -> Measured | None:
    """Votes weighted by probability minus the majority, all answers of the pool, in points."""
    return _of_pool(records, lambda pool: weighted_majority(pool) - majority(pool, pool.size), within=(-1, 1))


@measure
def answers_saved(records: Records) -> Measured | None:
    """Share of the pool's answers that early stopping saves, in percent."""
    return _of_pool(records, lambda pool: 1 - early_stopping(pool)[1] / pool.size)


@measure
def mean_gain(records: Records, *, mode: str = "greedy") -> Measured | None:
    """Trained policy minus start in the mean of the ten downstream columns, in points."""
    gain = differences(records, mode=mode).get("mean")
    return None if gain is None else _of_policies(gain, records, OPEN_NOTE, mode)


@measure
def smallest_gain(records: Records, *, mode: str = "greedy") -> Measured | None:
    """The smallest gain with the smallest bounds: above 0 where all columns gained, below where one lost."""
    by_column = differences(records, mode=mode, confidence=COLUMN_CONFIDENCE)
    gains = [by_column[name] for name in DOWNSTREAM_COLUMNS if name in by_column]
    if len(gains) < len(DOWNSTREAM_COLUMNS):
        return None
    estimate, low, high = (min(getattr(g, part) for g in gains) for part in ("estimate", "low", "high"))
    detectable = max(gain.detectable or 0.0 for gain in gains)
    gained = sum(gain.estimate > 0 for gain in gains)
    note = f"{gained} of 10 columns gained, {OPEN_NOTE}; bounds of all ten together"
    return _of_policies(Interval(estimate, low, high, detectable), records, note, mode)


@measure
def reasoning_preferred(records: Records) -> Measured | None:
    """Wins minus losses in percent, by people only: what a script prefers says nothing."""
    outcomes = ratings_matrix(records, "people")
    if outcomes is None:
        return None
    margins = (outcomes == 0).astype(float) - (outcomes == 1)
    return Measured(mean_interval(margins, within=(-1, 1)).times(100), 1, "rated by people")


def _of_pool(
    records: Records, statistic: Callable[[Pool], Values], *, within: tuple[float, float] = (0, 1)
) -> Measured | None:
    """The mean of a statistic (S, N, 2) of StableReinforce's answers to VL-RewardBench, in points."""
    pool = records.pool(VL, REFERENCE)
    if pool is None:
        return None
    return _in_points(mean_interval(statistic(pool), within=within), len(pool.seeds))


def _most_votes(pool: Pool) -> Values:
    return majority(pool, min(MOST_VOTES, pool.size))


def _of_policies(gain: Interval, records: Records, note: str, mode: str) -> Measured:
    _, trained = POLICIES[mode]
    seeds = len(next(iter(read_columns(records, trained).values())).seeds)
    return _in_points(gain, seeds, note)


def _in_points(interval: Interval, seeds: int, note: str = "") -> Measured:
    """Shares over seeds and pairs, in points; those of one seed say so."""
    notes = (note, ONE_SEED_NOTE if seeds == 1 else "")
    return Measured(interval.times(100), seeds, "; ".join(filter(None, notes)))


def _about_stress(stress: Mapping[str, Any]) -> str:
    """Where it was measured, and how often both algorithms collapsed there."""
    counts = [
        f"{MODEL_NAMES[name]} collapsed on {sum(ended)} of {len(ended)} fresh seeds"
        for name in ("reinforce_pp", REFERENCE)
        for ended in [stress["fresh"][name]["collapsed"]]
    ]
    where = f"stress setting ({cell_title(stress['chosen'])}), chosen by collapses on other seeds"
    return f"{', '.join(counts)}; {where}"


def _series(records: Records, variant: str, column: str) -> list[np.ndarray] | None:
    """A metric over the steps of each run, which may have stopped early; None without it."""
    frame = records.training(variant)
    if frame is None or column not in frame:
        return None
    return [run[column].to_numpy(dtype=float) for _, run in frame.groupby("seed")]


def _over_seeds(values: np.ndarray) -> Measured:
    """Student's interval over seeds; one seed has none, so it is undecided."""
    if len(values) < 2:
        return Measured(None, len(values), f"{values.mean():.3g} on one seed: no interval over seeds")
    interval = mean_interval(values[:, None], within=None)
    return Measured(interval, len(values), "Student's interval over seeds")
