"""Scores of pairwise benchmark runs, with intervals.

Accuracy is the mean over both orders of a pair, an unparsed verdict is wrong unless the record names another
policy (`bench.unparsed`), and the two orders of a pair are resampled together because the unit of every
interval is the pair. S seeds, N pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from r1reward.benchmarks import VL
from r1reward.report.records import BenchRuns, Records, mean_values
from r1reward.stats import Interval, cluster_bootstrap, paired_bootstrap

BOOTSTRAP_SEED = 20250502


@dataclass(frozen=True, slots=True)
class Scores:
    """Accuracies of one model: over all pairs, as mean of the group accuracies, and by group.

    `all_right` is the share of questions of which every pair is right in an order (Acc+), None where
    pairs do not share questions.
    """

    overall: Interval
    macro: Interval
    groups: dict[str, Interval]
    all_right: Interval | None
    num_seeds: int
    num_pairs: int


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a judge answers, beside how often it is right. All but `mean_tokens` are shares of 1.

    `accuracy_first` and `accuracy_second` split accuracy by where the preferred response stood,
    `accuracy_given` and `accuracy_swapped` by the order of the pass. `order_consistency` is the share
    of pairs where both orders name the same response; `answer_one` is the share of "1" among parsed
    verdicts (0.5 is unbiased, because each pair is judged in both orders). Accuracies are of the pairs that
    count, NaN where none does; all else is of all.
    """

    accuracy: float
    accuracy_given: float
    accuracy_swapped: float
    accuracy_first: float
    accuracy_second: float
    order_consistency: float
    answer_one: float
    unparsed: float
    mean_tokens: float


def score(records: Records, model: str, mode: str, *, benchmark: str = VL) -> Scores | None:
    """Scores of a model's recorded runs on a benchmark, or None if there is no run."""
    key = ("score", benchmark, model, mode)
    if key not in records.cache:
        runs = records.bench(model, mode, benchmark=benchmark)
        counts = runs is not None and runs.counted.any()
        records.cache[key] = score_runs(runs) if runs is not None and counts else None
    return records.cache[key]


def score_runs(runs: BenchRuns) -> Scores:
    """Overall, macro and group accuracies with bootstrap intervals over seeds, then pairs.

    A group of which no pair counts is left out, of the macro average too.
    """
    values = runs.values
    within = np.empty_like(values)
    for group in set(runs.groups.tolist()):
        inside = runs.groups == group
        within[:, inside] = mean_values(runs.correct[:, inside].mean(axis=2), runs.counted[:, inside])
    present = sorted({str(group) for group in runs.groups[np.isfinite(within[0])]})
    return Scores(
        overall=bootstrap(values),
        macro=bootstrap(macro_values(within, runs.groups)),
        groups={group: bootstrap(within[:, runs.groups == group]) for group in present},
        all_right=bootstrap(_question_values(runs)) if all(runs.questions) else None,
        num_seeds=values.shape[0],
        num_pairs=values.shape[1],
    )


def behaviour(runs: BenchRuns) -> Behaviour:
    """Accuracy by order and position, consistency, share of answer "1", unparsed share, mean length."""
    verdicts, counted = runs.verdicts, runs.counted
    correct = runs.correct[counted]
    first = np.broadcast_to(runs.answers == 1, verdicts.shape)[counted]
    parsed = verdicts > 0
    same_response = parsed.all(axis=2) & (verdicts[..., 0] + verdicts[..., 1] == 3)
    return Behaviour(
        accuracy=_share(correct),
        accuracy_given=_share(correct[:, 0]),
        accuracy_swapped=_share(correct[:, 1]),
        accuracy_first=_share(correct[first]),
        accuracy_second=_share(correct[~first]),
        order_consistency=float(same_response.mean()),
        answer_one=float((verdicts[parsed] == 1).mean()) if parsed.any() else float("nan"),
        unparsed=float((~parsed).mean()),
        mean_tokens=float(runs.tokens.mean()),
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


def common_values(runs_a: BenchRuns, runs_b: BenchRuns) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Accuracy of each pair over the seeds that both have, both (S, N)."""
    seeds = [seed for seed in runs_a.seeds if seed in runs_b.seeds]
    rows_a, rows_b = ([runs.seeds.index(seed) for seed in seeds] for runs in (runs_a, runs_b))
    return runs_a.values[rows_a], runs_b.values[rows_b]


def _question_values(runs: BenchRuns) -> NDArray[np.float64]:
    """For each seed and question (S, Q) the share of the two orders in which all its pairs are right.

    Pairs that do not count are passed over, and so is a question of which none does.
    """
    names, index = np.unique(runs.questions, return_inverse=True)
    wrong = np.zeros((len(names), len(runs.seeds), 2), int)
    np.add.at(wrong, index, (~runs.correct & runs.counted[..., None]).swapaxes(0, 1))
    count = np.zeros((len(names), len(runs.seeds)), int)
    np.add.at(count, index, runs.counted.T)
    return mean_values((wrong == 0).mean(axis=2).T, (count > 0).T)


def _share(flags: NDArray[np.bool_]) -> float:
    return float(flags.mean()) if flags.size else float("nan")


def macro_values(values: NDArray[np.float64], groups: NDArray[np.str_]) -> NDArray[np.float64]:
    """Values (S, N) whose plain mean is the macro average and whose spread is the macro average's.

    Linearisation of a mean of ratios: each pair counts by its deviation from its group's mean, weighted
    N / (number of groups * group size), so that a resample with other group sizes is not penalised. A group
    without a value (NaN) is not averaged.
    """
    means = {group: values[:, groups == group].mean() for group in sorted(set(groups.tolist()))}
    means = {group: mean for group, mean in means.items() if np.isfinite(mean)}
    macro = float(np.mean(list(means.values())))
    linear = np.full_like(values, macro)
    for group, mean in means.items():
        inside = groups == group
        linear[:, inside] = macro + (values[:, inside] - mean) * len(groups) / (len(means) * inside.sum())
    return linear


def bootstrap(values: NDArray[np.float64]) -> Interval:
    """Interval of the mean of values (S, N) over seeds, then pairs."""
    return cluster_bootstrap(values, rng=np.random.default_rng(BOOTSTRAP_SEED))


def paired_interval(
    before: NDArray[np.float64], after: NDArray[np.float64], *, confidence: float = 0.95
) -> Interval:
    """Interval of the difference `after - before` of values (S, N) of the same pairs."""
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    return paired_bootstrap(before, after, rng=rng, confidence=confidence)
