"""Accuracies of judges with their intervals, and differences between judges.

What is right and what counts is told in `r1reward.scoring`. The two orders of a pair are resampled together,
because the unit of every interval is the pair. S seeds, N pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from r1reward.benchmarks import VL
from r1reward.report.records import Records
from r1reward.scoring import Judgments, macro_values
from r1reward.stats import Interval, cluster_bootstrap, paired_bootstrap

BOOTSTRAP_SEED = 20250502


@dataclass(frozen=True, slots=True)
class Accuracies:
    """Accuracies of one judge: over all pairs, as mean of the group accuracies, and by group.

    `all_right` is the share of questions of which every pair is right in an order (Acc+), None where
    pairs do not share questions.
    """

    overall: Interval
    macro: Interval
    groups: dict[str, Interval]
    all_right: Interval | None
    num_seeds: int
    num_pairs: int


def score(records: Records, model: str, mode: str, *, benchmark: str = VL) -> Accuracies | None:
    """Scores of a model's recorded runs on a benchmark, or None if there is no run."""
    key = ("score", benchmark, model, mode)
    if key not in records.cache:
        runs = records.bench(model, mode, benchmark=benchmark)
        counts = runs is not None and runs.counted.any()
        records.cache[key] = score_runs(runs) if runs is not None and counts else None
    return records.cache[key]


def score_runs(runs: Judgments) -> Accuracies:
    """Overall, macro and group accuracies with bootstrap intervals over seeds, then pairs.

    A group of which no pair counts is left out, of the macro average too.
    """
    values, within = runs.values, runs.group_values
    present = sorted({str(group) for group in runs.groups[np.isfinite(within[0])]})
    return Accuracies(
        overall=bootstrap(values),
        macro=bootstrap(macro_values(within, runs.groups)),
        groups={group: bootstrap(within[:, runs.groups == group]) for group in present},
        all_right=bootstrap(runs.question_values) if all(runs.questions) else None,
        num_seeds=values.shape[0],
        num_pairs=values.shape[1],
    )


def compare(records: Records, a: str, b: str, mode: str) -> Interval | None:
    """Paired difference in accuracy, b minus a, or None if a run is missing.

    The bootstrap resamples the seeds and pairs that both models have, both orders of a pair together.
    """
    key = ("compare", a, b, mode)
    if key not in records.cache:
        values = paired_values(records, a, b, mode=mode)
        records.cache[key] = None if values is None else paired_interval(*values)
    return records.cache[key]


def paired_values(
    records: Records, a: str, b: str, *, mode: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Accuracy of each pair for two models over their common seeds, both (S, N); None if a run is missing.

    The base model, which is not trained, stands for every seed of the other.
    """
    runs_a, runs_b = records.bench(a, mode), records.bench(b, mode)
    if runs_a is None or runs_b is None:
        return None
    if not np.array_equal(runs_a.preferred, runs_b.preferred):
        raise ValueError(f"{a} and {b} were not judged on the same pairs ({mode})")
    if "base" in (a, b):
        shape = (max(len(runs_a.seeds), len(runs_b.seeds)), runs_a.values.shape[1])
        return np.broadcast_to(runs_a.values, shape).copy(), np.broadcast_to(runs_b.values, shape).copy()
    if not set(runs_a.seeds) & set(runs_b.seeds):
        raise ValueError(f"{a} and {b} have no common seed: {runs_a.seeds} and {runs_b.seeds}")
    return common_values(runs_a, runs_b)


def common_values(runs_a: Judgments, runs_b: Judgments) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Accuracy of each pair over the seeds that both have, both (S, N)."""
    seeds = [seed for seed in runs_a.seeds if seed in runs_b.seeds]
    rows_a, rows_b = ([runs.seeds.index(seed) for seed in seeds] for runs in (runs_a, runs_b))
    return runs_a.values[rows_a], runs_b.values[rows_b]


def bootstrap(values: NDArray[np.float64]) -> Interval:
    """Interval of the mean of values (S, N) over seeds, then pairs."""
    return cluster_bootstrap(values, rng=np.random.default_rng(BOOTSTRAP_SEED))


def paired_interval(
    before: NDArray[np.float64], after: NDArray[np.float64], *, confidence: float = 0.95
) -> Interval:
    """Interval of the difference `after - before` of values (S, N) of the same pairs."""
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    return paired_bootstrap(before, after, rng=rng, confidence=confidence)
