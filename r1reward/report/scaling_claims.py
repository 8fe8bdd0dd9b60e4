"""The checkable sentences of the paper about test-time scaling, each with the quantity that decides it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from r1reward.benchmarks import VL
from r1reward.report.claims import LATER_NOTE, Claim, Measured
from r1reward.report.records import REFERENCE, Records
from r1reward.report.scores import BOOTSTRAP_SEED, bootstrap
from r1reward.report.voting import Pool, Values, any_right, early_stopping, majority, weighted_majority
from r1reward.stats import paired_bootstrap

COST_SAVED = 35.0  # "approximately 35%" of the cost, C.10
ANY_BOUND = 99.0  # what "approaches 100%" is taken to mean; a coin has 99.997 %
Statistic = Callable[[Pool], Values]


def of_pool(statistic: Statistic) -> Callable[[Records], Measured | None]:
    """The mean of a statistic (S, N, 2) of StableReinforce's answers to VL-RewardBench."""
    return partial(_of_pool, statistic=statistic)


def _of_pool(records: Records, *, statistic: Statistic) -> Measured | None:
    pool = records.pool(VL, REFERENCE)
    return None if pool is None else Measured(bootstrap(statistic(pool).mean(axis=-1)), len(pool.seeds))


def _gain(pool: Pool) -> Values:
    return 100 * (majority(pool, _most(pool)) - majority(pool, 1))


def gain_over_greedy(records: Records) -> Measured | None:
    """Vote@15 minus one greedy answer of StableReinforce to the same pairs, in points."""
    pool, greedy = records.pool(VL, REFERENCE), records.bench(REFERENCE, "greedy")
    if pool is None or greedy is None:
        return None
    seeds = [seed for seed in pool.seeds if seed in greedy.seeds]
    places = np.searchsorted(greedy.rows, pool.rows)
    if not seeds or not np.array_equal(greedy.rows[np.minimum(places, len(greedy.rows) - 1)], pool.rows):
        raise ValueError("the pool's answers and the greedy ones are about different seeds or pairs")
    votes = majority(pool, _most(pool)).mean(axis=-1)[[pool.seeds.index(seed) for seed in seeds]]
    single = greedy.values[[greedy.seeds.index(seed) for seed in seeds]][:, places]
    found = paired_bootstrap(100 * single, 100 * votes, rng=np.random.default_rng(BOOTSTRAP_SEED))
    return Measured(found, len(seeds))


def _early_gain(pool: Pool) -> Values:
    few = min(5, pool.size)
    return 100 * (2 * majority(pool, few) - majority(pool, 1) - majority(pool, _most(pool)))


def _any(pool: Pool) -> Values:
    return 100 * any_right(pool, _most(pool))


def _weights(pool: Pool) -> Values:
    return 100 * (weighted_majority(pool) - majority(pool, pool.size))


def _saved(pool: Pool) -> Values:
    return 100 * (1 - early_stopping(pool)[1] / pool.size)


def _most(pool: Pool) -> int:
    """The largest k of Figure 3, 15."""
    return min(15, pool.size)


SCALING_CLAIMS = (
    Claim(
        "voting_improves",
        "C.5",
        "performance improves consistently",
        "Vote@15 - one sampled answer, points",
        "above",
        of_pool(_gain),
        note="against a greedy answer see the next line",
    ),
    Claim(
        "voting_improves_on_greedy",
        "C.5",
        "performance improves consistently",
        "Vote@15 - one greedy answer, points",
        "above",
        gain_over_greedy,
        note=LATER_NOTE,
    ),
    Claim(
        "voting_improves_early",
        "C.5",
        "with a more noticeable improvement when $k < 5$",
        "(Vote@5 - one sampled answer) - (Vote@15 - Vote@5), points",
        "above",
        of_pool(_early_gain),
    ),
    Claim(
        "any_approaches_all",
        "C.5",
        "the accuracy of “Any” approaches 100%",
        "Any@15, percent; a coin has 99.997, so this says little about a judge",
        "above",
        of_pool(_any),
        bound=ANY_BOUND,
    ),
    Claim(
        "weights_improve",
        "C.10",
        "Confidence-weighted sampling improves accuracy",
        "votes weighted by probability - majority, all 16 answers, points",
        "above",
        of_pool(_weights),
    ),
    Claim(
        "early_stopping_saves",
        "C.10",
        "reducing the average inference cost by approximately 35%",
        "of 16 answers saved by early stopping, percent; more is better",
        "within",
        of_pool(_saved),
        bound=5.0,
        centre=COST_SAVED,
    ),
)
